"""Methods whose weights Adam learns, with the learning-rate schedules that all of them offer."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from typing_extensions import override

from handlit.errors import InputError, check_choice, check_number
from handlit.methods.method import HandMethod, OutputT

Schedule = Literal["step", "one_cycle"]


class LearnedMethod(HandMethod[OutputT]):
    """Base of the methods that are trained by gradients. Subclasses pass the optimiser's arguments on to it.

    Args:
        image_size: Side of the square crops, pixels.
        learning_rate: Of Adam; the highest one for ``one_cycle``.
        schedule: ``"step"``: a tenth after each milestone, as both papers do it. ``"one_cycle"``: a rise and a cosine
            fall over the whole run, for runs of a few epochs.
        milestones: Epochs, see `schedule`.
        warmup: Part of a ``one_cycle`` run in which the learning rate rises.
        fused: One kernel for all of Adam's updates, several times faster; Lightning refuses it with gradient clipping
            under ``16-mixed``.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, https://arxiv.org/abs/1412.6980.
        Smith and Topin, Super-convergence, 2017 (``one_cycle``), https://arxiv.org/abs/1708.07120.
    """

    def __init__(
        self,
        image_size: int,
        learning_rate: float = 5e-5,
        schedule: Schedule = "step",
        milestones: Sequence[int] = (20,),
        warmup: float = 0.1,
        fused: bool = True,
    ) -> None:
        super().__init__(image_size)
        check_number("learning_rate", learning_rate, above=0)
        check_choice("schedule", schedule, Schedule)
        for milestone in milestones:
            check_number("a milestone", milestone, least=0, whole=True)
        check_number("warmup", warmup, least=0, most=1)
        self.learning_rate = learning_rate
        self.schedule: Schedule = schedule
        self.milestones = milestones
        self.warmup = warmup
        self.fused = fused

    @override
    def configure_optimizers(self) -> Any:
        """Adam for all parameters that require a gradient, with the chosen schedule.

        Raises:
            InputError: ``one_cycle`` in a run without an end.
        """
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate, fused=self.fused)
        if self.schedule == "step":
            by_epoch = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(self.milestones), gamma=0.1)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_epoch, "interval": "epoch"}}
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise InputError("schedule='one_cycle' needs to know the run's length: set trainer.max_epochs or max_steps")
        # torch divides by the rise's steps less one; a rise of one step or less is none
        rise = self.warmup if self.warmup * steps != 1 else 0.0
        by_step = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=int(steps), pct_start=rise, cycle_momentum=False
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_step, "interval": "step"}}
