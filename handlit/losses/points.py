"""Distances between point sets, one number per item."""

from torch import Tensor


def l1_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over points and coordinates.

    Args:
        predicted: (B, N, D).
        target: (B, N, D), same unit.

    Returns:
        (B,), same unit.
    """
    return (predicted - target).abs().flatten(1).mean(1)
