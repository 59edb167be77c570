import numpy as np
import pytest

from handlit.scoring.bootstrap import Bootstrap, Interval, Statistic, expanded_tail


def clustered(rng: np.random.Generator, num_groups: int, mean: float) -> tuple[list[str], np.ndarray]:
    """Frames of videos: a spread between sequences of uneven length, and a smaller one inside them."""
    lengths = rng.integers(20, 60, num_groups)
    groups = np.repeat(np.arange(num_groups), lengths)
    values = mean + rng.normal(0, 2, num_groups)[groups] + rng.normal(0, 1, len(groups))
    return [f"S{group}" for group in groups], values


def intervals(bootstrap: Bootstrap, *columns: np.ndarray) -> list[Interval | None]:
    estimates = bootstrap.estimates([Statistic([column]) for column in columns])
    return [None if estimate is None else estimate.interval for estimate in estimates]


@pytest.mark.parametrize("num_groups", [8, 13, 40])
def test_intervals_cover_the_true_mean_as_often_as_they_say(num_groups: int) -> None:
    rng = np.random.default_rng(num_groups)
    by_sequence, by_frame, rounds = 0, 0, 400
    for seed in range(rounds):
        groups, values = clustered(rng, num_groups, mean=10)
        (interval,) = intervals(Bootstrap(groups, len(values), num_draws=500, seed=seed), values)
        (naive,) = intervals(Bootstrap(None, len(values), num_draws=100, seed=seed), values)
        assert interval is not None
        assert naive is not None
        by_sequence += interval.low <= 10 <= interval.high
        by_frame += naive.low <= 10 <= naive.high
    # 400 rounds of a 95 % interval: 0.95 +- 0.022 (two standard deviations)
    assert by_sequence / rounds == pytest.approx(0.95, abs=0.03)
    assert by_frame / rounds < 0.6


def test_independent_frames_agree_with_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(5, 3, 4000)
    (interval,) = intervals(Bootstrap(None, len(values)), values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval is not None
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_difference_is_paired() -> None:
    """Two methods that rise and fall together: the difference is known far better than either mean."""
    rng = np.random.default_rng(2)
    groups, first = clustered(rng, 12, mean=10)
    second = first + 0.1 + rng.normal(0, 0.05, len(first))
    bootstrap = Bootstrap(groups, len(first))
    of_first, of_second = bootstrap.estimates([Statistic([first]), Statistic([second])])
    assert of_first is not None
    assert of_second is not None
    single, difference = of_first.interval, of_second.minus(of_first).interval
    assert single is not None
    assert difference is not None
    assert difference.excludes_zero
    assert not Interval(-0.1, 0.1).excludes_zero
    assert 0 < difference.low < 0.1 < difference.high
    assert difference.high - difference.low < 0.05 * (single.high - single.low)
    # the same draws for every column: the difference of the means is the mean of the differences
    means = bootstrap.means(np.column_stack([first, second, second - first]))
    np.testing.assert_allclose(means[:, 1] - means[:, 0], means[:, 2], atol=1e-12)


def test_means_match_a_drawing_frame_by_frame() -> None:
    groups, values = clustered(np.random.default_rng(3), 5, mean=1)
    drawn = Bootstrap(groups, len(values), num_draws=30, seed=4).means(values[:, None])[:, 0]
    rng, names = np.random.default_rng(4), np.unique(groups)
    for mean, choice in zip(drawn, rng.integers(5, size=(30, 5)), strict=True):
        frames = np.concatenate([values[np.array(groups) == names[number]] for number in choice])
        assert mean == pytest.approx(frames.mean())


def test_repeats_itself_and_knows_its_limits() -> None:
    groups, values = clustered(np.random.default_rng(5), 6, mean=1)
    columns = values, np.full(len(values), np.nan), np.ones(len(values))
    first, second = (intervals(Bootstrap(groups, len(values)), *columns) for _ in range(2))
    assert first == second
    assert first[1] is None
    assert first[2] == Interval(1.0, 1.0)
    assert intervals(Bootstrap(["a"] * 4, 4), np.ones(4)) == [None]
    assert Bootstrap(None, 4).estimates([]) == []
    with pytest.raises(ValueError, match="3 groups for 4 frames"):
        Bootstrap(["a", "b", "c"], 4)
    # never wider than the plain percentile interval needs to be for many groups
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(5) < expanded_tail(50) < 0.025
