import math

import pytest
import torch

from handlit.losses.joint_limits import JointLimits

#: (joint of a MANO pose, axis, degrees) and how far that is outside the limits, in degrees
EXCESSES = [
    ((0, 2, 110), 10),  # index, first joint, bent too far
    ((0, 2, -14), 4),
    ((0, 1, 12), 2),
    ((1, 1, 12), 7),  # second joints do not splay
    ((6, 1, 25), 5),  # pinky: MANO has it before the ring finger
    ((6, 0, -25), 5),
    ((9, 1, 25), 15),  # ring
    ((12, 0, -10), 10),  # thumb
    ((12, 1, 40), 6.25),
    ((13, 2, 30), 7.5),
    ((14, 2, -25), 5),
    ((14, 2, 90), 0),
    ((12, 0, 85), 0),
]


@pytest.mark.parametrize(("rotation", "excess"), EXCESSES)
def test_joint_limits(rotation: tuple[int, int, float], excess: float) -> None:
    joint, axis, degrees = rotation
    pose = torch.zeros(2, 15, 3)
    pose[1, joint, axis] = math.radians(degrees)
    weight = 2 if axis == 2 else 1
    expected = torch.tensor([0, weight * math.radians(excess) / 45])
    torch.testing.assert_close(JointLimits()(pose.flatten(1)), expected)
