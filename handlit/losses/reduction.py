"""Means over what is known: points of an item, and, the last step of every loss, items of a batch."""

import torch
from torch import Tensor


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of the valid items; 0 with zero gradient when there is none.

    Invalid items do not count in the denominator and cannot spread a NaN.

    Args:
        values: (B,) one loss per item.
        valid: (B,) bool.

    Returns:
        Scalar.
    """
    if values.shape != valid.shape:
        raise ValueError(f"values have shape {tuple(values.shape)} and their validity {tuple(valid.shape)}")
    total = torch.where(valid, values, torch.zeros_like(values)).sum()
    return total / valid.sum().clamp(min=1)


def mean_of_points(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean over an item's valid points and their coordinates; 0 with zero gradient when there is none.

    Args:
        values: (B, N, D).
        valid: (B, N) bool; None for all points.

    Returns:
        (B,).
    """
    if valid is None:
        return values.flatten(1).mean(1)
    if values.shape[:2] != valid.shape:
        raise ValueError(f"values have shape {tuple(values.shape)} and their validity {tuple(valid.shape)}")
    total = torch.where(valid[..., None], values, torch.zeros_like(values)).flatten(1).sum(1)
    return total / (valid.sum(1).clamp(min=1) * values.shape[2])
