"""Rotations and the kinematic tree of MANO with the batch as the **last** dimension.

Products of small matrices then become elementwise products of long contiguous rows, several times faster than batches
of 3x3 matrices.
"""

import roma
import torch
from torch import Tensor


def pose_joints(rotations: Tensor, rest: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
    """Forward kinematics.

    Args:
        rotations: (3, 3, 16, n) rotations relative to the parents.
        rest: (3, 16, n) rest joints.
        parents: (15,) int64, parent of each joint but the root.

    Returns:
        Rotations (3, 3, 16, n) from the rest frame and posed joints (3, 16, n).
    """
    # the 15 finger joints are 5 chains of 3: each step takes one joint of every finger at once
    bones = (rest[:, 1:] - rest.index_select(1, parents)).unflatten(1, (5, 3))
    fingers = rotations[:, :, 1:].unflatten(2, (5, 3))
    rotation, position = rotations[:, :, :1], rest[:, :1]
    phalanx_rotations, phalanx_positions = [], []
    for phalanx in range(3):
        position = position + apply(rotation, bones[:, :, phalanx])
        rotation = compose(rotation, fingers[:, :, :, phalanx])
        phalanx_positions.append(position)
        phalanx_rotations.append(rotation)
    world = torch.cat((rotations[:, :, :1], torch.stack(phalanx_rotations, 3).flatten(2, 3)), 2)
    return world, torch.cat((rest[:, :1], torch.stack(phalanx_positions, 2).flatten(1, 2)), 1)


def rotvec_to_matrix(vectors: Tensor) -> Tensor:
    """Rodrigues' formula on (3, ...) rotation vectors, radians: (3, 3, ...) matrices.

    Four times faster here than roma's batch-first function. Near zero the two quotients are replaced by their series,
    on both sides of the `where` finite, so that gradients are exact at zero, where training starts.
    """
    x, y, z = vectors.unbind(0)
    square = x * x + y * y + z * z
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    a = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / safe)
    ax, ay, az = a * x, a * y, a * z
    bx, by, bz = b * x, b * y, b * z
    xx, yy, zz, xy, xz, yz = bx * x, by * y, bz * z, bx * y, bx * z, by * z
    entries = (1 - yy - zz, xy - az, xz + ay, xy + az, 1 - xx - zz, yz - ax, xz - ay, yz + ax, 1 - xx - yy)
    return torch.stack(entries).unflatten(0, (3, 3))


def columns_to_matrix(columns: Tensor) -> Tensor:
    """(..., 6), the first two columns one after the other, to (..., 3, 3) rotations; batch first.

    References:
        Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019,
        https://arxiv.org/abs/1812.07035.
    """
    return roma.special_gramschmidt(columns.unflatten(-1, (2, 3)).mT)


def compose(left: Tensor, right: Tensor) -> Tensor:
    """Product of (3, 3, K, n) matrices; K broadcasts."""
    columns, rows = left.unsqueeze(2).unbind(1), right.unbind(0)
    return columns[0] * rows[0] + columns[1] * rows[1] + columns[2] * rows[2]


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Product of (3, 3, K, n) matrices and (3, K, n) vectors; K broadcasts."""
    columns, entries = matrix.unbind(1), vector.unbind(0)
    return columns[0] * entries[0] + columns[1] * entries[1] + columns[2] * entries[2]
