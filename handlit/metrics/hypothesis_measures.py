"""The measures of hypotheses that handlit comes with, in the order of tables.

In the explanations y is the true joint, x_1 ... x_S are the hypotheses and S is their number. Unless one says
otherwise the wrist is at the origin, nothing is scaled or rotated, and pixels are those of the crop.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handlit.metrics.calibration import (
    LEVELS,
    NUM_QUANTILES,
    ause,
    crps,
    energy_score,
    gaussian_nll,
    radial_rank,
    rank_correlation,
)
from handlit.metrics.diversity import best_of, deviation, distances
from handlit.metrics.functional import mean_point_error_mm
from handlit.metrics.measure import Columns, CombinedMeasure, Drawn, DrawnMeasure, Measure, PooledMeasure
from handlit.metrics.published_measures import PUBLISHED_MEASURES

#: Hypotheses whose best one is reported.
COUNTS = (1, 10, 50, 200)

_IN_IMAGE = ("joints_2d",)
_OF_MESH = ("vertices_cam", "root_cam")
_GNEITING = "Gneiting and Raftery, doi:10.1198/016214506000001437"
_FERRO = "without bias: Ferro, doi:10.1002/qj.2270"
_CALIBRATION = "Pierzchlewicz et al., arXiv 2210.11179"
_ILG = "Ilg et al., arXiv 1802.07095"
_QUANTILES = np.linspace(0, 1, NUM_QUANTILES)[1:-1]


def _of_joints(
    key: str, short: str, title: str, explanation: str, function: Callable[[Drawn], Tensor], **facts: Any
) -> Measure:
    """A measure of joints for which small is good, unless the facts say otherwise."""
    unit = key.rpartition("_")[2] if "_" in key else ""
    return DrawnMeasure(
        key=key,
        short=short,
        title=title,
        unit=unit,
        explanation=explanation,
        function=function,
        **{"target": "low", **facts},
    )


def _errors() -> list[Measure]:
    return [
        _of_joints(
            "error_mode_mm",
            "MPJPE, point",
            "MPJPE of the point estimate",
            explanation="‖point estimate − y‖",
            function=lambda drawn: (drawn.prediction.joints_root * 1000 - drawn.true_joints_mm).norm(dim=-1),
        ),
        _of_joints(
            "error_mean_mm",
            "MPJPE, mean",
            "MPJPE of the mean hypothesis",
            explanation="‖mean of x_s − y‖",
            function=lambda drawn: (drawn.joints_mm.mean(1) - drawn.true_joints_mm).norm(dim=-1),
        ),
        _of_joints(
            "error_average_mm",
            "MPJPE, average",
            "MPJPE averaged over hypotheses",
            explanation="mean of ‖x_s − y‖",
            function=lambda drawn: distances(drawn.joints_mm, drawn.true_joints_mm).mean(1),
        ),
        _of_joints(
            "error_mode_px",
            "2D error, point",
            "2D error of the point estimate",
            explanation="distance of the point estimate in the crop",
            labels=_IN_IMAGE,
            function=lambda drawn: (drawn.prediction.joints_2d - drawn.batch.joints_2d).norm(dim=-1),
        ),
        _of_joints(
            "error_average_px",
            "2D error, average",
            "2D consistency: error averaged over hypotheses",
            explanation="distance in the crop, averaged over hypotheses: how well they agree with the image",
            labels=_IN_IMAGE,
            function=lambda drawn: distances(drawn.joints_2d, drawn.batch.joints_2d).mean(1),
        ),
    ]


def _spreads() -> list[Measure]:
    explanation = (
        "root of the summed variances over hypotheses: RMS distance from their mean, in any axes. Should be "
        "small where a joint is seen and as large as the error where it is hidden"
    )
    return [
        _of_joints(
            "spread_mm",
            "3D spread",
            "3D spread of a joint (RMS)",
            target=None,
            explanation=explanation,
            uncertain=True,
            function=lambda drawn: deviation(drawn.joints_mm),
        ),
        _of_joints(
            "spread_px",
            "2D spread",
            "2D spread of a joint (RMS)",
            target=None,
            explanation="the same in the crop",
            labels=_IN_IMAGE,
            function=lambda drawn: deviation(drawn.joints_2d),
        ),
        _of_joints(
            "scale_mm",
            "stated scale",
            "sharpness: stated standard deviation",
            target=None,
            explanation="root of the summed squares of the stated standard deviations; small is good if calibrated",
            reference="sharpness: Gneiting, Balabdaoui and Raftery, doi:10.1111/j.1467-9868.2007.00587.x",
            uncertain=True,
            function=lambda drawn: drawn.scale_mm.square().sum(-1).sqrt(),
        ),
    ]


def _scores() -> list[Measure]:
    return [
        _of_joints(
            "nll_nats",
            "NLL",
            "negative log-likelihood per coordinate, in mm",
            explanation="of a Gaussian at the mean hypothesis with the stated scale, per coordinate in mm",
            reference=f"logarithmic score: {_GNEITING}",
            logged=True,
            uncertain=True,
            function=lambda drawn: gaussian_nll(drawn.joints_mm.mean(1), drawn.scale_mm, drawn.true_joints_mm),
        ),
        _of_joints(
            "crps_mm",
            "CRPS",
            "CRPS per coordinate",
            explanation="E|X − y| − E|X − X'| / 2 of each coordinate, over pairs of different hypotheses; the absolute "
            "error for S = 1",
            reference=f"{_GNEITING}, section 4.2; {_FERRO}",
            logged=True,
            uncertain=True,
            function=lambda drawn: crps(drawn.joints_mm, drawn.true_joints_mm).mean(-1),
        ),
        _of_joints(
            "energy_mm",
            "energy score",
            "energy score",
            explanation="the CRPS with distances in space",
            reference=f"{_GNEITING}, section 4.3; {_FERRO}",
            uncertain=True,
            function=lambda drawn: energy_score(drawn.joints_mm, drawn.true_joints_mm),
        ),
        _of_joints(
            "rank",
            "rank",
            "share of hypotheses closer to their median than the truth",
            target=None,
            explanation="‖x_s − median‖ < ‖y − median‖, share of the hypotheses; coverage and calibration come from it",
            reference=_CALIBRATION,
            uncertain=True,
            shown=False,
            function=lambda drawn: radial_rank(drawn.joints_mm, drawn.true_joints_mm),
        ),
    ]


def _best(points: str, errors: Callable[[Drawn], Tensor], labels: tuple[str, ...]) -> list[Measure]:
    def of(count: int) -> Callable[[Drawn], Tensor]:
        def smallest(drawn: Drawn) -> Tensor:
            all_errors = errors(drawn)
            missing = torch.full_like(all_errors[:, 0], torch.nan)
            return best_of(all_errors, (count,)).get(count, missing)

        return smallest

    name = points.upper()
    what = "21 joints, wrist included" if points == "mpjpe" else "778 vertices"
    return [
        DrawnMeasure(
            key=f"{points}_best_of_{count}_mm",
            short=f"{name}, best of {count}",
            title=f"{name} of the best of {count}",
            unit="mm",
            target="low",
            explanation=f"smallest error of a whole hand ({what}) among the first {count} hypotheses. Rewards a vague "
            "method: read it with the calibration",
            reference="Li and Lee, arXiv 1904.05547",
            logged=points == "mpjpe",
            of_joints=False,
            labels=labels,
            function=of(count),
        )
        for count in COUNTS
    ]


def _meshes() -> list[Measure]:
    return [
        DrawnMeasure(
            key="mpvpe_mode_mm",
            short="MPVPE, point",
            title="MPVPE of the point estimate",
            unit="mm",
            target="low",
            explanation="mean distance of the point estimate's 778 vertices",
            of_joints=False,
            labels=_OF_MESH,
            function=lambda drawn: mean_point_error_mm(drawn.prediction.vertices_root, drawn.true_mesh_root),
        ),
        DrawnMeasure(
            key="mpvpe_mean_mm",
            short="MPVPE, mean",
            title="MPVPE of the mean hypothesis",
            unit="mm",
            target="low",
            explanation="mean distance of the mean hypothesis's 778 vertices",
            of_joints=False,
            labels=_OF_MESH,
            function=lambda drawn: mean_point_error_mm(drawn.mean_mesh_root, drawn.true_mesh_root),
        ),
    ]


def _calibration() -> list[Measure]:
    def inside(levels: Sequence[float]) -> Callable[[Columns], list[np.ndarray]]:
        def shares(table: Columns) -> list[np.ndarray]:
            ranks = table["rank"]
            return [np.where(np.isfinite(ranks), ranks <= level, np.nan) for level in levels]

        return shares

    coverage: list[Measure] = [
        CombinedMeasure(
            key=f"coverage_{round(100 * level)}",
            short=f"coverage of {100 * level:.0f} %",
            title=f"coverage of the {100 * level:.0f} % region",
            unit="",
            target=level,
            explanation=f"share of joints at most as far from the hypotheses' median as {100 * level:.0f} % of the "
            "hypotheses",
            reference=_CALIBRATION,
            columns=("rank",),
            parts=inside([level]),
            combine=lambda means: means[..., 0],
        )
        for level in LEVELS
    ]
    return [
        *coverage,
        CombinedMeasure(
            key="calibration_error",
            short="calibration error",
            title="quantile calibration error",
            unit="",
            target="low",
            explanation=f"mean distance of actual and nominal coverage over {NUM_QUANTILES} quantiles from 0 to 1; 0 "
            "for a calibrated method",
            reference=_CALIBRATION,
            logged=True,
            columns=("rank",),
            parts=inside(_QUANTILES.tolist()),
            combine=lambda means: np.abs(means - _QUANTILES).sum(-1) / NUM_QUANTILES,
        ),
    ]


def _orders() -> list[Measure]:
    def pooled(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Columns], float]:
        def of_table(table: Columns) -> float:
            errors, scales = table["error_mode_mm"], table["scale_mm"]
            known = np.isfinite(errors) & np.isfinite(scales)
            if known.sum() < 2:
                return float("nan")
            return float(function(torch.from_numpy(errors[known]), torch.from_numpy(scales[known])))

        return of_table

    def correlation(errors: Tensor, scales: Tensor) -> Tensor:
        return rank_correlation(errors, scales) if float(scales.std()) > 0 else torch.tensor(torch.nan)

    return [
        PooledMeasure(
            key="ause",
            short="AUSE",
            title="sparsification error (AUSE)",
            unit="",
            target="low",
            explanation="area between the mean error that is left when the joints with the largest stated scale are "
            "taken away and when those with the largest error are, divided by the mean error. Joints of all images "
            "together, no interval",
            reference=_ILG,
            logged=True,
            columns=("error_mode_mm", "scale_mm"),
            function=pooled(ause),
        ),
        PooledMeasure(
            key="rank_correlation",
            short="rank correlation",
            title="rank correlation of error and stated scale",
            unit="",
            target="high",
            explanation="Spearman's, of error and stated scale. Joints of all images together, no interval",
            reference="Spearman, doi:10.2307/1412159",
            columns=("error_mode_mm", "scale_mm"),
            function=pooled(correlation),
        ),
    ]


HYPOTHESIS_MEASURES: tuple[Measure, ...] = (
    *_errors(),
    *_spreads(),
    *_scores(),
    *_best("mpjpe", lambda drawn: drawn.joint_errors_mm, ("joints_cam",)),
    *_best("mpvpe", lambda drawn: drawn.mesh_errors_mm, _OF_MESH),
    *_meshes(),
    *PUBLISHED_MEASURES,
    *_calibration(),
    *_orders(),
)
