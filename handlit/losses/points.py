"""Distances between point sets, one number per item."""

from torch import Tensor

from handlit.losses.reduction import mean_of_points


def l1_distance(predicted: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute difference over points and coordinates.

    Args:
        predicted: (B, N, D).
        target: (B, N, D), same unit.
        valid: (B, N) bool, other points are ignored; all are valid by default.

    Returns:
        (B,), same unit.
    """
    return mean_of_points((predicted - target).abs(), valid)
