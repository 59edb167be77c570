"""The measures of hypotheses that handlit comes with, in the order of tables.

In the explanations y is the true joint, x_1 ... x_S are the hypotheses and S is their number. Unless one says
otherwise the wrist is at the origin, nothing is scaled or rotated, and pixels are those of the crop.
"""

from collections.abc import Callable, Sequence

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
from handlit.metrics.functional import MILLIMETRES_PER_METRE, mean_point_error_mm
from handlit.metrics.likelihood import sample_nll
from handlit.metrics.measure import Columns, CombinedMeasure, Drawn, DrawnMeasure, Measure, PooledMeasure
from handlit.metrics.published_measures import PUBLISHED_MEASURES
from handlit.types import KnownJointDensity

#: Hypotheses whose best one is reported.
COUNTS = (1, 10, 50, 200)
#: Scales below it count as it in likelihoods, millimetres: labels are not finer, and joints that a method does not vary
#: would have any likelihood otherwise.
RESOLUTION_MM = 1.0

_IN_IMAGE = ("joints_2d",)
_OF_MESH = ("vertices_cam", "root_cam")
_GNEITING = "Gneiting and Raftery, doi:10.1198/016214506000001437"
_FERRO = "without bias: Ferro, doi:10.1002/qj.2270"
_CALIBRATION = "Pierzchlewicz et al., arXiv 2210.11179"
_ILG = "Ilg et al., arXiv 1802.07095"
_QUANTILES = np.linspace(0, 1, NUM_QUANTILES)[1:-1]


def _best(points: str, errors: Callable[[Drawn], Tensor], labels: tuple[str, ...], count: int) -> DrawnMeasure:
    def smallest(drawn: Drawn) -> Tensor:
        all_errors = errors(drawn)
        missing = torch.full_like(all_errors[:, 0], torch.nan)
        return best_of(all_errors, (count,)).get(count, missing)

    what = "21 joints, wrist included" if points == "mpjpe" else "778 vertices"
    return DrawnMeasure(
        f"{points}_best_of_{count}_mm",
        f"{points.upper()}, best of {count}",
        f"smallest error of a whole hand ({what}) among the first {count} hypotheses. Rewards a vague method: read it "
        "with the calibration",
        reference="Li and Lee, arXiv 1904.05547",
        logged=points == "mpjpe",
        of_joints=False,
        labels=labels,
        function=smallest,
    )


def _shares(levels: Sequence[float]) -> Callable[[Columns], list[np.ndarray]]:
    """Of each level, whether a joint's rank is within it."""

    def within(table: Columns) -> list[np.ndarray]:
        ranks = table["rank"]
        return [np.where(np.isfinite(ranks), ranks <= level, np.nan) for level in levels]

    return within


def _coverage(level: float) -> CombinedMeasure:
    percent = f"{100 * level:.0f}"
    return CombinedMeasure(
        f"coverage_{percent}",
        f"coverage of {percent} %",
        f"share of joints at most as far from the hypotheses' median as {percent} % of the hypotheses",
        target=level,
        reference=_CALIBRATION,
        columns=("rank",),
        parts=_shares([level]),
        combine=lambda means: means[..., 0],
    )


def _of_errors_and_scales(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Columns], float]:
    def of_table(table: Columns) -> float:
        errors, scales = table["error_mode_mm"], table["scale_mm"]
        known = np.isfinite(errors) & np.isfinite(scales)
        if known.sum() < 2:
            return float("nan")
        return float(function(torch.from_numpy(errors[known]), torch.from_numpy(scales[known])))

    return of_table


def _correlation(errors: Tensor, scales: Tensor) -> Tensor:
    return rank_correlation(errors, scales) if float(scales.std()) > 0 else torch.tensor(torch.nan)


