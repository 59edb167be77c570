"""What keeps a training from being lost: the batch that broke it, and loggers that fail."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from handlit.errors import NonFiniteError
from handlit.seeding import run_seed
from handlit.types import HandBatch


class Reproducer(pl.Callback):
    """Saves what made a loss or gradient NaN or infinite, before the training stops.

    Writes ``RUN/nonfinite/rankR.pt``: the batch, its place (epoch, batch, process and the run's seed, which the step's
    noise depends on) and the weights. On a CPU these are the weights before the update; elsewhere, where the numbers
    are only looked at as often as they are logged, those of up to that many steps later. `read_batch` gives the batch
    back; docs/debugging.md shows a replay.
    """

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save the file and say where it is."""
        if not isinstance(exception, NonFiniteError):
            return
        path = Path(trainer.default_root_dir) / "nonfinite" / f"rank{trainer.global_rank}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        batch = exception.batch
        reproducer = {
            "batch": {field.name: getattr(batch, field.name) for field in fields(batch)},
            "epoch": exception.epoch,
            "batch_idx": exception.batch_idx,
            "rank": trainer.global_rank,
            "seed": run_seed(),
            "global_step": trainer.global_step,
            "state_dict": pl_module.state_dict(),
        }
        torch.save(reproducer, path)
        print(f"{path}: the batch, its place and the weights; docs/debugging.md shows how to replay it")


def read_batch(reproducer: dict[str, Any]) -> HandBatch:
    """The batch of a loaded reproducer."""
    return HandBatch(**reproducer["batch"])


@contextmanager
def tolerated(logger: str) -> Iterator[None]:
    """What a logger does with its failures turned into a warning; a block, or a decorator of what returns nothing."""
    try:
        yield
    # loggers are other people's code and fail in every way
    except Exception as error:
        # the same text from the same line: Python shows it once
        warnings.warn(f"{logger} failed, and the run goes on without what it should keep: {error}", stacklevel=1)


class LoggerGuard(pl.Callback):
    """A logger that fails (a server gone, a full disk) is worth a warning, not the training."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Guard what Lightning asks of loggers from here to the end."""
        for logger in trainer.loggers:
            for name in ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize"):
                if name not in vars(logger):
                    setattr(logger, name, tolerated(type(logger).__name__)(getattr(logger, name)))
