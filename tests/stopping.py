"""A callback that stops its own processes, as an operator, a scheduler or a power cut would."""

import os
import signal
from typing import Any

import pytorch_lightning as pl


class StopAt(pl.Callback):
    """Sends a signal at the end of a batch, or in the check of the validation before the first.

    Args:
        epoch: When, from 0; -1 in the check before the first.
        batch: When, from 0.
        name: Of the signal: ``"SIGKILL"`` or ``"SIGTERM"``.
        rank: Of several processes, this one alone; None for all of the group, loader workers included.
    """

    def __init__(self, epoch: int, batch: int, name: str, rank: int | None = None) -> None:
        self.place = (epoch, batch)
        self.name = name
        self.rank = rank

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            self._send(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking and self.place == (-1, batch_idx):
            self._send(trainer)

    def _send(self, trainer: pl.Trainer) -> None:
        if self.rank is None:
            os.killpg(os.getpgid(0), getattr(signal, self.name))
        elif self.rank == trainer.global_rank:
            os.kill(os.getpid(), getattr(signal, self.name))
