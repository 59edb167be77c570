"""Orientation of a set of points from its image under parallel projection, in closed form."""

import torch
from torch import Tensor

#: Added to the covariance of the points, relative to its trace: flat sets have no thickness to solve for.
_RIDGE = 1e-3
#: Pairs below which the orientation is undetermined: the affine projection of space has eight unknowns.
MIN_PAIRS = 4


def fit_orthographic_rotation(points: Tensor, points_2d: Tensor, weight: Tensor) -> Tensor:
    """Rotation of points whose parallel projection, moved and scaled, resembles image points.

    The weighted least-squares linear map (2, 3) from the centred points to the centred image points, made orthonormal
    (the nearest two rows in the Frobenius norm); the third row completes a proper rotation, so the order of the fingers
    distinguishes palm and back of a flat right hand. It is coarse: a flat hand is thin, so its tilt is poorly
    determined.

    Args:
        points: (B, N, 3) in their own frame.
        points_2d: (B, N, 2), x right and y down.
        weight: (B, N) of each pair, from 0 to 1, or bool; pairs of weight 0 may be NaN.

    Returns:
        (B, 3, 3) rotations to camera axes; finite, but meaningless for fewer than `MIN_PAIRS` pairs above 0. Computed
        without waiting for the device.

    References:
        The first step, POS, of DeMenthon and Davis, "Model-Based Object Pose in 25 Lines of Code", IJCV 1995,
        https://doi.org/10.1007/BF01450852.
    """
    counts = weight[..., None] > 0
    weight = weight[..., None].to(points.dtype)
    total = weight.sum(1, keepdim=True)
    total = torch.where(total > 0, total, torch.ones_like(total))
    points, points_2d = (
        torch.where(counts, values - (weight * values).sum(1, keepdim=True) / total, torch.zeros_like(values))
        for values in (points, torch.where(counts, points_2d, torch.zeros_like(points_2d)))
    )
    weighted = weight * points
    covariance = points.mT @ weighted
    tiny = torch.finfo(points.dtype).tiny
    ridge = _RIDGE * covariance.diagonal(dim1=1, dim2=2).mean(1).clamp(min=tiny**0.5)
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    # linalg.inv would look for an error on the host
    inverse, _ = torch.linalg.inv_ex(covariance + ridge[:, None, None] * eye)
    linear = points_2d.mT @ weighted @ inverse
    linear = linear / linear.flatten(1).norm(dim=1).clamp(min=tiny**0.5)[:, None, None]
    # (M M')^(-1/2) M, with the closed form of a 2 x 2 matrix's root
    square = linear @ linear.mT
    root_det = (square[:, 0, 0] * square[:, 1, 1] - square[:, 0, 1].square()).clamp(min=1e-12).sqrt()
    root = square + root_det[:, None, None] * eye[:2, :2]
    a, b, d = root[:, 0, 0], root[:, 0, 1], root[:, 1, 1]
    adjugate = torch.stack([torch.stack([d, -b], 1), torch.stack([-b, a], 1)], 1)
    first, second = (adjugate @ linear).unbind(1)
    first = torch.nn.functional.normalize(first, dim=1, eps=1e-6)
    second = torch.nn.functional.normalize(second - (first * second).sum(1, keepdim=True) * first, dim=1, eps=1e-6)
    return torch.stack([first, second, torch.linalg.cross(first, second)], 1)
