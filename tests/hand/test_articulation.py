import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handlit.hand.anatomy import forward_kinematics, joint_axes, rest_joints
from handlit.hand.articulation import (
    CONTACT_DEPTH,
    JOINT_LIMITS,
    angles_to_pose,
    finger_clearance,
    named_poses,
    sample_poses,
)
from handlit.hand.standin import load_standin
from handlit.skeleton import KINEMATIC_JOINTS, KINEMATIC_PARENTS
from tests.hand.joint_angles import pose_to_angles

KNUCKLES, SECOND, LAST = [0, 3, 9, 6], [1, 4, 10, 7], [2, 5, 11, 8]  # index, middle, ring, pinky


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return sample_poses(4000, seed=1)


def posed_joints(poses: np.ndarray) -> np.ndarray:
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    return forward_kinematics(rotations)


def test_the_bones_are_those_of_the_asset() -> None:
    hand = load_standin()
    np.testing.assert_allclose(rest_joints()[:16], hand.joint_regressor @ hand.template, atol=1e-7)


def test_kinematics_agree_with_homogeneous_transforms() -> None:
    rotations = Rotation.random(15, random_state=0).as_matrix()
    rest = rest_joints()
    world = [np.eye(4)]
    for joint in range(1, 16):
        local = np.eye(4)
        local[:3, :3] = rotations[joint - 1]
        local[:3, 3] = rest[joint] - rotations[joint - 1] @ rest[joint]
        world.append(world[KINEMATIC_PARENTS[joint]] @ local)
    owner = [*range(16), 3, 6, 9, 12, 15]
    expected = [(world[j] @ [*point, 1])[:3] for j, point in zip(owner, rest, strict=True)]
    np.testing.assert_allclose(forward_kinematics(rotations[None])[0], expected, atol=1e-12)


def test_axes_are_right_handed_and_nearly_the_frames() -> None:
    axes = joint_axes()
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (15, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1)
    # fingers: flexion about +z, abduction about +y, twist about -x, within the spread of the fingers
    frame = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert ((axes[:12] * frame).sum(-1) > np.cos(np.radians(13))).all()
    # the thumb bends about another axis: it is turned towards the palm
    assert (axes[12:, 0] @ [0, 0, 1] < np.cos(np.radians(30))).all()


@pytest.mark.parametrize("joint", range(15))
def test_flexion_bends_towards_the_palm_and_abduction_towards_the_thumb(joint: int) -> None:
    for dof in range(2):
        angles = np.zeros((1, 15, 3))
        angles[0, joint, dof] = np.radians(15)
        chain = joint // 3
        moved = posed_joints(angles_to_pose(angles))[0, 16 + chain] - rest_joints()[16 + chain]
        if joint < 12:
            assert moved @ ([0, -1, 0] if dof == 0 else [0, 0, 1]) > 0.9 * np.linalg.norm(moved)
        elif dof == 0:
            # the thumb closes: downwards and towards the fingers' side of the palm
            assert moved[2] < 0


def test_angles_and_poses_are_inverse() -> None:
    generator = np.random.default_rng(0)
    angles = generator.uniform(JOINT_LIMITS[..., 0], JOINT_LIMITS[..., 1], size=(500, 15, 3))
    np.testing.assert_allclose(pose_to_angles(angles_to_pose(angles)), angles, atol=1e-10)
    assert np.abs(angles_to_pose(np.zeros((1, 15, 3)))).max() == 0


def test_samples_stay_within_the_limits(poses: np.ndarray) -> None:
    assert poses.shape == (4000, 45)
    assert poses.dtype == np.float64
    assert np.isfinite(poses).all()
    angles = pose_to_angles(poses)
    assert (angles >= JOINT_LIMITS[..., 0] - 1e-9).all()
    assert (angles <= JOINT_LIMITS[..., 1] + 1e-9).all()
    # a bent knuckle hardly spreads
    bent = angles[:, KNUCKLES, 0] > np.radians(75)
    assert bent.any()
    assert np.abs(angles[:, KNUCKLES, 1])[bent].max() < np.radians(8)


def test_limits_are_the_published_ranges() -> None:
    degrees = np.degrees(JOINT_LIMITS)
    names = list(KINEMATIC_JOINTS[1:])
    np.testing.assert_allclose(degrees[names.index("ring_1"), 0], [-20, 90])
    np.testing.assert_allclose(degrees[names.index("ring_2"), 0], [0, 105])
    np.testing.assert_allclose(degrees[names.index("ring_3"), 0], [-5, 80])
    np.testing.assert_allclose(degrees[names.index("thumb_2"), 0], [-5, 60])
    np.testing.assert_allclose(degrees[names.index("thumb_3"), 0], [-15, 80])
    hinges = [names.index(f"{finger}_{i}") for finger in ("index", "middle", "ring", "pinky") for i in (2, 3)]
    assert np.abs(degrees[hinges, 1:]).max() == 0


