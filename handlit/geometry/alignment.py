"""Alignment of point sets: similarity (Procrustes), scale and translation, root.

Every function maps *source* points onto *target* points, keeps leading batch dimensions, computes in float64 whatever
the input type (also under mixed precision) and returns the source's type. Inputs are never changed.
"""

from typing import NamedTuple

import torch
from torch import Tensor

#: Added to the Frobenius norms by the official HO-3D and FreiHAND scripts; keeps a single repeated point finite.
NORM_OFFSET = 1e-8


class Similarity(NamedTuple):
    """The map ``x -> scale * rotation @ x + translation``.

    Attributes:
        rotation: (..., 3, 3) orthogonal; a reflection (determinant -1) only where the fit allowed one.
        scale: (...) positive, or zero where source or target is a single repeated point.
        translation: (..., 3) unit of the points.
    """

    rotation: Tensor
    scale: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Map points.

        Args:
            points: (..., N, 3) with the batch dimensions of the similarity.

        Returns:
            (..., N, 3) in the type of the similarity.
        """
        points = points.to(self.rotation.dtype)
        rotated = points @ self.rotation.transpose(-1, -2)
        return self.scale[..., None, None] * rotated + self.translation[..., None, :]


def fit_similarity(source: Tensor, target: Tensor, *, reflections: bool = False) -> Similarity:
    """Rotation, uniform scale and translation that bring the source closest to the target (least squares).

    With both sets centred and divided by their Frobenius norms plus `NORM_OFFSET`, let ``U S V'`` be the singular
    value decomposition of ``target' source``: the rotation is ``U V'`` and the scale the sum of S times the ratio
    of the norms. A source whose points coincide is mapped onto the centre of the target.

    Args:
        source: (..., N, 3) points to be moved.
        target: (..., N, 3) points to move them to.
        reflections: Allow mirror images, as the official HO-3D and FreiHAND scripts do. Without them the last
            singular direction is reversed where the best orthogonal matrix is a reflection.

    Returns:
        The similarity in float64. NaN in, NaN out: no item of a batch disturbs another.

    References:
        Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31, 1966; without
        reflections: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991,
        https://doi.org/10.1109/34.88573. With reflections this is ``align_w_scale`` of the official scripts,
        https://github.com/shreyashampali/ho3d and https://github.com/lmb-freiburg/freihand.
    """
    _check_points(source, target)
    source, target = source.double(), target.double()
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    source_centred, target_centred = source - source_mean[..., None, :], target - target_mean[..., None, :]
    source_norm = torch.linalg.matrix_norm(source_centred) + NORM_OFFSET
    target_norm = torch.linalg.matrix_norm(target_centred) + NORM_OFFSET

    covariance = target_centred.transpose(-1, -2) @ source_centred / (source_norm * target_norm)[..., None, None]
    # The decomposition refuses a whole batch for one NaN; the means carry the NaN into that item's translation.
    left, singular, right = torch.linalg.svd(covariance.nan_to_num())
    if not reflections:
        sign = torch.where(torch.linalg.det(left @ right) < 0, -1.0, 1.0).to(singular)
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
        left, singular = left * flip[..., None, :], singular * flip
    rotation = left @ right
    scale = singular.sum(-1) * target_norm / source_norm
    translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return Similarity(rotation, scale, translation)


def procrustes(source: Tensor, target: Tensor, *, reflections: bool = False) -> Tensor:
    """The source after `fit_similarity` onto the target.

    Args:
        source: (..., N, 3) points to be moved.
        target: (..., N, 3) points to move them to.
        reflections: Allow mirror images; True reproduces the official HO-3D and FreiHAND scores.

    Returns:
        (..., N, 3) aligned source.
    """
    return fit_similarity(source, target, reflections=reflections).apply(source).to(source.dtype)


def align_scale_translation(source: Tensor, target: Tensor, reference: int, root: int = 0) -> Tensor:
    """Scale the source so that one distance matches the target's, then move its root onto the target's; no rotation.

    The distance is the one from the root to the reference joint. HO-3D takes joints 0 and 4 of its own joint order
    (wrist and base of the middle finger).

    Args:
        source: (..., J, 3) points to be moved.
        target: (..., J, 3) points to move them to.
        reference: Position of the joint whose distance to the root sets the scale, in the order of the arrays.
        root: Position of the root.

    Returns:
        (..., J, 3) aligned source; not finite where root and reference joint of the source coincide, because no
        scale exists there (an all-zero prediction scores NaN on the HO-3D server as well).

    References:
        ``align_sc_tr`` of https://github.com/shreyashampali/ho3d.
    """
    _check_points(source, target)
    moved, fixed = source.double(), target.double()
    moved_length = (moved[..., reference, :] - moved[..., root, :]).square().sum(-1).sqrt()[..., None, None]
    fixed_length = (fixed[..., reference, :] - fixed[..., root, :]).square().sum(-1).sqrt()[..., None, None]
    # Operation by operation what the official script does: the score of an exact prediction depends on the last bit.
    scaled = align_root(moved / moved_length * fixed_length, root)
    return (scaled + fixed[..., root : root + 1, :]).to(source.dtype)


def align_root(points: Tensor, root: int = 0) -> Tensor:
    """Move the root joint to the origin.

    Args:
        points: (..., J, 3).
        root: Position of the root among the points.

    Returns:
        (..., J, 3) relative to the root.
    """
    return points - points[..., root : root + 1, :]


def _check_points(source: Tensor, target: Tensor) -> None:
    if source.shape != target.shape or source.ndim < 2 or source.shape[-1] != 3:
        raise ValueError(
            f"alignment needs two point sets of one shape (..., N, 3), got {tuple(source.shape)} and "
            f"{tuple(target.shape)}"
        )
