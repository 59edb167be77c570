"""A run's method predicts for images what it predicts in the run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import handlit
from handlit.callbacks.running.checkpoint_files import read_checkpoint
from handlit.cli import main
from handlit.errors import InputError
from handlit.run_folder import RunFolder
from tests.reconstruct.fakes import FakeDetector, detected_hand, picture
from tests.test_cli import CONFIGS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    main(f"synth --out {folder / 'data'} --train 24 --evaluation 2 --preset easy --workers 0".split())
    settings = {"root": folder / "data", "image_size": 32, "batch_size": 4, "num_workers": 0, "crop": "amvur"}
    options = [f"--data.init_args.{name}={value}" for name, value in settings.items()]
    experiment = str(CONFIGS / "experiment" / "quickstart_mean_hand.yaml")
    main(["fit", "--config", experiment, *options, "--trainer.enable_progress_bar=false", f"--run_dir={folder / 'a'}"])
    return RunFolder(folder / "a")


@pytest.mark.parametrize("given", ["path", "config", "best"])
def test_a_run_is_named_by_its_folder_its_configuration_or_a_checkpoint(run: RunFolder, given: str) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    method = handlit.load_method(getattr(run, given))
    assert torch.equal(torch.rand(2), expected)
    (hand,) = handlit.Reconstructor(method, detector=FakeDetector(detected_hand()))(picture())
    weights = read_checkpoint(run.best)["state_dict"]
    assert hand.vertices == pytest.approx(weights["vertex_mean"].numpy(), abs=1e-6)
    assert 0.05 < np.ptp(hand.joints_cam[:, 0]) < 0.5
    assert hand.pose is None


def test_a_missing_run_and_one_with_other_weights_are_named(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.yaml is missing"):
        handlit.load_method(tmp_path)
    shutil.copytree(run.path, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy")
    checkpoint = read_checkpoint(run.best)
    checkpoint["handlit"] = {"format": 1, "method": "AMVUR"}
    torch.save(checkpoint, copy.best)
    with pytest.raises(InputError, match="is of AMVUR"):
        handlit.load_method(copy.path)
    copy.best.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no checkpoint"):
        handlit.load_method(copy.path)


def test_nothing_else_is_in_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        handlit.nonsense  # noqa: B018