def test_samples_move_like_hands(poses: np.ndarray) -> None:
    angles = pose_to_angles(poses)
    knuckles = np.corrcoef(angles[:, KNUCKLES, 0].T)
    # neighbours move together, ring and little finger most, and distant fingers least
    neighbours = [knuckles[0, 1], knuckles[1, 2], knuckles[2, 3]]
    assert min(neighbours) > 0.4
    assert max(neighbours) == neighbours[2] or max(neighbours) == neighbours[1]
    assert knuckles[0, 3] < min(neighbours)
    # the last joint follows the second one at about two thirds
    second, last = angles[:, SECOND, 0].ravel(), angles[:, LAST, 0].ravel()
    assert np.polyfit(second, last, 1)[0] == pytest.approx(2 / 3, abs=0.07)
    # open, closed and everything between occur
    mean_flexion = np.degrees(angles[:, SECOND, 0].mean(1))
    occupied = np.histogram(mean_flexion, bins=np.arange(0, 105, 15))[0] / len(poses)
    assert (occupied > 0.03).all()


def test_samples_are_reproducible() -> None:
    np.testing.assert_array_equal(sample_poses(100, seed=5), sample_poses(100, seed=5))
    np.testing.assert_array_equal(sample_poses(100, seed=5), sample_poses(100, seed=np.random.default_rng(5)))
    assert np.abs(sample_poses(100, seed=5) - sample_poses(100, seed=6)).max() > 0.1
    generator = np.random.default_rng(5)
    assert np.abs(sample_poses(10, seed=generator) - sample_poses(10, seed=generator)).max() > 0.1
    assert sample_poses(0).shape == (0, 45)


def test_fingers_do_not_run_into_each_other(poses: np.ndarray) -> None:
    assert finger_clearance(poses).min() >= -CONTACT_DEPTH
    # crossing index and middle finger, and a thumb through the index finger, are found
    crossed = np.zeros((2, 15, 3))
    crossed[0, 0, 1], crossed[0, 3, 1] = np.radians(-20), np.radians(20)
    crossed[1, 12, :2] = np.radians([10, -35])
    crossed[1, 0, 0] = np.radians(40)
    clearance = finger_clearance(angles_to_pose(crossed))
    assert (clearance < -0.004).all()
    assert finger_clearance(np.zeros((1, 45)))[0] > 0


def test_clearance_agrees_with_densely_sampled_segments(poses: np.ndarray) -> None:
    """The index finger's last segment against the thumb's: the brute-force gap bounds the clearance from above."""
    some = poses[:200]
    posed = posed_joints(some)
    steps = np.linspace(0, 0.75, 60)[:, None]
    index = posed[:, None, 3] + steps * (posed[:, None, 16] - posed[:, None, 3])
    thumb = posed[:, None, 15] + steps * (posed[:, None, 20] - posed[:, None, 15])
    gap = np.linalg.norm(index[:, :, None] - thumb[:, None], axis=-1).min((1, 2)) - 0.74 * (0.0096 + 0.0110)
    clearance = finger_clearance(some)
    assert (clearance <= gap + 1e-4).all()
    # where these two are the closest pair the numbers agree
    assert (np.abs(clearance - gap) < 2e-4).sum() >= 5


def test_named_poses_look_like_their_names() -> None:
    poses = named_poses()
    tips = {name: posed_joints(pose[None])[0, 16:] for name, pose in poses.items()}  # index middle pinky ring thumb
    wrist = rest_joints()[0]
    reach = {name: np.linalg.norm(points - wrist, axis=1) for name, points in tips.items()}
    assert (reach["fist"][:4] < 0.11).all()
    assert reach["point"][0] > 0.16
    assert (reach["point"][1:4] < 0.11).all()
    assert np.linalg.norm(tips["pinch"][0] - tips["pinch"][4]) < 0.02
    assert np.linalg.norm(tips["spread"][0] - tips["spread"][2]) > np.linalg.norm(tips["flat"][0] - tips["flat"][2])


def test_impossible_contact_depth_is_refused() -> None:
    with pytest.raises(RuntimeError, match="contact_depth"):
        sample_poses(10, contact_depth=-1.0)
