import numpy as np
import pytest

from handlit.scoring.official.f_score import f_scores
from tests.scoring.official import frame_by_frame

#: Metres; a power of two, so that distances of it are exact in both precisions.
THRESHOLD = 2.0**-8


def test_f_scores_equal_brute_force_near_the_thresholds() -> None:
    """Clouds made so that thousands of distances fall within float32 rounding of a threshold."""
    rng = np.random.default_rng(1)
    true = rng.normal(size=(300, 3)) * 0.05 + [0, 0, -0.7]
    direction = rng.normal(size=true.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    predicted = true + direction * (0.005 + rng.uniform(-1e-9, 1e-9, (300, 1)))
    for cloud in (predicted, predicted[:100], predicted * 3, np.zeros_like(true)):
        expected = [frame_by_frame.f_score(true, cloud, threshold) for threshold in (0.005, 0.015)]
        np.testing.assert_allclose(f_scores(true, cloud, (0.005, 0.015)), expected, rtol=1e-12)
    assert 0.2 < f_scores(true, predicted, (0.005,))[0] < 0.95


@pytest.mark.parametrize(
    ("distance", "score"),
    [(np.nextafter(THRESHOLD, 0), 1.0), (THRESHOLD, 0.0), (np.nextafter(THRESHOLD, 1), 0.0)],
    ids=["just nearer", "exactly at the threshold", "just farther"],
)
def test_a_point_at_the_threshold_is_not_within_it(distance: float, score: float) -> None:
    origin = np.zeros((1, 3))
    assert f_scores(origin, np.array([[0, distance, 0]]), (THRESHOLD,)) == [score]


def test_precision_and_recall_are_strict_each_by_itself() -> None:
    """Of two points of one cloud one is at the threshold, of the other cloud's one point the nearest is exact."""
    pair, single = np.array([[0.0, 0, 0], [THRESHOLD, 0, 0]]), np.zeros((1, 3))
    assert f_scores(pair, single, (THRESHOLD,)) == pytest.approx([2 * 0.5 / 1.5])
    assert f_scores(single, pair, (THRESHOLD,)) == pytest.approx([2 * 0.5 / 1.5])
    assert f_scores(pair, single, (2 * THRESHOLD,)) == [1.0]


def test_more_points_than_a_block_of_rows() -> None:
    true = np.arange(130.0)[:, None] * [1.0, 0, 0]
    predicted = true.copy()
    # the last block holds two rows: one of them has no neighbour
    predicted[-1, 1] = 0.5
    assert f_scores(true, predicted, (0.25, 0.75)) == pytest.approx([129 / 130, 1.0])
