import numpy as np
import pytest

from handlit.scoring.official.error_statistics import CURVE_THRESHOLDS, ErrorStatistics


def test_thresholds_of_the_curve_are_inclusive() -> None:
    statistics = ErrorStatistics(1)
    statistics.add(np.array([[0.0], [0.05], [0.0500001], [np.nan]]))
    curve = statistics.curve()
    assert curve[0] == 0.25
    assert curve[-1] == 0.5


def test_each_threshold_admits_the_distance_that_equals_it() -> None:
    statistics = ErrorStatistics(len(CURVE_THRESHOLDS))
    statistics.add(CURVE_THRESHOLDS[None])
    # point k is at the k-th threshold: k + 1 of 100 points are within it
    np.testing.assert_allclose(statistics.curve(), np.arange(1, 101) / 100)
    assert statistics.area_under_curve() == pytest.approx((0.01 + 1) / 2)


def test_frames_may_come_in_any_parts() -> None:
    distances = np.random.default_rng(0).uniform(0, 0.06, (5, 3))
    whole, parts = ErrorStatistics(3), ErrorStatistics(3)
    whole.add(distances)
    parts.add(distances[:1])
    parts.add(distances[1:])
    np.testing.assert_allclose(parts.per_point(), distances.mean(0))
    np.testing.assert_array_equal(parts.per_frame(), distances.mean(1))
    np.testing.assert_array_equal(parts.curve(), whole.curve())
    assert parts.mean() == pytest.approx(distances.mean())
    assert parts.count == 5


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_another_number_of_points_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(B, 3\)"):
        ErrorStatistics(3).add(np.zeros(shape))
