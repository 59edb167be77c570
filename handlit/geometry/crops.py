"""Square crops around a hand: which square, and the affine map from source pixels to crop pixels.

All maps are between pixel *centres* with (0, 0) the centre of the top-left pixel, which is what ``cv2.warpAffine``
takes. They are NumPy arrays: crops are made one sample at a time in the data loader's workers.
"""

import math
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from handlit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")

#: Which square is cropped. The ``..._reference`` rules repeat released code to the pixel, including its rounding.
CropRule = Literal["plain", "whole", "amvur", "mhentropy", "amvur_reference", "mhentropy_reference"]
#: The rules that a square describes in full.
SquareRule = Literal["plain", "whole", "amvur", "mhentropy"]

#: Side of the plain crop relative to the longer side of the hand's box.
PLAIN_MARGIN = 1.5
#: The image shows at least this share of a hand's box.
MIN_SHARE = 0.01
#: Boxes whose numbers are all up to this are in shares of the image's sides, not in pixels.
MAX_NORMALISED = 1.5


def square_crop(
    box: np.ndarray, image_size: tuple[int, int], rule: SquareRule, object_box: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """The square that a method's crop rule puts around a hand, in the source image's pixels.

    - ``plain``: the box's centre, 1.5 times its longer side.
    - ``whole``: the whole image, whatever the box; for images that are crops of a hand already.
    - ``amvur`` (AMVUR's released code): the box clipped to the image, grown by 10 pixels; twice the largest
      distance from the centre, doubled, kept within [50, 640], times 200/224.
    - ``mhentropy`` (MHEntropy's released code): the hand's box grown by 1.5, united with the object's box and clipped
      to the image; its longer side.

    Both published rules are given here without their rounding of centres and corners to whole pixels; with it they are
    in `data.loading.reference_crops`.

    Args:
        box: (4,) x0, y0, x1, y1 around the hand, pixels.
        image_size: Width and height of the source image, pixels.
        rule: Name of the rule.
        object_box: (4,) around the held object, NaN where not known; only ``mhentropy`` uses it.

    Returns:
        The centre (2,) and the side of the square, pixels.

    Raises:
        InputError: The box is empty, not finite, or (where the rule clips it) outside the image; or there is no such
            rule.

    References:
        https://github.com/ZhehengJiangLancaster/AMVUR at commit 991150e;
        https://github.com/GloryyrolG/MHEntropy at commit 2a4c775.
    """
    # plain numbers: arrays of two take ten times as long
    x0, y0, x1, y1 = check_box(box)
    width, height = image_size
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    if rule == "plain":
        return np.array([x, y]), PLAIN_MARGIN * max(x1 - x0, y1 - y0)
    if rule == "whole":
        return np.array([(width - 1) / 2, (height - 1) / 2]), max(width, height)
    if rule == "amvur":
        left, right = x - (max(x0, 0.0) - 10), min(x1, width) + 10 - x
        up, down = y - (max(y0, 0.0) - 10), min(y1, height) + 10 - y
        return np.array([x, y]), min(max(4 * max(left, right, up, down), 50.0), 640.0) * 200 / 224
    if rule != "mhentropy":
        raise InputError(f"there is no rule '{rule}' for a square around a hand")
    half_width, half_height = 1.5 * (x1 - x0) / 2, 1.5 * (y1 - y0) / 2
    x0, y0, x1, y1 = x - half_width, y - half_height, x + half_width, y + half_height
    if object_box is not None and not math.isnan(object_box[0]):
        x0, y0, x1, y1 = *map(min, (x0, y0), object_box[:2].tolist()), *map(max, (x1, y1), object_box[2:].tolist())
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"hand box {box.tolist()} lies outside the {width}x{height} image")
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0)


def check_box(box: np.ndarray) -> list[float]:
    """The numbers x0, y0, x1, y1 of a box that was checked.

    Raises:
        InputError: The box is empty or not finite.
    """
    values: list[float] = box.tolist()
    if len(values) == 4 and all(map(math.isfinite, values)) and values[0] < values[2] and values[1] < values[3]:
        return values
    raise InputError(f"a hand box must be finite x0, y0, x1, y1 with x1 > x0 and y1 > y0, got {values}")


