"""Means over what is known: points of an item, perhaps weighted, and, the last step of every loss, items of a batch."""

from collections.abc import Iterable, Mapping

import torch
import torch.distributed
from torch import Tensor, nn


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of the valid items; 0 with zero gradient when there is none.

    Invalid items are not in the denominator and cannot spread a NaN.

    When several processes train together, the items of all of them are counted: the mean of the processes' results,
    which is what DDP computes of their gradients, is then the mean over all valid items, however these are distributed.
    In evaluation, where processes may have different numbers of batches, each batch has its own mean.

    Args:
        values: (B,) one loss per item.
        valid: (B,) bool.

    Returns:
        Scalar.
    """
    if values.shape != valid.shape:
        raise ValueError(f"values have shape {tuple(values.shape)} and their validity {tuple(valid.shape)}")
    total = torch.where(valid, values, torch.zeros_like(values)).sum()
    count = valid.sum()
    if torch.is_grad_enabled() and several_processes():
        torch.distributed.all_reduce(count)
        return total * torch.distributed.get_world_size() / count.clamp(min=1)
    return total / count.clamp(min=1)


def mean_over_processes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means of scalars over the processes that train together; in a single process, the scalars themselves.

    All of them are exchanged at once and without waiting for the device, whereas Lightning's ``sync_dist`` stops all
    processes for each of them.
    """
    if not several_processes():
        return dict(values)
    means = torch.stack(list(values.values()))
    torch.distributed.all_reduce(means)
    return dict(zip(values, means / torch.distributed.get_world_size(), strict=True))


def zero_of(parameters: Iterable[nn.Parameter]) -> Tensor:
    """0 with a gradient of 0 for each parameter: for a part of a network that the loss does not use yet.

    DDP expects a gradient of every parameter at every step. Adam does not move parameters whose gradients have all been
    0.
    """
    return 0.0 * torch.stack([parameter.flatten()[0] for parameter in parameters]).sum()


def mean_of_points(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted mean over an item's points and their coordinates; 0 with zero gradient when all weights are 0.

    Args:
        values: (B, N, D).
        weight: (B, N) of each point, not negative, or bool for points that count or do not; points of weight 0 may be
            NaN. None for equal weights.

    Returns:
        (B,).
    """
    if weight is None:
        return values.flatten(1).mean(1)
    if values.shape[:2] != weight.shape:
        raise ValueError(f"values have shape {tuple(values.shape)} and their weights {tuple(weight.shape)}")
    weighted = torch.where(weight[..., None] > 0, weight[..., None] * values, torch.zeros_like(values))
    total = weight.sum(1)
    return weighted.flatten(1).sum(1) / (torch.where(total > 0, total, torch.ones_like(total)) * values.shape[2])


def several_processes() -> bool:
    """Whether this process is one of several that train or evaluate together."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
