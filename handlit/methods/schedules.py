"""Adam with the learning-rate schedules that methods offer."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import nn

from handlit.errors import InputError

Schedule = Literal["step", "one_cycle"]


def configure_adam(
    parameters: Iterable[nn.Parameter],
    trainer: pl.Trainer,
    *,
    learning_rate: float,
    schedule: Schedule,
    milestones: Sequence[int],
    warmup: float,
    fused: bool,
) -> Any:
    """What a method's `configure_optimizers` returns.

    Args:
        parameters: What is trained.
        trainer: Knows the run's length.
        learning_rate: The highest one.
        schedule: ``"step"``: a tenth after each of the `milestones`. ``"one_cycle"``: a rise and a cosine fall over the
            whole run.
        milestones: Epochs, see `schedule`.
        warmup: Part of a ``one_cycle`` run in which the learning rate rises.
        fused: One kernel for all of Adam's updates.

    Raises:
        InputError: ``one_cycle`` in a run without an end.
    """
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=fused)
    if schedule == "step":
        scheduler: Any = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}
    steps = trainer.estimated_stepping_batches
    if steps == float("inf"):
        raise InputError("schedule='one_cycle' needs to know the run's length: set trainer.max_epochs or max_steps")
    # torch divides by the rise's steps less one; a rise of one step or less is none
    rise = warmup if warmup * steps != 1 else 0.0
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=int(steps), pct_start=rise, cycle_momentum=False
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
