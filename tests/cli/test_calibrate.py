"""``calibrate`` writes a run's calibration, and test, predict and the Python API use it when asked."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
import torch

import handlit
from handlit.callbacks.output.validation_errors import ValidationErrors
from handlit.cli import main
from handlit.distributions.calibrated_hands import CalibratedHands
from handlit.errors import InputError
from handlit.run_folder import RunFolder
from handlit.scoring.hypotheses.run import load_run
from handlit.scoring.official.predicted_scale import scale_file
from handlit.scoring.official.result_card import read_card
from tests.distributions.test_calibrated_hands import hand, prediction  # noqa: F401
from tests.reconstruct.fakes import FakeDetector, detected_hand, picture
from tests.test_cli import CONFIGS

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate") / "data"
    main(f"synth --out {folder} --train 120 --evaluation 4 --preset easy --workers 0".split())
    return folder


@pytest.fixture(scope="module", params=["mean_hand", "mhentropy"])
def run(request: pytest.FixtureRequest, data: Path) -> RunFolder:
    """A run of two steps, calibrated."""
    folder = data.parent / request.param
    settings = {"root": data, "image_size": 32, "batch_size": 30, "val_fraction": 0.5}
    options = [f"--data.init_args.{name}={value}" for name, value in settings.items()]
    experiment = str(CONFIGS / "experiment" / f"quickstart_{request.param}.yaml")
    main(["fit", "--config", experiment, *options, *QUIET, "--trainer.max_epochs=1", f"--run_dir={folder}"])
    main(["calibrate", "--config", str(folder / "config.yaml"), "--hypotheses=20"])
    return RunFolder(folder)


def test_it_is_used_when_asked_and_named(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    content = orjson.loads(run.calibration.read_bytes())
    assert content["validation"]["images"] >= 50
    assert len(content["conformal"]["radii_mm"]["0.9"]) == 21
    config = ["--config", str(run.config), *QUIET]
    few = "--hypotheses.num_hypotheses=20"
    main(["test", *config, few])
    own = load_run(run.path)
    capsys.readouterr()
    main(["test", *config, few, "--calibrated"])
    assert "calibrated yes" in " ".join(capsys.readouterr().out.split())
    calibrated = load_run(run.calibrated_hypothesis_table)
    assert calibrated.label == f"{own.label}+calibrated"
    np.testing.assert_allclose(calibrated.columns["error_mode_mm"], own.columns["error_mode_mm"], rtol=1e-5)
    assert not np.allclose(calibrated.columns["scale_mm"][:, 1:], own.columns["scale_mm"][:, 1:], rtol=0.01)
    assert run.calibrated_test_numbers.is_file()

    main(["predict", *config])
    card, scale = read_card(run.submission), np.load(scale_file(run.submission))["joint_scale_m"]
    main(["predict", *config, "--calibrated"])
    assert card.calibration is None
    assert read_card(run.submission).calibration is not None
    stated = np.load(scale_file(run.submission))["joint_scale_m"]
    np.testing.assert_allclose(stated[:, 1:] * 1000, calibrated.columns["scale_mm"][:, 1:], rtol=1e-3)
    assert not np.allclose(stated[:, 1:], scale[:, 1:], rtol=0.01)


def test_the_api_takes_it(run: RunFolder) -> None:
    methods = [handlit.load_method(run.path, calibrated) for calibrated in (False, True)]
    own, calibrated = (handlit.Reconstructor(m, detector=FakeDetector(detected_hand()))(picture())[0] for m in methods)
    assert calibrated.vertices == pytest.approx(own.vertices)
    assert calibrated.spread_mm != pytest.approx(own.spread_mm, rel=0.01)
    assert calibrated.hypotheses(3).vertices.shape == (3, 778, 3)


def test_that_of_another_run_and_of_other_weights_is_refused(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy")
    with copy.best.open("ab") as file:
        file.write(b" ")
    _refused(["test", "--config", str(copy.config), "--calibrated"], "of another run: its weights", capsys)
    copy.calibration.unlink()
    _refused(["test", "--config", str(copy.config), "--calibrated"], "calibration.json is missing", capsys)
    _refused(["fit", "--config", str(copy.config), "--calibrated"], "fit has no use for it", capsys)
    _refused(["calibrate", "--config", str(run.config), "--calibrated"], "validate has no use for it", capsys)
    export = ["export", "--config", str(run.config), "--out", str(tmp_path / "a.onnx"), "--calibrated"]
    _refused(export, "leave --calibrated out", capsys)


def test_few_validation_images_are_refused(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.calibration.read_bytes()
    settings = ["--config", str(run.config), "--data.init_args.val_fraction=0.1"]
    _refused(["calibrate", *settings], "images with 3D joints, and a calibration needs 50", capsys)
    assert run.calibration.read_bytes() == before


def test_a_demo_needs_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _refused(["demo", str(tmp_path), "--out", str(tmp_path / "out"), "--calibrated"], "--ckpt_path RUN", capsys)


def test_hypotheses_that_are_not_finite_are_named(prediction: Any) -> None:  # noqa: F811
    class Spoilt(CalibratedHands):
        """Draws one joint that is none."""

        def hypotheses(
            self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
        ) -> Any:
            drawn = prediction.distribution.hypotheses(count, temperature, vertices)
            drawn.joints_root[1, 3, 4] = torch.nan
            return drawn

    spoilt = replace(prediction, distribution=Spoilt(prediction, None))
    labels = SimpleNamespace(key=["a/0", "b/0"], valid={"joints_cam": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(InputError, match="hypotheses of validation image b/0 hold NaN or infinity"):
        ValidationErrors().on_validation_batch_end(None, None, spoilt, labels, 0)  # type: ignore[arg-type]


def _refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
