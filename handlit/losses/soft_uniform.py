"""Soft uniform priors and the Laplace likelihood of MHEntropy: log-densities of single items.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023;
    https://github.com/GloryyrolG/MHEntropy at commit 2a4c775.
"""

import math

import torch
from torch import Tensor


def soft_box(values: Tensor, bound: float, strength: float) -> Tensor:
    """Unnormalised log-density of a box with soft walls: ``-strength sum_i relu(|v_i| / bound - 1)^2``.

    Constant inside, so without a gradient there.

    Args:
        values: (..., D).
        bound: Half the box's side, in the values' unit.
        strength: Steepness of the walls.

    Returns:
        (...,), at most 0.
    """
    return -strength * (values.abs() / bound - 1).relu().square().sum(-1)


def soft_ball(values: Tensor, radius: float, strength: float) -> Tensor:
    """Unnormalised log-density of a ball with a soft wall: ``-strength relu(||v|| / radius - 1)^2``.

    Args:
        values: (..., D).
        radius: Of the ball, in the values' unit.
        strength: Steepness of the wall.

    Returns:
        (...,), at most 0.
    """
    # the norm has no gradient at the centre; inside the ball none is needed
    squared = values.square().sum(-1).clamp(min=torch.finfo(values.dtype).tiny)
    return -strength * (squared.sqrt() / radius - 1).relu().square()


def laplace_log_likelihood(
    points: Tensor, target: Tensor, weight: Tensor, scale: float, dead_zone: float = 1e-4
) -> Tensor:
    """Log-likelihood of weighted points under a Laplace distribution, summed over points and coordinates.

    ``sum_k w_k sum_d -max(|p_kd - t_kd|, dead_zone) / scale - log(2 scale)``; points of weight 0 are ignored, which is
    a uniform distribution over hidden points. Errors below `dead_zone` have no gradient.

    Args:
        points: (..., J, D).
        target: (..., J, D); arbitrary where the weight is 0.
        weight: (..., J) from 0 to 1, or bool.
        scale: b of the distribution, in the points' unit.
        dead_zone: In the points' unit.

    Returns:
        (...,) nats; 0 where all weights are 0.
    """
    weight = weight[..., None]
    error = torch.where(weight > 0, points - target, 0.0).abs().clamp(min=dead_zone)
    return (weight * (-error / scale - math.log(2 * scale))).sum((-2, -1))
