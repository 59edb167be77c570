"""Writes how sure a method was of each joint, beside its submission."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from handlit.scoring.official.predicted_scale import scale_file
from handlit.types import HandBatch


class PredictedScale(pl.Callback):
    """Saves ``pred.scale.npz`` beside ``pred.zip``: the score's report sets it against the errors.

    ``index`` (N,) is the position in the dataset, ``joint_scale_m`` (N, 21) the predicted standard deviation of each
    joint, metres, handlit's joint order: the root of the summed variances of its three coordinates, which is the
    root-mean-square distance that the method expects. Datasets without a benchmark (photographs) are left alone.

    Args:
        submission: The submission; ``pred.zip`` in the run folder by default.
    """

    def __init__(self, submission: str | None = None) -> None:
        self.submission = submission
        self.index: list[np.ndarray] = []
        self.scale: list[np.ndarray] = []

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with nothing."""
        self.index, self.scale = [], []

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep 21 numbers of each hand."""
        self.index.append(batch.index.cpu().numpy())
        self.scale.append(outputs.prediction.joint_scale.float().norm(dim=-1).cpu().numpy())

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect all processes' hands and write them, each once, in dataset order."""
        if getattr(trainer.datamodule, "protocol", None) is None:  # type: ignore[attr-defined]
            return
        part = np.concatenate(self.index), np.concatenate(self.scale)
        parts = [part] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(parts, part)
        if not trainer.is_global_zero:
            return
        index, first = np.unique(np.concatenate([index for index, _ in parts]), return_index=True)
        path = scale_file(Path(self.submission or Path(trainer.default_root_dir) / "pred.zip"))
        partial = path.with_name(f".{path.name}.part.npz")
        np.savez_compressed(partial, index=index, joint_scale_m=np.concatenate([scale for _, scale in parts])[first])
        os.replace(partial, path)
