"""Writes how uncertain a method was about each joint, beside its submission."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from typing_extensions import override

from handlit.callbacks.trainer_parts import gathered, hand_data, run_folder
from handlit.files import sha256
from handlit.formats.hand_files import write_numbers
from handlit.scoring.official.predicted_scale import scale_file
from handlit.types import HandBatch, PredictedBatch


class PredictedScale(pl.Callback):
    """Saves ``pred.scale.npz`` beside ``pred.zip``: the score's report compares it with the errors.

    ``index`` (N,) is the position in the dataset, ``joint_scale_m`` (N, 21) the predicted standard deviation of each
    joint, metres, handlit's joint order: the root of the summed variances of its three coordinates, which is the
    root-mean-square distance that the method expects; ``prediction_sha256`` ties them to the submission. Datasets
    without a benchmark (photographs) are ignored.

    Args:
        submission: The submission; ``pred.zip`` in the run folder by default.
    """

    def __init__(self, submission: str | None = None) -> None:
        self.submission = submission
        self.index: list[np.ndarray] = []
        self.scale: list[np.ndarray] = []

    @override
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.index, self.scale = [], []

    @override
    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: PredictedBatch,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.index.append(batch.index.cpu().numpy())
        self.scale.append(outputs.prediction.joint_scale.float().norm(dim=-1).cpu().numpy())

    @override
    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the hands of all processes, each once, in dataset order."""
        data = hand_data(trainer)
        if data is None or data.protocol is None:
            return
        parts = gathered((np.concatenate(self.index), np.concatenate(self.scale)))
        if not trainer.is_global_zero:
            return
        index, first = np.unique(np.concatenate([index for index, _ in parts]), return_index=True)
        scale = np.concatenate([scale for _, scale in parts])[first]
        path = Path(self.submission) if self.submission else run_folder(trainer).submission
        tied = {"prediction_sha256": sha256(path)} if path.is_file() else {}
        write_numbers(scale_file(path), index=index, joint_scale_m=scale, **tied)
