"""Detects losses and gradients that are NaN or infinite."""

from dataclasses import dataclass

import torch
from torch import Tensor

from handlit.errors import NonFiniteError
from handlit.losses.reduction import several_processes
from handlit.types import HandBatch

#: Steps whose batches are kept until their losses have been checked.
MAX_WATCHED = 20


@dataclass
class WatchedStep:
    """A training step that has not been checked yet.

    Attributes:
        batch: Its batch.
        epoch: From 0.
        batch_idx: From 0.
        finite: Flags by name ("loss", "gradient"), on the device.
    """

    batch: HandBatch
    epoch: int
    batch_idx: int
    finite: dict[str, Tensor]


class LossWatch:
    """Detects losses and gradients that are not finite, without waiting for the device at every step.

    The flags stay on the device; `check` fetches all of them at once and names the first bad batch.
    """

    def __init__(self) -> None:
        self._steps: list[WatchedStep] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, batch: HandBatch, epoch: int, batch_idx: int, loss: Tensor) -> None:
        """Remember a step; where `MAX_WATCHED` wait, as with a gradient of many batches, they are checked first.

        Raises:
            NonFiniteError: As for `check`.
        """
        if len(self._steps) >= MAX_WATCHED:
            self.check()
        self._steps.append(WatchedStep(batch, epoch, batch_idx, {"loss": loss.detach().isfinite()}))

    def add_gradient(self, norm: Tensor) -> None:
        """Remember the norm of the last step's gradient."""
        if self._steps:
            self._steps[-1].finite["gradient"] = norm.isfinite()

    def check(self) -> None:
        """Check the steps since the last call.

        Raises:
            NonFiniteError: The loss or the gradient of one of them was NaN or infinite.
        """
        steps, self._steps = self._steps, []
        flags = [(step, name) for step in steps for name in step.finite]
        if not flags:
            return
        finite = torch.stack([step.finite[name] for step, name in flags]).tolist()
        if all(finite):
            return
        step, name = flags[finite.index(False)]
        # a gradient is the mean of all processes'
        others = " or another process's" if name == "gradient" and several_processes() else ""
        raise NonFiniteError(
            f"the training {name} became NaN or infinite on the batch of {', '.join(step.batch.key)}{others}. "
            "Look at these samples' labels; if they are sound, lower the learning rate or set "
            "trainer.gradient_clip_val",
            step.batch,
            step.epoch,
            step.batch_idx,
        )
