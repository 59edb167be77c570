"""What lies where in a run folder."""

from pathlib import Path

#: What a training leaves in its run folder, and what for.
_CONTENTS = {
    "config.yaml": "every setting; test and predict take it by --config",
    "metrics.csv": "losses and metrics",
    "checkpoints/best.ckpt": "the best weights; test and predict take them",
    "checkpoints/last.ckpt": "the last state; --resume continues from it",
    "media": "drawings of validation images",
    "tensorboard": "tensorboard --logdir shows it",
    "wandb/offline-run-*": "wandb sync uploads it",
}


class RunFolder:
    """The folder of one run: the only place that names its files.

    Args:
        path: The folder, which need not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        #: Every setting of the run.
        self.config = self.path / "config.yaml"
        #: What was logged while training.
        self.metrics = self.path / "metrics.csv"
        #: Code, libraries and machine of each start.
        self.environment = self.path / "environment.json"
        #: Numbers of the last test, and the hypotheses that it measured.
        self.test_numbers = self.path / "test.json"
        self.hypothesis_table = self.path / "hypotheses.npz"
        #: The same of a calibrated method, and what it is calibrated by.
        self.calibrated_test_numbers = self.path / "test_calibrated.json"
        self.calibrated_hypothesis_table = self.path / "hypotheses_calibrated.npz"
        self.calibration = self.path / "calibration.json"
        #: Predictions of the evaluation split.
        self.submission = self.path / "pred.zip"
        self.checkpoints = self.path / "checkpoints"
        #: Which run of W&B the folder belongs to, beside W&B's own files.
        self.wandb_id = self.path / "wandb" / "run_id"
        #: Folders of images and meshes: of validation, of photographs, of chosen hands.
        self.media = self.path / "media"
        self.photos = self.path / "photos"
        self.hypotheses = self.path / "hypotheses"
        self.meshes = self.path / "meshes"

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> "RunFolder":
        """The run that a checkpoint lies in, where it has not been moved."""
        return cls(checkpoint.parent.parent)

    @property
    def best(self) -> Path:
        """The weights with the best validation metric."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The last state of the training."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The state before the last."""
        return self.checkpoints / "previous.ckpt"

    @property
    def pending(self) -> Path:
        """A state whose logs are not on the disk yet."""
        return self.checkpoints / "pending.ckpt"

    def lock(self, command: str) -> Path:
        """Says which process runs a command here; it is there while that runs."""
        return self.path / f".{command}.lock"

    def nonfinite(self, rank: int) -> Path:
        """What made a process's loss NaN or infinite."""
        return self.path / "nonfinite" / f"rank{rank}.pt"

    def contents(self) -> list[str]:
        """Lines that name what a training has left here, and what for."""
        files = [(path, text) for name, text in _CONTENTS.items() for path in sorted(self.path.glob(name))]
        return [f"{self.path} holds", *(f"  {path.relative_to(self.path)!s:22s}  {text}" for path, text in files)]
