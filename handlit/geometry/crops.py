"""Square crops around a hand: which square, and the affine map from source pixels to crop pixels.

All maps are between pixel *centres* with (0, 0) the centre of the top-left pixel, which is what ``cv2.warpAffine``
takes. They are NumPy arrays: crops are made one sample at a time in the data loader's workers.
"""

from typing import Literal

import numpy as np

CropRule = Literal["plain", "amvur", "mhentropy"]

#: Side of the plain crop relative to the longer side of the hand's box.
PLAIN_MARGIN = 1.5


def square_crop(
    box: np.ndarray, image_size: tuple[int, int], rule: CropRule, object_box: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """The square that a method's crop rule puts around a hand, in the source image's pixels.

    - ``plain``: the box's centre, 1.5 times its longer side.
    - ``amvur`` (AMVUR, CVPR 2023, released code): the box clipped to the image, grown by 10 pixels; twice the largest
      distance from the centre, doubled, kept within [50, 640], times 200/224.
    - ``mhentropy`` (MHEntropy, ICCV 2023): the hand's box grown by 1.5, united with the object's box and clipped to
      the image; its longer side.

    Both published rules are given here without their rounding of centres and corners to whole pixels.

    Args:
        box: (4,) x0, y0, x1, y1 around the hand, pixels.
        image_size: Width and height of the source image, pixels.
        rule: Name of the rule.
        object_box: (4,) around the held object; only ``mhentropy`` looks at it.

    Returns:
        The centre (2,) and the side of the square, pixels.

    Raises:
        ValueError: The box is empty, not finite, or (where the rule clips it) outside the image.
    """
    box = np.asarray(box, dtype=np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        raise ValueError(f"a hand box must be finite x0, y0, x1, y1 with x1 > x0 and y1 > y0, got {box.tolist()}")
    low, high = box[:2], box[2:]
    centre = (low + high) / 2
    size = np.asarray(image_size, dtype=np.float64)
    if rule == "plain":
        return centre, PLAIN_MARGIN * float((high - low).max())
    if rule == "amvur":
        low = np.maximum(low, 0) - 10
        high = np.minimum(high, size) + 10
        reach = float(np.maximum(high - centre, centre - low).max())
        return centre, float(np.clip(4 * reach, 50, 640)) * 200 / 224
    half = 1.5 * (high - low) / 2
    low, high = centre - half, centre + half
    if object_box is not None:
        low, high = np.minimum(low, object_box[:2]), np.maximum(high, object_box[2:])
    low, high = np.maximum(low, 0), np.minimum(high, size)
    if (high <= low).any():
        raise ValueError(f"hand box {box.tolist()} lies outside the {image_size[0]}x{image_size[1]} image")
    return (low + high) / 2, float((high - low).max())


def crop_transform(centre: np.ndarray, side: float, crop_size: int) -> np.ndarray:
    """Affine map that brings a square of the source image to a crop.

    Args:
        centre: (2,) centre of the square, source pixels.
        side: Side of the square, source pixels.
        crop_size: Side of the crop, pixels.

    Returns:
        (2, 3) map from source pixels to crop pixels.
    """
    scale = crop_size / side
    offset = (crop_size - 1) / 2 - scale * np.asarray(centre, dtype=np.float64)
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])


def image_rotation(intrinsics: np.ndarray, angle: float) -> np.ndarray:
    """Affine map of the image that a rotation of the scene about the camera's optical axis causes.

    Rotating every 3D point by ``Rz(angle)`` moves its projection by exactly ``K Rz K^-1``, an affine map: so image,
    2D and 3D labels turn together without error.

    Args:
        intrinsics: (3, 3) pixels.
        angle: Radians, from x towards y (clockwise in the picture).

    Returns:
        (2, 3) map from source pixels to rotated source pixels.
    """
    return (intrinsics @ rotation_about_z(angle) @ np.linalg.inv(intrinsics))[:2]


def rotation_about_z(angle: float) -> np.ndarray:
    """(3, 3) rotation matrix about the z axis; angle in radians from x towards y."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(2, 3) affine map that applies ``first``, then ``second``; both (2, 3)."""
    return second @ np.vstack([first, [0.0, 0.0, 1.0]])


def apply(transform: np.ndarray, points_2d: np.ndarray) -> np.ndarray:
    """Affine map (2, 3) of points (..., 2)."""
    return points_2d @ transform[:, :2].T + transform[:, 2]


def crop_intrinsics(transform: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Camera of the crop: projects camera coordinates straight to crop pixels.

    Args:
        transform: (2, 3) source pixels to crop pixels.
        intrinsics: (3, 3) of the source image.

    Returns:
        (3, 3) pixels of the crop.
    """
    return np.vstack([transform, [0.0, 0.0, 1.0]]) @ intrinsics
