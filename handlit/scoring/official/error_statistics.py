"""Running statistics of point errors: what the official scripts keep of every frame, without keeping the frames."""

import numpy as np

#: Metres; thresholds of the official curves of correct points (PCK).
CURVE_THRESHOLDS = np.linspace(0.0, 0.05, 100)


class ErrorStatistics:
    """Means and threshold curves of the distances of K points over many frames.

    Means are taken per point over frames, then over points; so are the curves. An error that is not a number makes
    the mean so and counts as beyond every threshold.

    Args:
        num_points: K.
    """

    def __init__(self, num_points: int) -> None:
        self.num_points = num_points
        self.count = 0
        self._sum = np.zeros(num_points)
        self._histogram = np.zeros((num_points, len(CURVE_THRESHOLDS) + 1), dtype=np.int64)
        self._frames: list[np.ndarray] = []

    def add(self, distances: np.ndarray) -> None:
        """Add frames.

        Args:
            distances: (B, K) metres.
        """
        if distances.ndim != 2 or distances.shape[1] != self.num_points:
            raise ValueError(f"distances must have shape (B, {self.num_points}), got {distances.shape}")
        self.count += len(distances)
        self._sum += distances.sum(axis=0)
        self._frames.append(distances.mean(axis=1))
        # The first threshold that admits the distance: `distance <= threshold`. NaN sorts behind the last one.
        first = np.searchsorted(CURVE_THRESHOLDS, distances, side="left")
        flat = first + np.arange(self.num_points) * self._histogram.shape[1]
        self._histogram += np.bincount(flat.ravel(), minlength=self._histogram.size).reshape(self._histogram.shape)

    def per_point(self) -> np.ndarray:
        """(K,) mean distance of each point over the frames, metres."""
        return self._sum / self.count

    def per_frame(self) -> np.ndarray:
        """(N,) mean distance of each frame over its points, metres."""
        return np.concatenate(self._frames)

    def mean(self) -> float:
        """Mean over points of the mean over frames, metres."""
        return float(self.per_point().mean())

    def curve(self) -> np.ndarray:
        """(100,) share of points within each of `CURVE_THRESHOLDS`, mean over points."""
        return (self._histogram[:, :-1].cumsum(axis=1) / self.count).mean(axis=0)

    def area_under_curve(self) -> float:
        """Area under `curve` by the trapezoid rule, divided by the range: in [0, 1]."""
        curve = self.curve()
        # Equal steps cancel; written out because NumPy 2 renamed its trapezoid rule.
        return float((curve[1:] + curve[:-1]).sum() / (2 * (len(curve) - 1)))
