"""Keeps the batch that made a loss or a gradient NaN or infinite."""

from dataclasses import fields
from typing import Any

import pytorch_lightning as pl
import torch
from typing_extensions import override

from handlit.callbacks.trainer_parts import run_folder
from handlit.errors import NonFiniteError
from handlit.files import whole
from handlit.seeding import run_seed
from handlit.types import HandBatch


class NonFiniteRecord(pl.Callback):
    """Saves what made a loss or gradient NaN or infinite, before the training stops.

    Writes ``RUN/nonfinite/rankR.pt``: the batch, where it came (epoch, batch, process and the run's seed, which the
    step's noise depends on) and the weights. On a CPU these are the weights before the update; elsewhere, where losses
    are only checked as often as they are logged, those of up to that many steps later. `read_batch` gives the batch
    back; docs/how_to/debugging.md shows a replay.
    """

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, NonFiniteError):
            return
        batch = exception.batch
        record = {
            "batch": {field.name: getattr(batch, field.name) for field in fields(batch)},
            "epoch": exception.epoch,
            "batch_idx": exception.batch_idx,
            "rank": trainer.global_rank,
            "seed": run_seed(),
            "global_step": trainer.global_step,
            "state_dict": pl_module.state_dict(),
        }
        path = run_folder(trainer).nonfinite(trainer.global_rank)
        with whole(path) as temporary:
            torch.save(record, temporary)
        print(f"{path}: the batch, where it came and the weights; docs/how_to/debugging.md shows how to replay it")


def read_batch(record: dict[str, Any]) -> HandBatch:
    """The batch of a loaded record."""
    return HandBatch(**record["batch"])
