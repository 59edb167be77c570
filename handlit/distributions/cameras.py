"""Cameras that a network predicts: how a Gaussian over 3D points becomes one over image points.

AMVUR (CVPR 2023) knows two. Both say where the wrist is seen and how large the hand appears, ``(s, tx, ty)``; the
perspective one also has intrinsics of the crop, with their uncertainty, and so a place in space. Image coordinates are
normalised: [-1, 1] from edge to edge of the crop.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.geometry.cameras import project_weak

#: Nearest depth at which a point is projected, metres: a predicted hand may reach behind the camera, where a pinhole
#: shows nothing, and its loss must be finite and lead it back.
MIN_DEPTH_M = 0.05


class Camera(Protocol):
    """A camera for each image of a batch."""

    @property
    def view(self) -> Tensor:
        """(B, 3) as ``(s, tx, ty)``: normalised crop units per metre and where the wrist is seen; s > 0.

        The weak perspective at the wrist's depth.
        """

    @property
    def intrinsics(self) -> Normal | None:
        """(B, 4) of ``(log fx, log fy, cx, cy)`` in normalised crop units; None for a camera without a depth."""

    @property
    def root_cam(self) -> Tensor | None:
        """(B, 3) the wrist in the camera frame, metres; None for a camera without a depth."""

    def rsample(self) -> "Camera":
        """A camera drawn from the uncertainty of this one, differentiable in its parameters."""

    def project(self, points: Normal) -> Normal:
        """Gaussian points (B, N, 3), root-relative, metres, to image points (B, N, 2), normalised."""


@dataclass(frozen=True)
class WeakPerspectiveCamera:
    """``uv = s xy + t``: as `Camera` says, without a depth and certain."""

    view: Tensor
    intrinsics: None = None
    root_cam: None = None

    def rsample(self) -> "WeakPerspectiveCamera":
        """The camera itself."""
        return self

    def project(self, points: Normal) -> Normal:
        """Exact, for the projection is linear."""
        return project_weak_gaussian(points, self.view)


@dataclass(frozen=True)
class PerspectiveCamera:
    """A pinhole camera whose intrinsics are uncertain and whose wrist is where it is seen.

    A crop tells little about its own intrinsics (how far it was cut from the optical axis, how much it was enlarged),
    but well where the wrist is seen and how large the hand is. So the translation is not predicted as three numbers:
    with the intrinsics at hand it is ``z = f / s`` and ``xy = (t - c) z / f``. Another draw of the intrinsics moves the
    hand in space, and in the image only by its perspective.

    Attributes:
        view: As in `Camera`.
        intrinsics: As in `Camera`.
        drawn: (B, 4) the intrinsics to project with; their mean when None.
    """

    view: Tensor
    intrinsics: Normal
    drawn: Tensor | None = None

    def rsample(self) -> "PerspectiveCamera":
        """The camera with drawn intrinsics."""
        return PerspectiveCamera(self.view, self.intrinsics, self.intrinsics.rsample())

    def pinhole(self) -> tuple[Tensor, Tensor]:
        """Focal lengths and principal point, both (B, 2), normalised."""
        values = self.intrinsics.mean if self.drawn is None else self.drawn
        log_focal, centre = values.split((2, 2), dim=1)
        return log_focal.exp(), centre

    @property
    def root_cam(self) -> Tensor:
        """(B, 3) the wrist in the camera frame, metres."""
        focal, centre = self.pinhole()
        magnification, seen_at = self.view.split((1, 2), dim=1)
        depth = focal.prod(1, keepdim=True).sqrt() / magnification
        return torch.cat([(seen_at - centre) * depth / focal, depth], dim=1)

    def project(self, points: Normal) -> Normal:
        """Projection of the mean, and the delta method for the scale."""
        focal, centre = self.pinhole()
        return project_gaussian(points, self.root_cam, focal, centre)


def project_weak_gaussian(points: Normal, camera: Tensor) -> Normal:
    """Weak-perspective projection of independent Gaussian points: ``uv = s xy + t``, ``scale_uv = s scale_xy``.

    Args:
        points: Mean and scale (B, N, 3), root-relative, metres.
        camera: (B, 3) as ``(s, tx, ty)``, taken as certain; s > 0.

    Returns:
        Mean and scale (B, N, 2), in the unit of the camera.
    """
    scale = camera[:, None, :1] * points.stddev[..., :2]
    return Normal(project_weak(points.mean, camera), scale, validate_args=False)


def project_gaussian(points: Normal, root_cam: Tensor, focal: Tensor, centre: Tensor) -> Normal:
    """Pinhole projection of independent Gaussian points, to first order in their spread (delta method).

    ``u = f X / Z + c`` has the slopes ``du/dX = f / Z`` and ``du/dZ = -f X / Z^2``, so
    ``var u = (f / Z)^2 (var X + (X / Z)^2 var Z)``. Depths are kept above `MIN_DEPTH_M`.

    Args:
        points: Mean and scale (B, N, 3), root-relative, metres.
        root_cam: (B, 3) the root in the camera frame, metres, taken as certain.
        focal: (B, 2) focal lengths, taken as certain.
        centre: (B, 2) principal point.

    Returns:
        Mean and scale (B, N, 2), in the unit of the focal length.
    """
    mean = points.mean + root_cam[:, None]
    depth = mean[..., 2:].clamp(min=MIN_DEPTH_M)
    ray = mean[..., :2] / depth
    variance = points.variance[..., :2] + ray.square() * points.variance[..., 2:]
    focal = focal[:, None]
    return Normal(focal * ray + centre[:, None], focal / depth * variance.sqrt(), validate_args=False)


def normalised_intrinsics(intrinsics: Tensor, size: int) -> Tensor:
    """The calibration of a crop as `Camera.intrinsics` has it.

    Args:
        intrinsics: (B, 3, 3) of the crop, pixels.
        size: Side of the square crop, pixels.

    Returns:
        (B, 4) as ``(log fx, log fy, cx, cy)``: focal lengths and principal point for [-1, 1] over the crop.
    """
    focal = 2 * intrinsics[:, (0, 1), (0, 1)] / size
    centre = (2 * intrinsics[:, :2, 2] + 1) / size - 1
    return torch.cat([focal.log(), centre], dim=1)
