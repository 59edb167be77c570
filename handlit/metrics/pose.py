"""Errors of the point estimate: their records, and the torchmetrics shell that averages them exactly."""

import torch
from torch import Tensor
from torchmetrics import Metric

from handlit.hand.asset import NUM_VERTICES
from handlit.metrics.functional import mean_point_error_mm, procrustes_error_mm
from handlit.metrics.measure import PointMeasure
from handlit.skeleton import NUM_JOINTS

_NUM_POINTS = {"joints": NUM_JOINTS, "vertices": NUM_VERTICES}
_MPJPE = "Ionescu et al., Human3.6M, doi:10.1109/TPAMI.2013.248"
_PROCRUSTES = "Umeyama, doi:10.1109/34.88573; without mirror images, unlike the official hand benchmarks"

MPJPE = PointMeasure(
    "mpjpe_mm",
    "MPJPE",
    "mean per-joint position error, wrist on wrist: distance of the 21 joints, wrist included",
    reference=_MPJPE,
    points="joints",
    function=mean_point_error_mm,
)
PA_MPJPE = PointMeasure(
    "pa_mpjpe_mm",
    "PA-MPJPE",
    "MPJPE after the rotation, scale and translation that bring the joints closest to the true ones",
    reference=_PROCRUSTES,
    points="joints",
    function=procrustes_error_mm,
)
MPVPE = PointMeasure(
    "mpvpe_mm",
    "MPVPE",
    "mean per-vertex position error, wrist on wrist: distance of the 778 vertices",
    reference=_MPJPE,
    points="vertices",
    function=mean_point_error_mm,
)
PA_MPVPE = PointMeasure(
    "pa_mpvpe_mm",
    "PA-MPVPE",
    "MPVPE after the rotation, scale and translation that bring the vertices closest to the true ones",
    reference=_PROCRUSTES,
    points="vertices",
    function=procrustes_error_mm,
)
POINT_MEASURES = (MPJPE, PA_MPJPE, MPVPE, PA_MPVPE)


class PerImageMean(Metric):
    """Mean of a measure over all images whose label is valid, for any batching and number of processes.

    Sum (float64) and count (int64) are the only state, so a short last batch weighs what it should and processes add
    up. The mean of no image is NaN.

    Args:
        measure: What is averaged.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, measure: PointMeasure) -> None:
        super().__init__()
        self.measure = measure
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            predicted: (B, N, 3) metres, N = 21 joints or 778 vertices.
            target: (B, N, 3) metres, same frame.
            valid: (B,) bool, images whose target is known; by default all. The others are ignored.

        Raises:
            ValueError: A shape is not the documented one.
        """
        expected = (predicted.shape[0], _NUM_POINTS[self.measure.points], 3)
        if predicted.shape != expected or target.shape != expected:
            raise ValueError(
                f"{self.measure.key} takes {self.measure.points} of shape (B, {expected[1]}, 3), got "
                f"{tuple(predicted.shape)} and {tuple(target.shape)}"
            )
        if valid is not None:
            if valid.shape != expected[:1] or valid.dtype != torch.bool:
                raise ValueError(f"valid must be a bool mask of shape (B,), got {valid.dtype} {tuple(valid.shape)}")
            predicted, target = predicted[valid], target[valid]
        with torch.no_grad():
            self.total += self.measure.function(predicted, target).sum()
        self.count += len(predicted)

    def compute(self) -> Tensor:
        """Mean, float64, in the measure's unit; NaN when no image was valid."""
        return self.total / self.count
