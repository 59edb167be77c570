import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation

from handlit.hand.articulation import JOINT_LIMITS, angles_to_pose, sample_angles
from handlit.hand.joint_angles import FREE_ANGLES, NUM_FREE, JointAngles


def test_rotations_are_those_of_the_angles_about_each_joints_axes() -> None:
    angles = JointAngles()
    drawn = sample_angles(50, seed=2)
    expected = Rotation.from_rotvec(angles_to_pose(drawn).reshape(-1, 3)).as_matrix().reshape(50, 15, 3, 3)
    joint, axis = FREE_ANGLES.T
    free = (torch.from_numpy(drawn[:, joint, axis]).float() - angles.middle) / angles.unit
    np.testing.assert_allclose(angles.matrices(free).numpy(), expected, atol=1e-6)


def test_free_angles_come_back_beyond_the_limits_too() -> None:
    angles = JointAngles()
    free = 5 * torch.rand(200, NUM_FREE, generator=torch.Generator().manual_seed(0)) - 2.5
    torch.testing.assert_close(angles.free(angles.matrices(free)), free, atol=1e-4, rtol=0)


def test_what_a_joint_cannot_do_is_left_out() -> None:
    angles = JointAngles()
    turned = roma.rotvec_to_rotmat(torch.full((15, 3), 0.1))
    again = angles.matrices(angles.free(turned))
    # knuckles are free in all axes; the joint after one only bends
    assert roma.rotmat_geodesic_distance(again[0], turned[0]) < 1e-5
    assert roma.rotmat_geodesic_distance(again[1], turned[1]) > 0.05


def test_a_unit_is_a_quarter_of_the_range() -> None:
    angles = JointAngles()
    for end, side in ((-2.0, 0), (2.0, 1)):
        reached = angles.free(angles.matrices(torch.full((NUM_FREE,), end))) * angles.unit + angles.middle
        np.testing.assert_allclose(reached.numpy(), JOINT_LIMITS[tuple(FREE_ANGLES.T)][:, side], atol=1e-5)


def test_it_is_differentiable_and_not_in_checkpoints() -> None:
    angles = JointAngles().double()
    free = torch.randn(2, NUM_FREE, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(angles.matrices, (free,))
    assert not angles.state_dict()
