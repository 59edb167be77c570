"""Bootstrap intervals: how far a mean over frames would move with other sequences, or other frames, of the same kind.

Neighbouring frames of a video are nearly the same picture, so whole sequences are drawn, not frames: intervals over
frames of videos are several times too narrow.

References:
    Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015, section 3.2 (percentile
    intervals of small samples are too narrow; how they are widened here); Davison and Hinkley, "Bootstrap Methods and
    their Application", 1997, section 3.8 (drawing of clusters).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

#: Repetitions: the ends of a 95 % interval then repeat to about 3 % of its width.
NUM_DRAWS = 2000
LEVEL = 0.95
#: Numbers drawn at a time; bounds the memory.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval, in the unit of its values.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


class Bootstrap:
    """Draws groups of frames with replacement, once, for everything that is compared.

    All numbers see the same draws: the difference of two predictions is paired, and the same input gives the same
    intervals in every run.

    Args:
        groups: (N,) sequence of each frame; None where frames are independent.
        num_frames: N.
        num_draws: Repetitions.
        seed: Of the draws.
    """

    def __init__(
        self, groups: Sequence[str] | None, num_frames: int, num_draws: int = NUM_DRAWS, seed: int = 0
    ) -> None:
        if groups is None:
            self._group = np.arange(num_frames)
        else:
            _, self._group = np.unique(np.array(groups), return_inverse=True)
        if len(self._group) != num_frames:
            raise ValueError(f"{len(self._group)} groups for {num_frames} frames")
        self.unit = "images" if groups is None else "sequences"
        self.num_groups = int(self._group.max()) + 1
        self._num_draws = num_draws
        self._seed = seed

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means over frames in every repetition.

        Args:
            values: (N, M) of each frame: M columns of numbers.

        Returns:
            (num_draws, M). A repetition that draws larger sequences holds more frames: the mean is over its frames.
        """
        sums = np.stack([np.bincount(self._group, column, self.num_groups) for column in values.T], axis=1)
        counts = np.bincount(self._group, minlength=self.num_groups)
        table = np.column_stack([sums, counts])
        rng = np.random.default_rng(self._seed)
        step = max(1, _AT_ONCE // self.num_groups)
        parts = []
        for start in range(0, self._num_draws, step):
            rows = min(step, self._num_draws - start)
            drawn = rng.integers(self.num_groups, size=(rows, self.num_groups))
            flat = drawn + self.num_groups * np.arange(rows)[:, None]
            times = np.bincount(flat.ravel(), minlength=rows * self.num_groups).reshape(rows, self.num_groups)
            parts.append(times @ table)
        total = np.concatenate(parts)
        return total[:, :-1] / total[:, -1:]

    def intervals(self, values: np.ndarray) -> list[Interval | None]:
        """The interval of each column's mean over frames.

        Args:
            values: (N, M); NaN in a column leaves it without an interval.

        Returns:
            M percentile intervals, widened for the number of groups as a t-interval is; None with one group.
        """
        if self.num_groups < 2:
            return [None] * values.shape[1]
        tail = expanded_tail(self.num_groups)
        ends = np.quantile(self.means(values), [tail, 1 - tail], axis=0)
        return [Interval(float(a), float(b)) if np.isfinite(a + b) else None for a, b in ends.T]


def expanded_tail(num_groups: int, level: float = LEVEL) -> float:
    """Share of the draws beyond each end, smaller than (1 - level) / 2 for few groups.

    The bootstrap's spread is that of a sample without Bessel's correction, and takes no notice of the spread itself
    being estimated; ``Phi(-sqrt(n / (n - 1)) t_{n - 1})`` makes up for both.

    Args:
        num_groups: n, at least 2.
        level: Of the interval.
    """
    quantile = t.ppf((1 + level) / 2, num_groups - 1)
    return float(norm.cdf(-np.sqrt(num_groups / (num_groups - 1)) * quantile))
