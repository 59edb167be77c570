"""The last step of every loss: a mean over the items of a batch whose label is known."""

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
