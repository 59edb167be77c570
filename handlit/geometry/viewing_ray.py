"""A virtual camera that looks at the hand: what perspective does to a hand away from the middle of an image, undone.

Seen from the side of an image a hand is also seen from another direction. Turning the camera until its axis meets the
hand takes that apart from the hand's own orientation; answers are turned back. The idea is common in body pose, e.g.
Li et al., "CLIFF: Carrying Location Information in Full Frames into Human Pose and Shape Estimation", ECCV 2022,
https://arxiv.org/abs/2208.00571.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: Extent of a hand along the longer side of its box, metres, where the joints do not tell.
USUAL_SIZE_M = 0.14
#: How far that is trusted, in joints at the edge of the box.
_TRUST = 1e-3
#: Smallest extent of a hand in the virtual camera's image plane: joints that all fall on one point have none.
_MIN_SIZE = 1e-4


@dataclass(frozen=True)
class HandView:
    """2D joints as a virtual camera sees them, box-normalised: centre 0, longer side 1.

    Attributes:
        points: (B, 21, 2) joints; zeros where unknown.
        known: (B, 21) bool.
        rotation: (B, 3, 3) from the virtual camera's axes to the camera's.
        centre: (B, 2) of the joints' box in the virtual camera's image plane (focal length 1).
        size: (B,) longer side of that box.
        intrinsics: (B, 3, 3) of the camera.
    """

    points: Tensor
    known: Tensor
    rotation: Tensor
    centre: Tensor
    size: Tensor
    intrinsics: Tensor

    def project(self, points: Tensor) -> Tensor:
        """Points (..., B, N, 3) in the virtual camera's frame to its box-normalised coordinates (..., B, N, 2).

        A point nearer than a tenth of where a hand of this size usually is, or behind the camera, is moved there.
        """
        nearest = 0.1 * USUAL_SIZE_M / self.size[:, None]
        plane = points[..., :2] / torch.maximum(points[..., 2], nearest)[..., None]
        return (plane - self.centre[:, None]) / self.size[:, None, None]

    def unproject(self, points: Tensor, depth: Tensor) -> Tensor:
        """Box-normalised points (..., B, 2) at depths (..., B) to the virtual camera's frame (..., B, 3)."""
        plane = points * self.size[:, None] + self.centre
        return torch.cat([plane, torch.ones_like(plane[..., :1])], -1) * depth[..., None]

    def fit_root(self, points_root: Tensor) -> Tensor:
        """Where a hand stands whose joints look most like those that were seen.

        Least squares over ``x + tx - u (z + tz) = 0`` and the same for v, which is linear in the root ``(tx, ty, tz)``;
        see `cameras.fit_root`. Joints that leave the distance open, as a single one does, leave it near
        `USUAL_SIZE_M`, the extent of a hand.

        Args:
            points_root: (..., B, 21, 3) in the virtual camera's axes, wrist at the origin, metres.

        Returns:
            (..., B, 3) in the virtual camera's frame, metres.
        """
        weight = self.known.to(points_root.dtype)[..., None]
        plane = weight * (self.points * self.size[:, None, None] + self.centre[:, None])
        away = weight * points_root[..., :2] - plane * points_root[..., 2:]
        usual = USUAL_SIZE_M / self.size
        # normal equations: the sums over joints of the products of (1, 0, -u) and (0, 1, -v)
        count, mean = weight.sum((-1, -2)), plane.sum(-2)
        square = plane.square().sum((-1, -2)) + _TRUST * self.size.square()
        moved = away.sum(-2)
        along = (plane * away).sum((-1, -2)) + _TRUST * self.size.square() * usual
        count = count.clamp(min=1)
        depth = (along - (mean * moved).sum(-1) / count) / (square - mean.square().sum(-1) / count)
        depth = depth.clamp(min=usual / 3, max=3 * usual)
        return torch.cat([(mean * depth[..., None] - moved) / count[..., None], depth[..., None]], -1)

    def to_camera(self, points: Tensor) -> Tensor:
        """Points (..., B, N, 3) from the virtual camera's axes to the camera's."""
        return points @ self.rotation.mT

    def to_view(self, points: Tensor) -> Tensor:
        """Inverse of `to_camera`."""
        return points @ self.rotation


def view_hand(joints_2d: Tensor, known: Tensor, intrinsics: Tensor) -> HandView:
    """Turn the camera to the hand.

    Args:
        joints_2d: (B, 21, 2) pixels.
        known: (B, 21) bool; unknown joints are not looked at.
        intrinsics: (B, 3, 3) of the same pixels, without skew.

    Returns:
        The joints as seen from there. A hand without known joints is looked at in the middle of the image.
    """
    focal, centre = intrinsics[:, None, (0, 1), (0, 1)], intrinsics[:, None, :2, 2]
    plane = torch.where(known[..., None], (joints_2d - centre) / focal, 0.0)
    middle, _ = _box(plane, known)
    rotation = _turn_to(torch.cat([middle, torch.ones_like(middle[:, :1])], 1))
    rays = torch.cat([plane, torch.ones_like(plane[..., :1])], -1) @ rotation
    # a ray at a right angle to the hand's never meets the plane: no camera sees both
    plane = rays[..., :2] / rays[..., 2:].clamp(min=1e-3)
    middle, size = _box(plane, known)
    points = torch.where(known[..., None], (plane - middle[:, None]) / size[:, None, None], 0.0)
    return HandView(points, known, rotation, middle, size, intrinsics)


def _box(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B, 2) and longer side (B,) of the box around the known points."""
    inf = torch.full_like(points, torch.inf)
    low = torch.where(known[..., None], points, inf).amin(1)
    high = torch.where(known[..., None], points, -inf).amax(1)
    some = known.any(1)[:, None]
    low, high = torch.where(some, low, -0.1), torch.where(some, high, 0.1)
    return (low + high) / 2, (high - low).amax(1).clamp(min=_MIN_SIZE)


def _turn_to(direction: Tensor) -> Tensor:
    """Smallest rotation (B, 3, 3) that turns the z axis to a direction (B, 3) with z > 0."""
    x, y, z = (direction / direction.norm(dim=1, keepdim=True)).unbind(1)
    share = 1 / (1 + z)
    rows = ((1 - x * x * share, -x * y * share, x), (-x * y * share, 1 - y * y * share, y), (-x, -y, z))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
