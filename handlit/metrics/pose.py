"""torchmetrics shells over `handlit.metrics.functional`: exact means, for any batching and process count."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from handlit.metrics.functional import mean_point_error_mm, procrustes_error_mm


class PerImageMean(Metric):
    """Mean of a per-image error over all images whose label is valid.

    Sum (float64) and count (int64) are the only state, so a short last batch weighs what it should and processes add
    up. The mean of no image is NaN.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    #: Points per image: joints and vertices are told apart by it.
    num_points: ClassVar[int]

    total_mm: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total_mm", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            predicted: (B, N, 3) metres.
            target: (B, N, 3) metres, same frame.
            valid: (B,) bool, images whose target is known; by default all. The others are not looked at.

        Raises:
            ValueError: A shape is not the documented one.
        """
        expected = (predicted.shape[0], self.num_points, 3)
        if predicted.shape != expected or target.shape != expected:
            raise ValueError(
                f"{type(self).__name__} takes points of shape (B, {self.num_points}, 3), got "
                f"{tuple(predicted.shape)} and {tuple(target.shape)}"
            )
        if valid is not None:
            if valid.shape != expected[:1] or valid.dtype != torch.bool:
                raise ValueError(f"valid must be a bool mask of shape (B,), got {valid.dtype} {tuple(valid.shape)}")
            predicted, target = predicted[valid], target[valid]
        with torch.no_grad():
            self.total_mm += self.error_mm(predicted, target).sum()
        self.count += len(predicted)

    @abstractmethod
    def error_mm(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Per-image error that is averaged: (B, N, 3) and (B, N, 3) metres -> (B,) millimetres."""

    def compute(self) -> Tensor:
        """Mean error, millimetres, float64; NaN when no image was valid."""
        return self.total_mm / self.count


class _PlainError(PerImageMean):
    def error_mm(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean distance of an image's points as given."""
        return mean_point_error_mm(predicted, target)


class _ProcrustesError(PerImageMean):
    def error_mm(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean distance of an image's points after a proper similarity, fitted on these points."""
        return procrustes_error_mm(predicted, target)


class MPJPE(_PlainError):
    """Mean per-joint position error of joints as given (root-relative in, root-relative error out)."""

    num_points = 21


class PAMPJPE(_ProcrustesError):
    """Mean per-joint position error after Procrustes alignment with a proper rotation."""

    num_points = 21


class MPVPE(_PlainError):
    """Mean per-vertex position error of meshes as given."""

    num_points = 778


class PAMPVPE(_ProcrustesError):
    """Mean per-vertex position error after Procrustes alignment (fitted on the vertices) with a proper rotation."""

    num_points = 778
