"""Loggers that fail cost a warning, not the training."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
from typing_extensions import override


@contextmanager
def tolerated(logger: str) -> Iterator[None]:
    """Turn an exception into a warning: around a block, or as a decorator of a function that returns None.

    Args:
        logger: Its name in the warning.
    """
    try:
        yield
    # loggers are other people's code and fail in every way
    except Exception as error:
        # the same text from the same line: Python shows it once
        warnings.warn(f"{logger} failed, and the run continues without what it should log: {error}", stacklevel=1)


class LoggerGuard(pl.Callback):
    """A logger that fails (a server gone, a full disk) is worth a warning, not the training."""

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            for name in ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize"):
                if name not in vars(logger):
                    setattr(logger, name, tolerated(type(logger).__name__)(getattr(logger, name)))
