import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handlit.hand.kinematics import rotvec_to_matrix


@pytest.mark.parametrize("angle", [0.0, 1e-9, 5e-5, 0.99e-4, 1.01e-4, 1e-2, 1.0, math.pi, 7.0])
def test_axis_angle_on_both_sides_of_the_series(angle: float) -> None:
    axis = np.random.default_rng(5).normal(size=(10, 3))
    vectors = angle * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    matrices = rotvec_to_matrix(torch.from_numpy(vectors.T)).permute(2, 0, 1)
    np.testing.assert_allclose(matrices.numpy(), Rotation.from_rotvec(vectors).as_matrix(), atol=2e-15)
