"""Distances between point sets, one number per item."""

from torch import Tensor

from handlit.losses.reduction import mean_of_points


def l1_distance(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted mean of the absolute difference over points and coordinates.

    Args:
        predicted: (B, N, D).
        target: (B, N, D), same unit.
        weight: (B, N) of each point, or bool, see `mean_of_points`; equal by default.

    Returns:
        (B,), same unit.
    """
    return mean_of_points((predicted - target).abs(), weight)
