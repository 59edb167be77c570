"""The two cameras of AMVUR's released code, with its own propagation of log-variances.

Image coordinates are in each camera's own unit: [-1, 1] over the crop for the orthographic camera, [0, 1] for the
perspective one. Points are absolute (not wrist-relative), metres.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from handlit.geometry.cameras import normalised_to_crop, view_to_crop

#: Side of the released code's crops, pixels, by which it divides in places where the result should have no unit.
CROP_SIZE = 224
#: Unit of the predicted intrinsics, in sides of the crop.
INTRINSICS_UNIT = 2.0


class ReferenceCamera(ABC):
    """A camera for each image of a batch."""

    @abstractmethod
    def project(self, points: Tensor) -> Tensor:
        """Points (B, N, 3) to image coordinates (B, N, 2) in the camera's unit."""

    @abstractmethod
    def log_variance(self, points: Tensor, log_variance: Tensor) -> Tensor:
        """What the released code calls the log-variance of projected points, (B, N, 2).

        Args:
            points: (B, N, 3).
            log_variance: (B, N, 3) of their coordinates.
        """

    def prior_log_variance(self, points: Tensor, log_variance: Tensor) -> Tensor:
        """The same for the points of the hand-model prior."""
        return self.log_variance(points, log_variance)

    @abstractmethod
    def texture_points(self, points: Tensor) -> Tensor:
        """Positions (B, N, 2) at which the texture features of points (B, N, 3) are sampled."""

    @abstractmethod
    def to_crop(self, points_2d: Tensor, size: int) -> Tensor:
        """Image coordinates (B, N, 2) in the camera's unit to crop pixels."""

    @abstractmethod
    def view(self, wrist: Tensor, size: int) -> Tensor:
        """Weak-perspective camera at the wrist, as `HandPrediction.camera`.

        Args:
            wrist: (B, 3).
            size: Side of the square crop, pixels.
        """


@dataclass(frozen=True)
class ReferenceOrthographicCamera(ReferenceCamera):
    """``|s| (xy + t)``.

    Attributes:
        values: (B, 3) as ``(s, tx, ty)``; the sign of s does not matter.
        variance_values: (B, 3), a second camera, which projects the prior's log-variances as if they were points.
    """

    values: Tensor
    variance_values: Tensor

    def project(self, points: Tensor) -> Tensor:
        """To [-1, 1] over the crop."""
        return _orthographic(points, self.values)

    def log_variance(self, points: Tensor, log_variance: Tensor) -> Tensor:
        """``log s^2`` plus that of x and y."""
        return self.values[:, None, :1].square().log() + log_variance[..., :2]

    def prior_log_variance(self, points: Tensor, log_variance: Tensor) -> Tensor:
        """The log-variances projected like points, by the second camera."""
        return _orthographic(log_variance, self.variance_values)

    def texture_points(self, points: Tensor) -> Tensor:
        """Pixels of the released crop, from 0 at its edge."""
        return (self.project(points) + 1) * (CROP_SIZE / 2)

    def to_crop(self, points_2d: Tensor, size: int) -> Tensor:
        """From [-1, 1] over the crop."""
        return normalised_to_crop(points_2d, size)

    def view(self, wrist: Tensor, size: int) -> Tensor:
        """The camera itself, with the wrist at the origin."""
        magnification = self.values[:, :1].abs()
        wrist_2d = self.project(wrist[:, None])[:, 0]
        return view_to_crop(torch.cat([magnification, wrist_2d], dim=1), size)


@dataclass(frozen=True)
class ReferencePerspectiveCamera(ReferenceCamera):
    """A pinhole whose intrinsics of the crop are predicted.

    Attributes:
        mean: (B, 4) of ``(fx, cx, fy, cy)`` in twice the crop's side.
        log_variance_of_mean: (B, 4) their log-variance.
        amplitude: (B, 1) learned factor of the noise that they are drawn with.
        drawn: (B, 4) the intrinsics that 2D joints are projected with.
    """

    mean: Tensor
    log_variance_of_mean: Tensor
    amplitude: Tensor
    drawn: Tensor

    def project(self, points: Tensor) -> Tensor:
        """To [0, 1] over the crop, with the drawn intrinsics."""
        return _perspective(points, self.drawn)

    def log_variance(self, points: Tensor, log_variance: Tensor) -> Tensor:
        """The released ratio formula: x and y in the place of the projected numerators, and the logarithm over 224."""
        focal, centre = (CROP_SIZE * INTRINSICS_UNIT * part[:, None] for part in _focal_and_centre(self.drawn))
        variance = log_variance.exp()
        depth, depth_variance = points[..., 2:], variance[..., 2:]
        numerator = focal.square() * variance[..., :2] + centre.square() * depth_variance
        across = points[..., :2].square()
        ratio = across / depth.square() * (numerator / across + depth_variance / depth.square())
        return ratio.log() / CROP_SIZE

    def texture_points(self, points: Tensor) -> Tensor:
        """[0, 1] over the crop, with the mean intrinsics."""
        return _perspective(points, self.mean)

    def to_crop(self, points_2d: Tensor, size: int) -> Tensor:
        """From [0, 1] over the crop."""
        return normalised_to_crop(2 * points_2d - 1, size)

    def view(self, wrist: Tensor, size: int) -> Tensor:
        """The weak perspective of the drawn intrinsics at the wrist's depth."""
        focal, _ = _focal_and_centre(self.drawn)
        magnification = 2 * INTRINSICS_UNIT * focal.prod(1, keepdim=True).sqrt() / wrist[:, 2:]
        wrist_2d = 2 * self.project(wrist[:, None])[:, 0] - 1
        return view_to_crop(torch.cat([magnification, wrist_2d], dim=1), size)


def _orthographic(points: Tensor, values: Tensor) -> Tensor:
    magnification, offset = values[:, None].split((1, 2), dim=-1)
    return magnification.abs() * (points[..., :2] + offset)


def _perspective(points: Tensor, intrinsics: Tensor) -> Tensor:
    focal, centre = _focal_and_centre(intrinsics)
    return INTRINSICS_UNIT * (focal[:, None] * points[..., :2] / points[..., 2:] + centre[:, None])


def _focal_and_centre(intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Focal lengths and principal point, both (B, 2), of (B, 4) interleaved intrinsics."""
    return intrinsics[:, 0::2], intrinsics[:, 1::2]
