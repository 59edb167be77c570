"""MHEntropy's own numbers: for comparison with its table, beside ones that do not depend on axes and batches.

Both hands are put at the middle finger's base and divided by their own first bone of it, then multiplied by the true
bone; pixels are those of a 256-pixel crop; the middle finger's base counts neither as visible nor as occluded.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023, section 4.
"""

import torch

from handlit.metrics.diversity import published_mean
from handlit.metrics.measure import Columns, CombinedMeasure, DrawnMeasure, Measure, PooledMeasure

#: Images of a batch in the published evaluation, which averages over batches.
PUBLISHED_BATCH = 64

_MHENTROPY = "Chen et al., MHEntropy, ICCV 2023, section 4"


def _published_columns() -> list[DrawnMeasure]:
    """MHEntropy's measures of single images, in the order of tables; those that nobody prints last."""
    seen = ("joints_cam", "visible")

    def column(
        name: str, short: str, title: str, explanation: str, target: bool = True, shown: bool = True
    ) -> DrawnMeasure:
        return DrawnMeasure(
            key=f"published_{name}",
            short=short,
            title=title,
            unit="px" if name.endswith("_px") else "mm",
            target="low" if target else None,
            explanation=explanation,
            reference=_MHENTROPY,
            of_joints=False,
            labels=("joints_cam",) if name == "mpjpe_best_mm" else seen,
            shown=shown,
            function=lambda drawn: drawn.published[name],
        )

    pjd = "√D times the geometric mean of the standard deviations along the D axes. Depends on the axes; 0 as soon as "
    pjd += "one of them is"
    return [
        column(
            "mpjpe_best_mm",
            "MHEntropy MPJPE",
            "MHEntropy's MPJPE (best hypothesis)",
            "error of the best hypothesis after one bone's length is aligned, mean over 21 joints, the 0 of the middle "
            "finger's base included",
        ),
        column(
            "ah_px",
            "MHEntropy AH",
            "MHEntropy's AH (2D, visible joints)",
            "2D error of visible joints in a 256-pixel crop, averaged over hypotheses",
        ),
        column("pjd_2d_visible_px", "MHEntropy PJD, 2D vis.", "MHEntropy's PJD, 2D, visible joints", pjd, target=False),
        column(
            "pjd_3d_occluded_mm", "MHEntropy PJD, 3D occ.", "MHEntropy's PJD, 3D, occluded joints", pjd, target=False
        ),
        column(
            "mpjpe_best_visible_mm",
            "MHEntropy MPJPE, vis.",
            "MHEntropy's MPJPE of the visible joints: best hypothesis",
            "best hypothesis of S for the visible joints alone",
            shown=False,
        ),
        column(
            "mpjpe_best_occluded_mm",
            "MHEntropy MPJPE, occ.",
            "MHEntropy's MPJPE of the occluded joints: best hypothesis",
            "best hypothesis of S for the occluded joints alone",
            shown=False,
        ),
    ]


def _all() -> list[Measure]:
    columns = _published_columns()
    parts = ("published_pjd_2d_visible_px", "published_pjd_3d_occluded_mm")
    diversity = CombinedMeasure(
        key="published_rd",
        short="MHEntropy RD",
        title="MHEntropy's RD",
        unit="px/mm",
        target="low",
        explanation="the mean of MHEntropy PJD, 2D vis., over the mean of MHEntropy PJD, 3D occ.",
        reference=_MHENTROPY,
        columns=parts,
        parts=lambda table: [table[name] for name in parts],
        combine=lambda means: means[..., 0] / means[..., 1],
    )
    averaged: list[DrawnMeasure | CombinedMeasure] = [*(column for column in columns if column.shown), diversity]
    return [*columns, diversity, *(_batched(measure) for measure in averaged)]


def _batched(measure: DrawnMeasure | CombinedMeasure) -> PooledMeasure:
    """A published measure averaged as the published code does, in batches of the dataset's order."""
    names = (measure.key,) if isinstance(measure, DrawnMeasure) else measure.columns

    def average(table: Columns) -> float:
        means = [published_mean(torch.from_numpy(table[name]).split(PUBLISHED_BATCH)) for name in names]
        if len(means) == 1:
            return means[0]
        return means[0] / means[1] if means[1] > 0 else float("nan")

    return PooledMeasure(
        key=f"{measure.key}_batched",
        short=f"{measure.short}*",
        title=f"{measure.title}, averaged as published",
        unit=measure.unit,
        target=measure.target,
        explanation=f"{measure.short} averaged as the published code does: the mean over batches of {PUBLISHED_BATCH} "
        "in the dataset's order, without those whose mean is 0",
        reference=_MHENTROPY,
        columns=names,
        of_joints=False,
        function=average,
    )


PUBLISHED_MEASURES: tuple[Measure, ...] = tuple(_all())
