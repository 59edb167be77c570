"""Finger rotations as angles about each joint's own axes, differentiable: what anatomy leaves free, and no more.

Of the 45 numbers of a pose 27 are free: a knuckle bends, is abducted and twists, the thumb's two lower joints too, all
other joints bend (`articulation.JOINT_LIMITS`). Angles about a joint's own axes have no degenerate directions, so a
distribution over them has a density.
"""

import numpy as np
import torch
from torch import Tensor, nn

from handlit.hand.anatomy import joint_axes
from handlit.hand.articulation import JOINT_LIMITS

#: (27, 2) joint and axis (flexion, abduction, twist) of each free angle.
FREE_ANGLES = np.argwhere(JOINT_LIMITS[..., 1] > JOINT_LIMITS[..., 0])
NUM_FREE = len(FREE_ANGLES)


class JointAngles(nn.Module):
    """Between free angles and finger rotations; a module without parameters and with an empty `state_dict`.

    Free angles are stated in units of a quarter of their range around its middle, so that natural poses spread by
    about one.
    """

    _basis: Tensor
    middle: Tensor
    unit: Tensor
    _joint: Tensor
    _axis: Tensor

    def __init__(self) -> None:
        super().__init__()
        low, high = (JOINT_LIMITS[tuple(FREE_ANGLES.T)][:, i] for i in range(2))
        # columns are the axes: flexion, abduction and twist are a right-handed triad
        self._constant("_basis", np.swapaxes(joint_axes(), -1, -2))
        self._constant("middle", (low + high) / 2)
        self._constant("unit", (high - low) / 4)
        self._constant("_joint", FREE_ANGLES[:, 0])
        self._constant("_axis", FREE_ANGLES[:, 1])

    def matrices(self, free: Tensor) -> Tensor:
        """Finger rotations of free angles.

        Args:
            free: (..., 27) in units of their range.

        Returns:
            (..., 15, 3, 3) rotations relative to the parents, as `HandLayer` takes them in the space ``"matrix"``.
        """
        angles = free.new_zeros(*free.shape[:-1], 15, 3)
        angles[..., self._joint, self._axis] = free * self.unit + self.middle
        (ca, cb, cc), (sa, sb, sc) = angles.cos().unbind(-1), angles.sin().unbind(-1)
        rows = (
            (cb * cc, -cb * sc, sb),
            (ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb),
            (sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb),
        )
        local = torch.stack([torch.stack(row, -1) for row in rows], -2)
        return self._basis @ local @ self._basis.mT

    def free(self, matrices: Tensor) -> Tensor:
        """Free angles of finger rotations; what a joint turns about other axes is left out.

        Args:
            matrices: (..., 15, 3, 3) rotations relative to the parents.

        Returns:
            (..., 27) in units of their range.
        """
        local = self._basis.mT @ matrices @ self._basis
        angles = torch.stack(
            [
                torch.atan2(-local[..., 1, 2], local[..., 2, 2]),
                torch.asin(local[..., 0, 2].clamp(-1, 1)),
                torch.atan2(-local[..., 0, 1], local[..., 0, 0]),
            ],
            -1,
        )
        return (angles[..., self._joint, self._axis] - self.middle) / self.unit

    def _constant(self, name: str, values: np.ndarray) -> None:
        tensor = torch.tensor(values)
        self.register_buffer(name, tensor.float() if tensor.is_floating_point() else tensor, persistent=False)
