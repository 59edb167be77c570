"""Bootstrap intervals: how far a mean over frames would move with other sequences, or other frames, of the same kind.

Neighbouring frames of a video are nearly the same image, so whole sequences are drawn, not frames: intervals over
frames of videos are several times too narrow.

References:
    Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015
    (doi:10.1080/00031305.2015.1089789), section 3.2 (percentile intervals of small samples are too narrow; how they are
    widened here); Davison and Hinkley, "Bootstrap Methods and their Application", 1997
    (doi:10.1017/CBO9780511802843), section 3.8 (drawing of clusters).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, stdtrit

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

    @property
    def half_width(self) -> float:
        """Half of the distance of its ends."""
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference with this interval is beyond chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Statistic:
    """A function of means over frames.

    Attributes:
        columns: M arrays (N,); NaN where a frame has no value: the mean is over the others.
        combine: From (..., M) means to (...,); the mean itself by default.
    """

    columns: Sequence[np.ndarray]
    combine: Callable[[np.ndarray], np.ndarray] = lambda means: means[..., 0]


@dataclass(frozen=True)
class Estimate:
    """A number with what the bootstrap says about it.

    Attributes:
        value: The number.
        interval: Its interval, where it can be had.
        draws: (num_draws,) the number in every repetition; empty for what has none.
        num_groups: What was drawn: sequences or frames.
    """

    value: float
    interval: Interval | None = None
    draws: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    num_groups: int = 0

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference on the same frames: both were drawn alike, repetition by repetition, so it is paired."""
        value = self.value - other.value
        if not (len(self.draws) and len(other.draws)):
            return Estimate(value)
        draws = self.draws - other.draws
        return Estimate(value, percentile_interval(draws, self.num_groups), draws, self.num_groups)


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

    def estimates(self, statistics: Sequence[Statistic]) -> list[Estimate | None]:
        """Numbers with their intervals, all of the same draws.

        Args:
            statistics: What to estimate; all of them share the draws.

        Returns:
            One for each; None where the number is not finite.
        """
        if not statistics:
            return []
        table = np.stack([column for statistic in statistics for column in statistic.columns], axis=1)
        known = np.isfinite(table)
        filled = np.where(known, table, 0).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = filled.sum(0) / known.sum(0)
            draws = self.means(filled) / self.means(known.astype(np.float64))
        estimates: list[Estimate | None] = []
        start = 0
        for statistic in statistics:
            part = slice(start, start := start + len(statistic.columns))
            value, repetitions = float(statistic.combine(means[part])), statistic.combine(draws[:, part])
            interval = percentile_interval(repetitions, self.num_groups)
            known_value = np.isfinite(value)
            estimates.append(Estimate(value, interval, repetitions, self.num_groups) if known_value else None)
        return estimates


def percentile_interval(draws: np.ndarray, num_groups: int) -> Interval | None:
    """Interval of (num_draws,) repetitions, widened for few groups; None where it cannot be had."""
    if num_groups < 2 or not np.isfinite(draws).all():
        return None
    tail = expanded_tail(num_groups)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high))


def expanded_tail(num_groups: int, level: float = LEVEL) -> float:
    """Share of the draws beyond each end, smaller than (1 - level) / 2 for few groups.

    The bootstrap's spread is that of a sample without Bessel's correction, and ignores that the spread itself is
    estimated; ``Phi(-sqrt(n / (n - 1)) t_{n - 1})`` makes up for both.

    Args:
        num_groups: n, at least 2.
        level: Of the interval.
    """
    quantile = stdtrit(num_groups - 1, (1 + level) / 2)
    return float(ndtr(-np.sqrt(num_groups / (num_groups - 1)) * quantile))
