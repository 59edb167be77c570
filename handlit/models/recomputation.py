"""timm networks that compute activations again in the backward pass instead of keeping them."""

from functools import partial
from typing import Any

import torch
from timm.models.hrnet import HighResolutionModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as recompute

from handlit.errors import InputError


class _RecomputedHRNetModule(HighResolutionModule):
    """HRNet's exchange among branches, recomputed in the backward pass: timm has no such option for HRNet."""

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        # timm's forward writes into its argument
        return recompute(lambda *branches: HighResolutionModule.forward(self, list(branches)), *x, use_reentrant=False)


def recompute_activations(model: Any, name: str) -> None:
    """Make a timm network keep fewer activations.

    Args:
        model: The network, changed in place.
        name: Its name, for messages.

    Raises:
        InputError: timm cannot do that for it.
    """
    exchanges = [module for module in model.modules() if type(module) is HighResolutionModule]
    for exchange in exchanges:
        exchange.__class__ = _RecomputedHRNetModule
    if not exchanges:
        try:
            model.set_grad_checkpointing(True)
        # timm's networks without the option say so by an assertion
        except (AssertionError, AttributeError) as error:
            raise InputError(
                f"timm has no activation checkpointing for '{name}': set activation_checkpointing to false, or choose "
                "another backbone"
            ) from error
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(partial(_count_batch_once, momentum=module.momentum))


def _count_batch_once(module: Any, args: Any, momentum: float | None) -> None:
    """Do not update the statistics of a batch normalisation again where the backward pass recomputes it."""
    recomputing = torch._C._current_graph_task_id() != -1
    module.momentum = 0.0 if recomputing else momentum
    if recomputing and module.training:
        module.num_batches_tracked.sub_(1)
