"""F-scores of two point clouds: how many points have a neighbour in the other cloud within a threshold."""

from collections.abc import Sequence

import numpy as np

#: Bound on the rounding of a squared distance that was computed in float32 as |a|^2 + |b|^2 - 2 a.b, relative to
#: (max|a| + max|b|)^2: five products and sums of unit roundoff 2^-24 each, with room to spare.
FLOAT32_BOUND = 2.0**-19
#: Rows of the distance matrix at a time: they stay in the cache, and so small a product is not split over threads,
#: which would cost more than it brings on an idle machine and thirty times as much on a busy one.
_ROWS = 64


def f_scores(target: np.ndarray, predicted: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """F-score at each threshold, as the official HO-3D and FreiHAND scripts define it.

    Precision is the share of true points with a predicted point nearer than the threshold (strictly), recall the share
    of predicted points with such a true point; the score is their harmonic mean, 0 where both are 0.

    All squared distances come from float32 matrix products; only those too near a threshold for its rounding are
    computed again in float64, so the counts are those of the brute force in float64.

    Args:
        target: (N, 3) true points, metres.
        predicted: (M, 3) predicted points, metres.
        thresholds: Distances, metres.

    Returns:
        (len(thresholds),) float64 in [0, 1].
    """
    # Centred, because the rounding grows with the distance from the origin.
    centre = target.mean(axis=0)
    near_target, near_predicted = target - centre, predicted - centre
    target_square, predicted_square = (near_target**2).sum(axis=1), (near_predicted**2).sum(axis=1)
    left = np.column_stack([-2 * near_target, target_square, np.ones(len(target))]).astype(np.float32)
    right = np.column_stack([near_predicted, np.ones(len(predicted)), predicted_square]).astype(np.float32)
    nearest_to_target, nearest_to_predicted = _row_and_column_minima(left, np.ascontiguousarray(right.T))
    tolerance = FLOAT32_BOUND * (np.sqrt(target_square.max()) + np.sqrt(predicted_square.max())) ** 2

    scores = np.zeros(len(thresholds))
    for position, threshold in enumerate(thresholds):
        precision = _share_within(nearest_to_target, target, predicted, threshold, tolerance)
        recall = _share_within(nearest_to_predicted, predicted, target, threshold, tolerance)
        if precision + recall > 0:
            scores[position] = 2 * precision * recall / (precision + recall)
    return scores


def _row_and_column_minima(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minima of the rows and of the columns of ``left @ right``, which is never held whole."""
    row_minima = np.empty(len(left), dtype=left.dtype)
    column_minima = np.full(right.shape[1], np.inf, dtype=left.dtype)
    # One block of memory for all products: asking for a new one each time takes longer than the product.
    block = np.empty((_ROWS, right.shape[1]), dtype=left.dtype)
    for start in range(0, len(left), _ROWS):
        part = left[start : start + _ROWS]
        rows = np.matmul(part, right, out=block[: len(part)])
        rows.min(axis=1, out=row_minima[start : start + _ROWS])
        np.minimum(column_minima, rows.min(axis=0), out=column_minima)
    return row_minima, column_minima


def _share_within(
    nearest_square: np.ndarray, points: np.ndarray, others: np.ndarray, threshold: float, tolerance: float
) -> float:
    """Share of the points whose nearest other point is strictly nearer than the threshold."""
    within = nearest_square < threshold**2
    for point in np.flatnonzero(np.abs(nearest_square - threshold**2) <= tolerance):
        within[point] = np.sqrt(((others - points[point]) ** 2).sum(axis=1)).min() < threshold
    return float(within.mean())
