"""Writes the official submission file while predicting."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from handlit.scoring.protocols import PROTOCOLS
from handlit.scoring.submission import SubmissionWriter
from handlit.types import HandBatch, InputError


class SubmissionCallback(pl.Callback):
    """Streams predictions to a ``pred.zip`` in the format of the dataset's benchmark.

    A submission holds absolute camera coordinates: the predicted root-relative hand plus the root that the benchmark
    gives. Datasets without a benchmark (photographs) are left alone. Every process writes its own samples; the first
    one joins them in dataset order, and the file takes its name when it is whole.

    Args:
        out: The file; ``pred.zip`` in the run folder by default.
        decimals: Digits after the point, metres; 5 is a hundredth of a millimetre.
    """

    def __init__(self, out: str | None = None, decimals: int = 5) -> None:
        self.out = out
        self.decimals = decimals
        self.writer: SubmissionWriter | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open this process's part."""
        protocol = getattr(trainer.datamodule, "protocol", None)  # type: ignore[attr-defined]
        self.writer = None
        if protocol is None:
            return
        self.writer = SubmissionWriter(
            self.out or Path(trainer.default_root_dir) / "pred.zip",
            num_samples=len(trainer.predict_dataloaders.dataset),  # type: ignore[union-attr]
            protocol=PROTOCOLS[protocol],
            decimals=self.decimals,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write a batch."""
        if self.writer is None:
            return
        if not bool(batch.valid["root_cam"].all()):
            raise InputError("a submission needs the root joint of every image, and the dataset does not give it")
        root = batch.root_cam[:, None]
        prediction = outputs.prediction
        self.writer.write(batch.index, prediction.joints_root + root, prediction.vertices_root + root)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Join the parts into the submission."""
        if self.writer is None:
            return
        self.writer.close()
        trainer.strategy.barrier("submission")
        if trainer.is_global_zero:
            for finding in self.writer.finalise():
                print(f"{finding.severity}: {finding.name}: {finding.message} {finding.fix}")
            print(f"submission for {self.writer.protocol.name}: {self.writer.path}")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave nothing behind that looks like a result."""
        if self.writer is not None:
            self.writer.discard()
