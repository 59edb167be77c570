"""A callback that stops its own process, as an operator, a scheduler or a power cut would."""

import os
import signal

import pytorch_lightning as pl


class StopAt(pl.Callback):
    """Sends a signal to this process at the end of a batch.

    Args:
        epoch: When, from 0.
        batch: When, from 0.
        name: Of the signal: ``"SIGKILL"`` or ``"SIGTERM"``.
    """

    def __init__(self, epoch: int, batch: int, name: str) -> None:
        self.place = (epoch, batch)
        self.name = name

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            os.kill(os.getpid(), getattr(signal, self.name))
