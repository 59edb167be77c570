"""MHEntropy's own numbers: for comparison with its table, beside ones that do not depend on axes and batches.

Both hands are put at the middle finger's base and divided by their own first bone of it, then multiplied by the true
bone; pixels are those of a 256-pixel crop; the middle finger's base counts neither as visible nor as occluded.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023, section 4.
"""

from typing import Any

import torch

from handlit.metrics.diversity import published_mean
from handlit.metrics.measure import Columns, CombinedMeasure, DrawnMeasure, Measure, PooledMeasure

#: Images of a batch in the published evaluation, which averages over batches.
PUBLISHED_BATCH = 64

_MHENTROPY = "Chen et al., MHEntropy, ICCV 2023, section 4"


def _of_images(name: str, short: str, explanation: str, **facts: Any) -> DrawnMeasure:
    return DrawnMeasure(
        f"published_{name}",
        f"MHEntropy {short}",
        explanation,
        reference=_MHENTROPY,
        of_joints=False,
        function=lambda drawn: drawn.published[name],
        **{"labels": ("joints_cam", "visible"), **facts},
    )


def _batched(measure: DrawnMeasure | CombinedMeasure) -> PooledMeasure:
    """A published measure averaged as the published code does, in batches of the dataset's order."""
    names = (measure.key,) if isinstance(measure, DrawnMeasure) else measure.columns

    def average(table: Columns) -> float:
        means = [published_mean(torch.from_numpy(table[name]).split(PUBLISHED_BATCH)) for name in names]
        if len(means) == 1:
            return means[0]
        return means[0] / means[1] if means[1] > 0 else float("nan")

    return PooledMeasure(
        f"{measure.key}_batched",
        f"{measure.short}*",
        f"{measure.short} averaged as the published code does: the mean over batches of {PUBLISHED_BATCH} in the "
        "dataset's order, without those whose mean is 0",
        unit=measure.unit,
        target=measure.target,
        reference=_MHENTROPY,
        columns=names,
        of_joints=False,
        function=average,
    )


_PJD = (
    "√D times the geometric mean of the standard deviations along the D axes. Depends on the axes; 0 as soon as one of "
    "them is"
)
_PJD_COLUMNS = ("published_pjd_2d_visible_px", "published_pjd_3d_occluded_mm")
_SHOWN: tuple[DrawnMeasure | CombinedMeasure, ...] = (
    _of_images(
        "mpjpe_best_mm",
        "MPJPE",
        "error of the best hypothesis after one bone's length is aligned, mean over 21 joints, the 0 of the middle "
        "finger's base included",
        labels=("joints_cam",),
    ),
    _of_images("ah_px", "AH", "2D error of visible joints in a 256-pixel crop, averaged over hypotheses"),
    _of_images("pjd_2d_visible_px", "PJD, 2D vis.", _PJD, target=None),
    _of_images("pjd_3d_occluded_mm", "PJD, 3D occ.", _PJD, target=None),
    CombinedMeasure(
        "published_rd",
        "MHEntropy RD",
        "the mean of MHEntropy PJD, 2D vis., over the mean of MHEntropy PJD, 3D occ.",
        unit="px/mm",
        reference=_MHENTROPY,
        columns=_PJD_COLUMNS,
        parts=lambda table: [table[name] for name in _PJD_COLUMNS],
        combine=lambda means: means[..., 0] / means[..., 1],
    ),
)
PUBLISHED_MEASURES: tuple[Measure, ...] = (
    *_SHOWN,
    _of_images("mpjpe_best_visible_mm", "MPJPE, vis.", "best hypothesis for the visible joints alone", shown=False),
    _of_images("mpjpe_best_occluded_mm", "MPJPE, occ.", "best hypothesis for the occluded joints alone", shown=False),
    *(_batched(measure) for measure in _SHOWN),
)
