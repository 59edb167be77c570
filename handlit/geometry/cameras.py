"""Pinhole and weak-perspective cameras in OpenCV axes (x right, y down, z forward); pixel (0, 0) is a pixel centre."""

import torch
from torch import Tensor

from handlit.geometry.axes import OPENGL_TO_OPENCV


def flip_opengl(points: Tensor) -> Tensor:
    """Points from OpenGL camera axes to OpenCV camera axes or back: y and z change sign.

    Args:
        points: (..., 3).

    Returns:
        (..., 3).
    """
    return points * points.new_tensor(OPENGL_TO_OPENCV)


def project(points_cam: Tensor, intrinsics: Tensor) -> Tensor:
    """Pinhole projection ``u = fx x / z + cx, v = fy y / z + cy``.

    Args:
        points_cam: (..., N, 3) camera frame, metres, z > 0 for points in front of the camera.
        intrinsics: (..., 3, 3) pixels.

    Returns:
        (..., N, 2) pixels. Points on the camera plane give infinities.
    """
    homogeneous = points_cam @ intrinsics.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def project_weak(points_root: Tensor, camera: Tensor) -> Tensor:
    """Weak-perspective projection ``uv = s * xy + (tx, ty)``.

    Args:
        points_root: (..., N, 3) root-relative, metres.
        camera: (..., 3) as ``(s, tx, ty)``: pixels per metre and the pixel position of the root.

    Returns:
        (..., N, 2) pixels.
    """
    return camera[..., None, :1] * points_root[..., :2] + camera[..., None, 1:]


def fit_root(points_root: Tensor, points_2d: Tensor, intrinsics: Tensor) -> Tensor:
    """Position of the root for which a pinhole camera projects a hand onto its 2D points.

    Least squares over ``fx (x + tx) - (u - cx) (z + tz) = 0`` and the same for v, which is linear in the root
    ``(tx, ty, tz)``. Exact for points that a root projects exactly.

    Args:
        points_root: (..., N, 3) root-relative, metres.
        points_2d: (..., N, 2) pixels.
        intrinsics: (..., 3, 3) of the same image, without skew, pixels.

    Returns:
        (..., 3) camera frame, metres.
    """
    focal = intrinsics[..., None, (0, 1), (0, 1)]
    ray = (points_2d - intrinsics[..., None, :2, 2]) / focal
    one, zero = torch.ones_like(ray[..., :1]), torch.zeros_like(ray[..., :1])
    system = torch.cat(
        [torch.cat([one, zero, -ray[..., :1]], dim=-1), torch.cat([zero, one, -ray[..., 1:]], dim=-1)], dim=-2
    )
    offset = ray * points_root[..., 2:] - points_root[..., :2]
    return torch.linalg.lstsq(system, torch.cat([offset[..., 0], offset[..., 1]], dim=-1)[..., None]).solution[..., 0]


def crop_to_normalised(points_2d: Tensor, size: int) -> Tensor:
    """Crop pixels to [-1, 1] from the crop's left (top) edge to its right (bottom) edge.

    Args:
        points_2d: (..., 2) crop pixels.
        size: Side of the square crop, pixels.

    Returns:
        (..., 2); the centre of the crop is 0.
    """
    return (2 * points_2d + 1) / size - 1


def normalised_to_crop(points: Tensor, size: int) -> Tensor:
    """Inverse of `crop_to_normalised`: [-1, 1] to crop pixels, shapes (..., 2)."""
    return ((points + 1) * size - 1) / 2


def view_to_crop(camera: Tensor, size: int) -> Tensor:
    """A weak-perspective camera for normalised crop coordinates as one for crop pixels.

    Args:
        camera: (..., 3) as ``(s, tx, ty)``, to [-1, 1] over the crop.
        size: Side of the square crop, pixels.

    Returns:
        (..., 3) as `project_weak` takes it, to crop pixels.
    """
    magnification, offset = camera.split((1, 2), dim=-1)
    return torch.cat([magnification * size / 2, normalised_to_crop(offset, size)], dim=-1)


def crop_to_view(camera: Tensor, size: int) -> Tensor:
    """Inverse of `view_to_crop`: from a camera for crop pixels (..., 3) to one for [-1, 1] over the crop."""
    magnification, offset = camera.split((1, 2), dim=-1)
    return torch.cat([magnification * 2 / size, crop_to_normalised(offset, size)], dim=-1)
