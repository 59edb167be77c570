"""The trained method of a run, for images outside of every dataset."""

from pathlib import Path

import torch

from handlit.cli import run_trainer
from handlit.methods.lift import Lift
from handlit.reconstruct.cropped import CroppedHands
from handlit.reconstruct.reconstructor import HandPredictor, LiftedHands
from handlit.run_folder import RunFolder


def load_method(run: str | Path, calibrated: bool = False) -> HandPredictor:
    """The method of a finished run with its best weights, for `handlit.Reconstructor`.

    Args:
        run: The run's folder, its ``config.yaml``, or one of its checkpoints.
        calibrated: With the spread that ``calibrate`` found for it.

    Raises:
        FileNotFoundError: There is no run, or it has no checkpoint, or no calibration.
        InputError: Configuration, checkpoint or calibration are damaged, or do not fit each other.
    """
    path = Path(run)
    is_checkpoint = path.is_file() and path.suffix not in (".yaml", ".yml")
    folder = path if path.is_dir() else path.parent
    files = RunFolder.of_checkpoint(path) if is_checkpoint else RunFolder(folder)
    if not files.config.is_file():
        raise FileNotFoundError(f"{files.config} is missing: give a run's folder, or a checkpoint inside it")
    options = [f"--ckpt_path={path}"] if is_checkpoint else []
    options += ["--calibrated"] if calibrated else []
    with torch.random.fork_rng(devices=[]):
        parts = run_trainer(["predict", f"--config={files.config}", *options], load_only=True)
    method = parts.trained_method().eval()
    if isinstance(method, Lift):
        return LiftedHands(method.lifter, method.calibration)
    return CroppedHands(method, parts.datamodule.crop)
