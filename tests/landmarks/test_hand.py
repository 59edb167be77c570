"""Which detections are one hand."""

import numpy as np

from handlit.landmarks.hand import DetectedHand, distinct, extent, longer_side
from tests.landmarks.painted import turned_hand


def detected(joints: np.ndarray, presence: float = 0.9, right: bool = True) -> DetectedHand:
    return DetectedHand(extent(joints), right, float(right), joints, np.full(21, presence), presence)


def test_the_box_is_the_extent_of_the_joints() -> None:
    box = extent(np.array([[3.0, 9.0], [-1.0, 4.0], [2.0, 5.0]]))
    np.testing.assert_array_equal(box, [-1, 4, 3, 9])
    assert longer_side(box) == 5


def test_of_detections_of_one_hand_the_first_is_kept() -> None:
    one, beside = detected(turned_hand((50, 50), 20)), detected(turned_hand((120, 50), 20))
    moved = detected(turned_hand((53, 52), 21, 5), presence=0.8)
    assert distinct([one, beside, moved]) == [one, beside]
    assert distinct([moved, one]) == [moved]
    assert distinct([]) == []


def test_hands_that_share_a_box_stay_two() -> None:
    # fingers of one hand over the palm of the other, as folded hands
    one, crossed = detected(turned_hand((50, 50), 20)), detected(turned_hand((50, 6), 20, 180))
    assert distinct([one, crossed]) == [one, crossed]
