"""A guide for predicted rotations that is blind to small differences."""

import math

import torch
from torch import Tensor


def orientation_guide(columns: Tensor, rotation: Tensor, target: Tensor, tolerance_deg: float = 30.0) -> Tensor:
    """Mean absolute error of a rotation's predicted columns where the rotation is far from its target.

    The columns are compared as the network gives them: through their orthonormalisation the loss would be flat and
    unsteady between two opposite answers, where training starts.

    Args:
        columns: (B, 3, 2) predicted first two columns, not orthonormal.
        rotation: (B, 3, 3) what they become; only decides, without a gradient.
        target: (B, 3, 3).
        tolerance_deg: Angle within which there is no loss, degrees.

    Returns:
        (B,).
    """
    distance = (columns - target[..., :2]).abs().flatten(1).mean(1)
    return torch.where(is_turned(rotation, target, tolerance_deg), distance, torch.zeros_like(distance))


def is_turned(rotation: Tensor, target: Tensor, tolerance_deg: float = 30.0) -> Tensor:
    """Whether two rotations (B, 3, 3) are further apart than a tolerance; (B,) bool."""
    cosine = ((rotation * target).flatten(1).sum(1) - 1) / 2
    return cosine.detach() < math.cos(math.radians(tolerance_deg))
