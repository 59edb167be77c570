"""Hands of painted streams keep their numbers, are never doubled, and cost no more searches than needed."""

from collections.abc import Callable

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.landmarks import DetectedHand, HandDetector, HandTracker
from tests.landmarks.painted import joint_engine, paint, palm_engine, turned_hand

EMPTY = np.full((240, 320, 3), 20, np.uint8)


class CountedPalms:
    """The painted palm network, which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        return palm_engine(image)


def tracker(
    palms: Callable[[np.ndarray], list[np.ndarray]] = palm_engine,
    joints: Callable[[np.ndarray], list[np.ndarray]] = joint_engine,
    hands: int = 2,
    every: int = 10,
    patience: int = 5,
) -> HandTracker:
    return HandTracker(HandDetector(engines=(palms, joints)), hands, every, patience)


def numbers(hands: list[DetectedHand]) -> list[int | None]:
    return [hand.track for hand in hands]


def test_a_moving_turning_hand_is_followed_by_its_joints_alone() -> None:
    palms = CountedPalms()
    follow = tracker(palms, hands=1)
    for frame in range(25):
        joints = turned_hand((80 + 6 * frame, 140 - 2 * frame), 40 + frame / 3, 10 * frame)
        (hand,) = follow(paint([joints]))
        assert hand.track == 1
        np.testing.assert_allclose(hand.joints_2d, joints, atol=1)
        if frame == 0:
            first = palms.calls
    assert palms.calls == first


def test_a_second_hand_is_found_within_the_search_interval() -> None:
    palms, one, other = CountedPalms(), turned_hand((80, 160), 40), turned_hand((230, 150), 35, 20)
    follow = tracker(palms, every=4)
    assert numbers(follow(paint([one]))) == [1]
    first = palms.calls
    for _ in range(5):
        assert numbers(follow(paint([one]))) == [1]
    assert palms.calls == first + 1
    seen = [numbers(follow(paint([other, one]))) for _ in range(4)]
    assert seen == [[1], [1], [1, 2], [1, 2]]
    hands = follow(paint([other, one]))
    for hand, joints in zip(hands, (one, other), strict=True):
        np.testing.assert_allclose(hand.joints_2d, joints, atol=1)
    assert palms.calls == first + 2


def test_a_hand_that_leaves_ends_its_track_and_returns_as_another() -> None:
    follow, image = tracker(patience=3), paint([turned_hand((120, 160), 40)])
    assert numbers(follow(image)) == [1]
    for _ in range(3):
        assert follow(EMPTY) == []
    # within the patience it is the same
    assert numbers(follow(image)) == [1]
    for _ in range(4):
        assert follow(EMPTY) == []
    assert numbers(follow(image) or follow(image)) == [2]


def test_a_hand_that_jumps_keeps_its_number_if_it_is_near() -> None:
    follow = tracker()
    follow(paint([turned_hand((100, 160), 40)]))
    assert numbers(follow(paint([turned_hand((150, 160), 40)]))) == [1]
    near = follow(paint([turned_hand((150, 140), 40, 170)])) or follow(paint([turned_hand((150, 140), 40, 170)]))
    assert numbers(near) == [1]
    far = turned_hand((285, 70), 24)
    assert numbers(follow(paint([far])) or follow(paint([far]))) == [2]


def test_two_tracks_never_show_one_hand() -> None:
    one, other = turned_hand((110, 160), 40), turned_hand((190, 160), 40)
    follow = tracker()
    assert len(follow(paint([one, other]))) == 2
    (stays,) = [hand.track for hand in follow(paint([one, other])) if hand.joints_2d[0, 0] < 150]
    # where the other one was, the network sees the one that is left
    for _ in range(5):
        (hand,) = follow(paint([one]))
        assert hand.track == stays
        np.testing.assert_allclose(hand.joints_2d, one, atol=1)


def test_no_more_hands_than_wanted() -> None:
    image = paint([turned_hand((60 + 90 * place, 150), 30) for place in range(3)])
    for wanted in (1, 2, 3, 4):
        follow = tracker(hands=wanted, every=1)
        for _ in range(4):
            assert numbers(follow(image)) == list(range(1, min(wanted, 3) + 1))


def test_one_frame_does_not_turn_a_hand_into_the_other() -> None:
    joints = turned_hand((120, 160), 40)
    follow = tracker()
    for frame in range(8):
        (hand,) = follow(paint([joints], left=frame == 3))
        assert hand.right
        assert hand.track == 1
        assert 0.5 < hand.handedness <= 0.9


def test_a_stream_gives_the_same_hands_again() -> None:
    frames = [paint([turned_hand((80 + 20 * f, 150), 40), turned_hand((250, 90), 30)][: 1 + f % 3]) for f in range(9)]
    first, second = tracker(), tracker()
    for frame in frames:
        one, other = first(frame), second(frame)
        assert numbers(one) == numbers(other)
        for hand, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(hand.joints_2d, twin.joints_2d)


def test_an_image_of_another_size_begins_a_new_stream() -> None:
    joints = turned_hand((100, 120), 40)
    follow = tracker()
    assert numbers(follow(paint([joints]))) == [1]
    assert numbers(follow(paint([joints], (240, 200)))) == [2]


def test_an_engine_that_stops_giving_numbers_loses_the_hand() -> None:
    broken = False

    def joints(image: np.ndarray) -> list[np.ndarray]:
        return [np.full_like(output, np.nan) if broken else output for output in joint_engine(image)]

    follow, image = tracker(joints=joints), paint([turned_hand((120, 160), 40)])
    assert numbers(follow(image)) == [1]
    broken = True
    assert follow(image) == []
    broken = False
    assert numbers(follow(image)) == [1]


@pytest.mark.parametrize("name", ["hands", "every", "patience"])
def test_settings_are_checked(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be a whole number"):
        HandTracker(HandDetector(engines=(palm_engine, joint_engine)), **{name: -1})


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="arrays of uint8"):
        tracker()(np.zeros((5, 5), np.uint8))
