"""The joint network's numbers become joints of the image, with honest confidences."""

import numpy as np
import pytest

from handlit.landmarks.joint_network import OUTSIDE, JointNetwork
from handlit.landmarks.regions import Region
from tests.landmarks.painted import joint_engine, paint, turned_hand


@pytest.mark.parametrize(("degrees", "turn"), [(0, 0), (70, 70), (170, 160), (-90, -100)])
@pytest.mark.parametrize("left", [False, True])
def test_joints_are_where_they_are_painted(degrees: float, turn: float, left: bool) -> None:
    joints = turned_hand((150, 130), 40, degrees)
    region = Region(joints.mean(axis=0), 150.0, float(np.radians(turn)))
    hand = JointNetwork(joint_engine)(paint([joints], left=left), region)
    assert hand is not None
    np.testing.assert_allclose(hand.joints_2d, joints, atol=1)
    np.testing.assert_allclose(hand.box, [*hand.joints_2d.min(axis=0), *hand.joints_2d.max(axis=0)])
    assert hand.right is not left
    assert hand.handedness == pytest.approx(0.1 if left else 0.9)
    assert hand.presence == pytest.approx(1 - abs(degrees - turn) / 90, abs=0.02)
    np.testing.assert_allclose(hand.confidence, hand.presence)


def test_joints_beyond_the_image_or_the_region_are_less_sure() -> None:
    joints = turned_hand((150, 60), 50)
    hand = JointNetwork(joint_engine)(paint([joints]), Region(np.array([150.0, 40.0]), 130.0, 0.0))
    assert hand is not None
    beyond = (joints[:, 1] < -0.5) | (np.abs(joints - [150, 40]).max(axis=1) > 65)
    assert 2 < beyond.sum() < 19
    np.testing.assert_allclose(hand.confidence, np.where(beyond, OUTSIDE, 1) * hand.presence)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_what_is_no_number_is_no_hand(output: int) -> None:
    def broken(image: np.ndarray) -> list[np.ndarray]:
        outputs = joint_engine(image)
        outputs[output][0] = np.nan
        return outputs

    image = paint([turned_hand((150, 130), 40)])
    assert JointNetwork(broken)(image, Region(np.array([150.0, 110.0]), 150.0, 0.0)) is None


def test_probabilities_are_kept_in_their_range() -> None:
    def loud(image: np.ndarray) -> list[np.ndarray]:
        return [joint_engine(image)[0], np.array([1.5]), np.array([-0.5])]

    hand = JointNetwork(loud)(np.zeros((9, 9, 3), np.uint8), Region(np.array([4.0, 4.0]), 9.0, 0.0))
    assert hand is not None
    assert (hand.presence, hand.handedness, hand.right) == (1, 0, False)
