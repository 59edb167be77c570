"""Which detections are one hand."""

import numpy as np
import pytest

from handlit.landmarks.hand import DOUBT, DetectedHand, distinct, extent, longer_side
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


def test_joints_are_trusted_as_far_as_other_looks_agree() -> None:
    hand = detected(turned_hand((50, 50), 20))
    elsewhere = hand.joints_2d.copy()
    elsewhere[4] += [DOUBT * hand.size, 0]
    elsewhere[8] += 1e4
    look = detected(elsewhere)
    assert hand.compared([]) is hand
    for looks in ([look], [look, look, hand], [look, hand, look]):
        trusted = hand.compared(looks)
        np.testing.assert_allclose(np.delete(trusted.confidence, [4, 8]), 0.9)
        assert trusted.confidence[4] == pytest.approx(0.45)
        assert trusted.confidence[8] < 1e-4
        np.testing.assert_array_equal(trusted.joints_2d, hand.joints_2d)
    # one of three looks does not count
    np.testing.assert_allclose(hand.compared([look, hand, hand]).confidence, 0.9)


def test_the_side_is_that_of_the_looks_at_the_same_hand() -> None:
    hand, other = detected(turned_hand((50, 50), 20), right=False), detected(turned_hand((52, 50), 20))
    elsewhere = detected(turned_hand((150, 50), 20), right=False)
    compared = hand.compared([other, other, elsewhere])
    assert compared.handedness == pytest.approx(2 / 3)
    assert compared.right
    assert not hand.compared([elsewhere]).right


def test_hands_of_one_point_have_a_distance() -> None:
    point = detected(np.zeros((21, 2)))
    assert point.distance(point) == 0
    assert point.compared([point]).confidence.tolist() == [0.9] * 21


def test_a_small_unsure_hand_in_a_surer_one_is_a_part_of_it() -> None:
    hand, part = detected(turned_hand((50, 50), 40), 0.99), detected(turned_hand((60, 20), 10), 0.8)
    assert part.is_part_of(hand)
    assert not hand.is_part_of(part)
    assert not hand.is_part_of(hand)
    assert not detected(part.joints_2d, 0.96).is_part_of(hand)
    assert not part.is_part_of(detected(hand.joints_2d, 0.7))
    assert not detected(turned_hand((110, 20), 10), 0.8).is_part_of(hand)
