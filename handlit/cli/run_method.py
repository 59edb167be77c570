"""The trained method of a run, for images outside of every dataset."""

from pathlib import Path
from typing import Any, cast

import torch
from typing_extensions import override

from handlit.callbacks.running.checkpoint_files import best_checkpoint, read_checkpoint
from handlit.cli.configs import config_folder
from handlit.cli.trainer import HandlitCLI
from handlit.methods.compatibility import check_checkpoint
from handlit.methods.method import HandMethod
from handlit.reconstruct.cropped import CroppedHands
from handlit.reconstruct.reconstructor import HandPredictor, LiftedHands
from handlit.run_folder import RunFolder


class _PartsOfRun(HandlitCLI):
    """Makes the method and the data module of a configuration: no trainer, no seed, nothing runs."""

    @override
    def _set_seed(self) -> None:
        pass

    @override
    def before_instantiate_classes(self) -> None:
        settings = self.config[str(self.subcommand)].trainer
        settings.logger, settings.callbacks = False, None

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Any:
        return None

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        pass


def load_method(run: str | Path) -> HandPredictor:
    """The method of a finished run with its best weights, for `handlit.Reconstructor`.

    Args:
        run: The run's folder, its ``config.yaml``, or one of its checkpoints.

    Raises:
        FileNotFoundError: There is no run, or it has no checkpoint.
        InputError: Configuration or checkpoint are damaged, or do not fit each other.
    """
    path = Path(run)
    is_checkpoint = path.is_file() and path.suffix not in (".yaml", ".yml")
    folder = path if path.is_dir() else path.parent
    files = RunFolder.of_checkpoint(path) if is_checkpoint else RunFolder(folder)
    if not files.config.is_file():
        raise FileNotFoundError(f"{files.config} is missing: give a run's folder, or a checkpoint inside it")
    weights = path if is_checkpoint else best_checkpoint(files)
    checkpoint = read_checkpoint(weights)
    with torch.random.fork_rng(devices=[]):
        parts = _PartsOfRun.run(["predict", f"--config={files.config}"], config_folder() / "base.yaml")
    method = parts.model.eval()
    check_checkpoint(checkpoint, type(method).__name__, method.state_dict(), resumes=False)
    method.load_state_dict(checkpoint["state_dict"])
    if hasattr(method, "lift"):
        return LiftedHands(method)
    return CroppedHands(cast(HandMethod[Any], method), parts.datamodule.crop)