def share_in_image(boxes: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    """Share of the area of boxes (..., 4), x0, y0, x1, y1, that lies in images of these widths and heights (..., 2)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    shown = np.minimum(high, image_sizes) - np.maximum(low, 0)
    shares: np.ndarray = (shown.clip(min=0) / (high - low)).prod(axis=-1)
    return shares


def misses_image(boxes: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    """Whether images show nothing of boxes; arguments as for `share_in_image`, False for what is no box."""
    is_box = (boxes[..., :2] < boxes[..., 2:]).all(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        hidden = share_in_image(boxes, image_sizes) < MIN_SHARE
    misses: np.ndarray = is_box & (hidden | _are_normalised(boxes, image_sizes))
    return misses


def _are_normalised(boxes: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    small: np.ndarray = (np.abs(boxes).max(axis=-1) <= MAX_NORMALISED) & (image_sizes.min(axis=-1) > MAX_NORMALISED)
    return small


def check_in_image(box: np.ndarray, image_size: tuple[int, int]) -> None:
    """Refuse a box (4,) of which the image shows nothing, with the likely cause.

    Args:
        box: x0, y0, x1, y1, pixels, finite, not empty.
        image_size: Width and height, pixels.

    Raises:
        InputError: The box lies beside the image or is many times as large, or its numbers are no pixels.
    """
    size = np.array(image_size)
    if not misses_image(box, size):
        return
    (width, height), (x0, y0, x1, y1) = image_size, box.tolist()
    if _are_normalised(box, size):
        cause = "these are shares of its width and height: multiply by them"
    elif x1 <= 0 or y1 <= 0:
        cause = "pixels count from its top-left corner, to the right and down"
    elif x0 >= 0 and y0 >= 0 and x1 <= height and y1 <= width:
        cause = "it fits the image before it is turned (EXIF): give boxes of the image as viewers show it"
    else:
        cause = "is it of a copy of another size, or x, y, width, height?"
    raise InputError(f"hand box {box.tolist()} lies outside the {width}x{height} image: {cause}")


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
        angle: Radians, from x towards y (clockwise in the image).

    Returns:
        (2, 3) map from source pixels to rotated source pixels.
    """
    return (intrinsics @ rotation_about_z(angle) @ np.linalg.inv(intrinsics))[:2]


def rotation_about_z(angle: float) -> np.ndarray:
    """(3, 3) rotation matrix about the z axis; angle in radians from x towards y."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def inside(points_2d: Array, size: int | tuple[int, int] | Array) -> Array:
    """Which points lie on an image's pixels: from -0.5 to, but not including, the size less 0.5.

    Args:
        points_2d: (..., 2) pixels ``(u, v)``; pixel (0, 0) is the centre of the top-left pixel. NaN is outside.
        size: Side of a square image; or ``(width, height)``, for images of different sizes as an array (..., 2) of the
            points' kind.

    Returns:
        (...) bool, of the points' kind: array or tensor.
    """
    if isinstance(size, int):
        size = (size, size)
    # by coordinate: a size made into a tensor would be sent to the device, which waits for it
    width, height = size if isinstance(size, tuple) else (size[..., 0], size[..., 1])
    u, v = points_2d[..., 0], points_2d[..., 1]
    return (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)


def mirroring(size: int) -> np.ndarray:
    """(2, 3) map that exchanges left and right in an image of this width, pixels."""
    return np.array([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0]])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(2, 3) affine map that applies ``first``, then ``second``; both (2, 3)."""
    composed = second[:, :2] @ first
    composed[:, 2] += second[:, 2]
    return composed


def apply(transform: np.ndarray, points_2d: np.ndarray) -> np.ndarray:
    """Affine map (2, 3) of points (..., 2)."""
    return points_2d @ transform[:, :2].T + transform[:, 2]


def assumed_intrinsics(image_size: tuple[int, int], fov_deg: float) -> np.ndarray:
    """Camera of an image without one: square pixels, and the optical axis in the middle.

    Args:
        image_size: Width and height, pixels.
        fov_deg: Field of view across the longer side, degrees in (0, 180).

    Returns:
        (3, 3) pixels.
    """
    width, height = image_size
    focal = max(width, height) / 2 / math.tan(math.radians(fov_deg) / 2)
    return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])


def crop_intrinsics(transform: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Camera of the crop: projects camera coordinates straight to crop pixels.

    Args:
        transform: (2, 3) source pixels to crop pixels.
        intrinsics: (3, 3) of the source image.

    Returns:
        (3, 3) pixels of the crop.
    """
    return np.concatenate([transform @ intrinsics, intrinsics[2:]])
