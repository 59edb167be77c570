"""How good and how different several hypotheses of one hand are: best-of-N, average hypothesis, per-joint deviation.

The measures of MHEntropy beside ones that do not depend on the choice of axes. Pure functions; a mean over joints that
has no joint to average is NaN, so that it can be left out of the mean over images.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023, section 4.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from handlit.geometry.bone_relative import BONE_ROOT


def distances(hypotheses: Tensor, target: Tensor) -> Tensor:
    """Distance of each hypothesis's points from the true ones: (B, S, J, D) and (B, J, D) to (B, S, J)."""
    first, *others = (hypotheses - target[:, None]).unbind(-1)
    # a norm, or any sum over two or three neighbouring numbers, takes twice as long
    square = first.square()
    for other in others:
        square.addcmul_(other, other)
    return square.sqrt_()


def joint_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the joints of a mask.

    Args:
        values: (B, J) or (B, S, J).
        mask: (B, J) bool.

    Returns:
        (B,) or (B, S); NaN for images whose mask is empty.
    """
    weights = mask if values.dim() == 2 else mask[:, None]
    return torch.where(weights, values, 0.0).sum(-1) / weights.sum(-1)


def best_of(errors: Tensor, counts: Sequence[int]) -> dict[int, Tensor]:
    """Smallest error among the first N hypotheses.

    Best-of-N alone rewards a method for being vague: report it beside calibration.

    Args:
        errors: (B, S), one number for each hypothesis.
        counts: N; those above S are left out.

    Returns:
        (B,) for each N.

    References:
        Li and Lee, "Generating multiple hypotheses for 3D human pose estimation with mixture density network", CVPR
        2019 (arXiv 1904.05547); that it favours miscalibrated methods: Pierzchlewicz et al., arXiv 2210.11179.
    """
    running = errors.cummin(dim=1).values
    return {count: running[:, count - 1] for count in counts if count <= errors.shape[1]}


def deviation(hypotheses: Tensor, kind: Literal["geometric", "rms"] = "rms") -> Tensor:
    """Per-joint deviation (PJD): how far a point moves over the hypotheses.

    - ``geometric`` (MHEntropy): ``sqrt(D) (s_1 ... s_D)^(1/D)`` with the standard deviation s_d along each axis. It
      depends on the axes and is 0 as soon as a point keeps still along one of them.
    - ``rms``: ``sqrt(s_1^2 + ... + s_D^2)``, the root mean square distance from the mean; the same in any axes.

    Both are equal where a point moves alike in all directions.

    Args:
        hypotheses: (B, S, J, D).
        kind: See above.

    Returns:
        (B, J) in the hypotheses' unit; 0 for a single hypothesis.
    """
    if hypotheses.shape[1] < 2:
        return hypotheses.new_zeros(hypotheses.shape[0], hypotheses.shape[2])
    spread = hypotheses.std(dim=1)
    if kind == "rms":
        return spread.square().sum(-1).sqrt()
    dimensions = hypotheses.shape[-1]
    return dimensions**0.5 * spread.prod(-1).pow(1 / dimensions)


def mhentropy_measures(
    pose: Tensor, points_2d: Tensor, true_pose: Tensor, true_2d: Tensor, length: Tensor, visible: Tensor
) -> dict[str, Tensor]:
    """The published measures for each image, under names that say which hypothesis counts.

    Args:
        pose: (B, S, 21, 3) hypotheses from `geometry.bone_relative`.
        points_2d: (B, S, 21, 2) pixels of a 256-pixel crop.
        true_pose: (B, 21, 3) from `geometry.bone_relative`.
        true_2d: (B, 21, 2) pixels of the same crop.
        length: (B,) the true bone's length, millimetres.
        visible: (B, 21) bool.

    Returns:
        (B,) each, in millimetres (``_mm``) and pixels (``_px``); NaN where an image has no joint of the kind:
        ``mpjpe_best_mm`` (all 21 joints, the root's 0 included), ``mpjpe_best_visible_mm``,
        ``mpjpe_best_occluded_mm``, ``mpjpe_average_visible_mm``, ``worst_visible_px``, ``ah_px``,
        ``best_occluded_px``, ``best_px`` and the deviations ``pjd_{2d,3d}_{visible,occluded,all}_{px,mm}``. The root
        counts neither as visible nor as occluded.
    """
    errors_3d = distances(pose, true_pose) * length[:, None, None]
    errors_2d = distances(points_2d, true_2d)
    other = torch.ones_like(visible)
    other[:, BONE_ROOT] = False
    masks = {"visible": visible & other, "occluded": ~visible & other, "all": torch.ones_like(visible)}
    seen, hidden, every = masks["visible"], masks["occluded"], masks["all"]
    measures = {
        "mpjpe_best_mm": joint_mean(errors_3d, every).amin(1),
        "mpjpe_best_visible_mm": joint_mean(errors_3d, seen).amin(1),
        "mpjpe_best_occluded_mm": joint_mean(errors_3d, hidden).amin(1),
        "mpjpe_average_visible_mm": joint_mean(errors_3d, seen).mean(1),
        "worst_visible_px": joint_mean(errors_2d, seen).amax(1),
        "ah_px": joint_mean(errors_2d, seen).mean(1),
        "best_occluded_px": joint_mean(errors_2d, hidden).amin(1),
        "best_px": joint_mean(errors_2d, every).amin(1),
    }
    spread_3d = deviation(pose, "geometric") * length[:, None]
    spread_2d = deviation(points_2d, "geometric")
    for name, mask in masks.items():
        measures[f"pjd_3d_{name}_mm"] = joint_mean(spread_3d, mask)
        measures[f"pjd_2d_{name}_px"] = joint_mean(spread_2d, mask)
    return measures


def published_mean(batches: Sequence[Tensor]) -> float:
    """Aggregation of the published code: the mean over batches of each batch's mean over its images.

    Images without a value are left out, and so are batches whose mean is exactly 0. The last, smaller batch counts as
    much as the others: the number depends on batch size and order.

    Args:
        batches: (B,) of each batch, NaN for images without a value.
    """
    means = [float(batch[~batch.isnan()].mean()) for batch in batches if not batch.isnan().all()]
    kept = [mean for mean in means if mean != 0]
    return sum(kept) / len(kept) if kept else float("nan")
