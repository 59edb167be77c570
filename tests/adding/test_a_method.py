"""The section "A method" of docs/tutorials/adding.md: a toy method in one file of the tests works in every command."""

import json
import zipfile
from pathlib import Path

import pytest

from handlit.cli import main
from handlit.methods.learned import LearnedMethod
from handlit.run_folder import RunFolder
from tests.adding import thumbnail_hand
from tests.test_cli import refused

EXPERIMENT = """
model:
  class_path: tests.adding.thumbnail_hand.ThumbnailHand
  init_args:
    learning_rate: 1.0e-2
    schedule: one_cycle
data:
  class_path: handlit.data.ho3d.HO3D
  init_args:
    root: {root}
    image_size: 32
    batch_size: 4
    num_workers: 0
trainer:
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adding")
    main(f"synth --out {folder / 'data'} --train 24 --evaluation 4 --preset easy --workers 0".split())
    path = folder / "thumbnail.yaml"
    path.write_text(EXPERIMENT.format(root=folder / "data"))
    return path


def test_a_method_is_at_most_60_lines() -> None:
    assert len(Path(thumbnail_hand.__file__).read_text().splitlines()) <= 60


def test_it_fits_tests_predicts_and_compares(experiment: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    main(["fit", "--config", str(experiment), "--run_dir", str(run.path)])
    assert "val/pa_mpjpe_mm" in run.metrics.read_text()
    assert run.best.is_file()

    main(
        [
            "--import",
            "tests.adding.thumbnail_hand",
            "test",
            "--config",
            str(run.config),
            "--hypotheses.num_hypotheses",
            "5",
        ]
    )
    numbers = json.loads(run.test_numbers.read_text())
    assert {"test/mpjpe_mm", "test/mpvpe_mm", "test/loss_nll", "test/crps_mm", "test/calibration_error"} <= set(numbers)

    main(["--import", "tests.adding.thumbnail_hand", "predict", "--config", str(run.config)])
    with zipfile.ZipFile(run.submission) as archive:
        joints, vertices = json.loads(archive.read("pred.json"))
    assert len(joints) == len(vertices) == 4
    assert (run.path / "predictions.png").is_file()

    main(["compare", str(run.path), "--out", str(tmp_path / "comparison.html")])
    assert "ThumbnailHand" in (tmp_path / "comparison.html").read_text()


class Forgetful(LearnedMethod[int]):
    """Takes no hand model, and not the tips of the data."""

    def __init__(self, image_size: int = 224) -> None:
        super().__init__(image_size)


def test_a_method_without_the_shared_settings_is_refused(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "forgetful.yaml"
    text = experiment.read_text().replace("tests.adding.thumbnail_hand.ThumbnailHand", f"{__name__}.Forgetful")
    path.write_text(text.replace("    learning_rate: 1.0e-2\n    schedule: one_cycle\n", "    image_size: 32\n"))
    message = refused(["fit", "--config", str(path), "--run_dir", str(tmp_path / "run")], capsys)
    assert "Forgetful" in message
    assert "`mano_path`, the hand model" in message
    assert "`tips`" in message
    assert "`image_size`" not in message
    assert "fixed_settings" in message