def _nll(drawn: Drawn) -> Tensor:
    distribution = drawn.prediction.distribution
    if not isinstance(distribution, KnownJointDensity):
        return sample_nll(drawn.joints_mm, drawn.true_joints_mm, RESOLUTION_MM).mean(-1)
    known = distribution.joint_density(drawn.temperature)
    mean, scale = (MILLIMETRES_PER_METRE * values for values in (known.mean, known.stddev))
    return gaussian_nll(mean, scale.clamp(min=RESOLUTION_MM), drawn.true_joints_mm)


_ERRORS = (
    DrawnMeasure(
        "error_mode_mm",
        "MPJPE, point",
        "‖point estimate − y‖",
        title="MPJPE of the point estimate",
        function=lambda drawn: (drawn.prediction.joints_root * MILLIMETRES_PER_METRE - drawn.true_joints_mm).norm(
            dim=-1
        ),
    ),
    DrawnMeasure(
        "error_mean_mm",
        "MPJPE, mean",
        "‖mean of x_s − y‖",
        title="MPJPE of the mean hypothesis",
        function=lambda drawn: (drawn.joints_mm.mean(1) - drawn.true_joints_mm).norm(dim=-1),
    ),
    DrawnMeasure(
        "error_average_mm",
        "MPJPE, average",
        "mean of ‖x_s − y‖",
        title="MPJPE averaged over hypotheses",
        function=lambda drawn: drawn.joint_distances_mm.mean(1),
    ),
    DrawnMeasure(
        "error_mode_px",
        "2D error, point",
        "distance of the point estimate in the crop",
        labels=_IN_IMAGE,
        function=lambda drawn: (drawn.prediction.joints_2d - drawn.batch.joints_2d).norm(dim=-1),
    ),
    DrawnMeasure(
        "error_average_px",
        "2D error, average",
        "distance in the crop, averaged over hypotheses: how well they agree with the image",
        labels=_IN_IMAGE,
        function=lambda drawn: distances(drawn.joints_2d, drawn.batch.joints_2d).mean(1),
    ),
)
_SPREADS = (
    DrawnMeasure(
        "spread_mm",
        "3D spread",
        "root of the summed variances over hypotheses: RMS distance from their mean, in any axes. Should be small "
        "where a joint is seen and as large as the error where it is hidden",
        target=None,
        uncertain=True,
        function=lambda drawn: deviation(drawn.joints_mm),
    ),
    DrawnMeasure(
        "spread_px",
        "2D spread",
        "the same in the crop",
        target=None,
        labels=_IN_IMAGE,
        function=lambda drawn: deviation(drawn.joints_2d),
    ),
    DrawnMeasure(
        "scale_mm",
        "stated scale",
        "root of the summed squares of the stated standard deviations; small is good if calibrated",
        title="sharpness: stated standard deviation",
        target=None,
        reference="sharpness: Gneiting, Balabdaoui and Raftery, doi:10.1111/j.1467-9868.2007.00587.x",
        uncertain=True,
        function=lambda drawn: drawn.scale_mm.square().sum(-1).sqrt(),
    ),
)
_SCORES = (
    DrawnMeasure(
        "nll_nats",
        "NLL",
        "minus the log-density of each coordinate of y by itself, per mm: exact for Gaussian meshes; otherwise of a "
        f"Gaussian and kernels fitted to x_s. Scales below {RESOLUTION_MM:g} mm count as that",
        title="negative log-likelihood per coordinate",
        reference=f"logarithmic score: {_GNEITING}; estimated: Olkin and Spiegelman, "
        "doi:10.1080/01621459.1987.10478550",
        logged=True,
        uncertain=True,
        function=_nll,
    ),
    DrawnMeasure(
        "nll_gaussian_nats",
        "NLL, stated Gaussian",
        "of a Gaussian at the mean hypothesis with the stated scale, which need not be what is drawn",
        title="NLL of a Gaussian with the stated scale",
        reference=f"logarithmic score: {_GNEITING}",
        uncertain=True,
        function=lambda drawn: gaussian_nll(drawn.joints_mm.mean(1), drawn.scale_mm, drawn.true_joints_mm),
    ),
    DrawnMeasure(
        "crps_mm",
        "CRPS",
        "E|X − y| − E|X − X'| / 2 of each coordinate, over pairs of different hypotheses; the absolute error for S = 1",
        title="CRPS per coordinate",
        reference=f"{_GNEITING}, section 4.2; {_FERRO}",
        logged=True,
        uncertain=True,
        function=lambda drawn: crps(drawn.joints_mm, drawn.true_joints_mm, drawn.ordered_joints_mm).mean(-1),
    ),
    DrawnMeasure(
        "energy_mm",
        "energy score",
        "the CRPS with distances in space",
        reference=f"{_GNEITING}, section 4.3; {_FERRO}",
        uncertain=True,
        function=lambda drawn: energy_score(drawn.joints_mm, drawn.true_joints_mm),
    ),
    DrawnMeasure(
        "rank",
        "rank",
        "share of the hypotheses with ‖x_s − median‖ < ‖y − median‖; coverage and calibration come from it",
        target=None,
        reference=_CALIBRATION,
        uncertain=True,
        shown=False,
        function=lambda drawn: radial_rank(drawn.joints_mm, drawn.true_joints_mm, drawn.ordered_joints_mm),
    ),
)
_MESHES = (
    DrawnMeasure(
        "mpvpe_mode_mm",
        "MPVPE, point",
        "mean distance of the point estimate's 778 vertices",
        of_joints=False,
        labels=_OF_MESH,
        function=lambda drawn: mean_point_error_mm(drawn.prediction.vertices_root, drawn.true_mesh_root),
    ),
    DrawnMeasure(
        "mpvpe_mean_mm",
        "MPVPE, mean",
        "mean distance of the mean hypothesis's 778 vertices",
        of_joints=False,
        labels=_OF_MESH,
        function=lambda drawn: mean_point_error_mm(drawn.mean_mesh_root, drawn.true_mesh_root),
    ),
)
_CALIBRATION_ERROR = CombinedMeasure(
    "calibration_error",
    "calibration error",
    f"mean distance of actual and nominal coverage over {NUM_QUANTILES} quantiles from 0 to 1; 0 if calibrated",
    reference=_CALIBRATION,
    logged=True,
    columns=("rank",),
    parts=_shares(_QUANTILES.tolist()),
    combine=lambda means: np.abs(means - _QUANTILES).sum(-1) / NUM_QUANTILES,
)
_ORDERS = (
    PooledMeasure(
        "ause",
        "AUSE",
        "area between the mean error that is left when the joints with the largest stated scale are removed and "
        "when those with the largest error are, divided by the mean error. Joints of all images together, no interval",
        title="sparsification error (AUSE)",
        reference=_ILG,
        logged=True,
        columns=("error_mode_mm", "scale_mm"),
        function=_of_errors_and_scales(ause),
    ),
    PooledMeasure(
        "rank_correlation",
        "rank correlation",
        "Spearman's, of error and stated scale. Joints of all images together, no interval",
        target="high",
        reference="Spearman, doi:10.2307/1412159",
        columns=("error_mode_mm", "scale_mm"),
        function=_of_errors_and_scales(_correlation),
    ),
)
HYPOTHESIS_MEASURES: tuple[Measure, ...] = (
    *_ERRORS,
    *_SPREADS,
    *_SCORES,
    *(_best("mpjpe", lambda drawn: drawn.joint_errors_mm, ("joints_cam",), count) for count in COUNTS),
    *(_best("mpvpe", lambda drawn: drawn.mesh_errors_mm, _OF_MESH, count) for count in COUNTS),
    *_MESHES,
    *PUBLISHED_MEASURES,
    *(_coverage(level) for level in LEVELS),
    _CALIBRATION_ERROR,
    *_ORDERS,
)
