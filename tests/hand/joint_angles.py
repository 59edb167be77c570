"""Joint angles of poses: the inverse of `handlit.hand.articulation.angles_to_pose`."""

import numpy as np
from scipy.spatial.transform import Rotation

from handlit.hand.anatomy import joint_axes


def pose_to_angles(poses: np.ndarray) -> np.ndarray:
    """(N, 45) axis-angle poses to (N, 15, 3) flexion, abduction and twist, radians."""
    axes = joint_axes()
    matrices = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    local = axes @ matrices @ axes.transpose(0, 2, 1)
    return Rotation.from_matrix(local.reshape(-1, 3, 3)).as_euler("XYZ").reshape(-1, 15, 3)
