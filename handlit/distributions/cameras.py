"""Cameras that a network predicts: how a Gaussian over 3D points becomes one over image points.

AMVUR has two. Both give the wrist's position and the hand's size in the image, ``(s, tx, ty)``; the perspective one
also has intrinsics of the crop, with their uncertainty, and so a position in space. Image coordinates are normalised:
[-1, 1] from edge to edge of the crop.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.geometry.cameras import project_weak

#: Smallest depth at which a point is projected, metres: a predicted hand may reach behind the camera, where a pinhole
#: has no image, and its loss must be finite and lead it back.
MIN_DEPTH_M = 0.05


class Camera(Protocol):
    """A camera for each image of a batch."""

    @property
    def view(self) -> Tensor:
        """(B, 3) weak perspective at the wrist's depth, ``(s, tx, ty)``.

        Normalised crop units per metre, s > 0, and the wrist's position in the image.
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
    """``uv = s xy + t``: a `Camera` without depth and without uncertainty."""

    view: Tensor
    intrinsics: None = None
    root_cam: None = None

    def rsample(self) -> "WeakPerspectiveCamera":
        """The camera itself."""
        return self

    def project(self, points: Normal) -> Normal:
        """Project Gaussian points; exact, since the projection is linear."""
        return project_weak_gaussian(points, self.view)


@dataclass(frozen=True)
class PerspectiveCamera:
    """A pinhole camera with uncertain intrinsics; the wrist projects onto its predicted position in the image.

    A crop says little about its own intrinsics (how far from the optical axis it was cut, how much it was enlarged),
    but much about the wrist's position and the hand's size in the image. So the translation is not predicted as three
    numbers but follows from the intrinsics: ``z = f / s`` and ``xy = (t - c) z / f``. Another draw of the intrinsics
    moves the hand in space, and changes its image only by perspective.

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
        magnification, wrist_2d = self.view.split((1, 2), dim=1)
        depth = focal.prod(1, keepdim=True).sqrt() / magnification
        return torch.cat([(wrist_2d - centre) * depth / focal, depth], dim=1)

    def project(self, points: Normal) -> Normal:
        """Project Gaussian points: the mean exactly, the scale by the delta method."""
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
    """Intrinsics of a crop in the form of `Camera.intrinsics`.

    Args:
        intrinsics: (B, 3, 3) of the crop, pixels.
        size: Side of the square crop, pixels.

    Returns:
        (B, 4) as ``(log fx, log fy, cx, cy)``: focal lengths and principal point for [-1, 1] over the crop.
    """
    focal = 2 * intrinsics[:, (0, 1), (0, 1)] / size
    centre = (2 * intrinsics[:, :2, 2] + 1) / size - 1
    return torch.cat([focal.log(), centre], dim=1)
