"""Mirroring, against rotation matrices."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handlit.geometry.mirroring import MIRROR, mirrored_points, mirrored_rotation_vectors


def test_a_rotation_vector_is_mirrored_as_its_matrix_is() -> None:
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.normal(size=(20, 3)), 1e-6 * random.normal(size=(20, 3))])
    mirrored = Rotation.from_rotvec(mirrored_rotation_vectors(vectors)).as_matrix()
    np.testing.assert_allclose(mirrored, MIRROR @ Rotation.from_rotvec(vectors).as_matrix() @ MIRROR, atol=1e-12)


def test_a_pose_is_mirrored_joint_by_joint_in_both_kinds_of_array() -> None:
    pose = np.random.default_rng(0).normal(size=(2, 48)).astype(np.float32)
    expected = np.concatenate([mirrored_rotation_vectors(part) for part in np.split(pose, 16, axis=1)], axis=1)
    np.testing.assert_array_equal(mirrored_rotation_vectors(pose), expected)
    tensor = mirrored_rotation_vectors(torch.from_numpy(pose))
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_points_are_mirrored_in_x_alone() -> None:
    points = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert mirrored_points(points).tolist() == [[-1.0, 2.0, 3.0]]
    np.testing.assert_array_equal(mirrored_points(points.numpy()), points.numpy() @ MIRROR)
