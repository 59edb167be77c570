"""The crop of one frame: the maps that its image, masks and labels all follow."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from handlit.data.loading.augmentation import Change
from handlit.errors import InputError
from handlit.formats.images import enlargement, warp_to_crop
from handlit.geometry import crops
from handlit.geometry.mirroring import MIRROR


@dataclass(frozen=True)
class View:
    """What a crop is chosen from.

    Attributes:
        image_size: Width and height of the source image, pixels.
        intrinsics: (3, 3) of the source image, pixels.
        box: (4,) x0, y0, x1, y1 around the hand, source pixels.
        object_box: (4,) around the held object, if known.
        mirrored: The hand is a left one.
    """

    image_size: tuple[int, int]
    intrinsics: np.ndarray
    box: np.ndarray
    object_box: np.ndarray | None = None
    mirrored: bool = False


@dataclass(frozen=True)
class Crop:
    """A crop, and how source images, masks and points come into it.

    Attributes:
        image_size: Width and height of the source image, pixels.
        size: Side of the crop, pixels.
        transform: (2, 3) map from source pixels to crop pixels.
        intrinsics: (3, 3) projects the sample's camera coordinates to crop pixels.
        scene: (3, 3) camera coordinates of the source to those of the sample: a turn about the optical axis, and
            mirrored for a left hand.
    """

    image_size: tuple[int, int]
    size: int
    transform: np.ndarray
    intrinsics: np.ndarray
    scene: np.ndarray

    def image(self, data: np.ndarray, name: Path | str) -> np.ndarray:
        """Decode the content of an image file and crop it.

        Args:
            data: (N,) uint8, content of the file.
            name: Of the file, for messages.

        Returns:
            (size, size, 3) uint8 RGB.

        Raises:
            InputError: The file is damaged or of another size than the labels.
        """
        return warp_to_crop(data, name, self.image_size, self.transform, self.size)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Crop a mask.

        Args:
            mask: (h, w) bool, of the source image, at any resolution.

        Returns:
            (size, size) bool; False outside the image.
        """
        height, width = mask.shape
        to_source = enlargement(self.image_size[0] / width, self.image_size[1] / height)
        transform = crops.compose(self.transform, to_source)
        warped = cv2.warpAffine(mask.view(np.uint8), transform, (self.size, self.size), flags=cv2.INTER_NEAREST)
        return warped != 0

    def project(self, points: np.ndarray) -> np.ndarray:
        """2D labels, crop pixels (..., 2), of points (..., 3) in the sample's camera coordinates."""
        homogeneous = points @ self.intrinsics.T
        return homogeneous[..., :2] / homogeneous[..., 2:]

    def inside(self, points_2d: np.ndarray) -> np.ndarray:
        """Which points (..., 2) in crop pixels count as inside the crop: (...) bool."""
        return crops.inside(points_2d, self.size)


def place_crop(rule: crops.SquareRule, view: View, size: int, change: Change) -> Crop:
    """Crop by a rule, with a random change.

    The change is a similarity of the scene about the optical axis and another square, so the sample's camera,
    2D and 3D labels agree to rounding, and the image is warped once.

    Args:
        rule: Which square.
        view: Of one frame.
        size: Side of the crop, pixels.
        change: Random change, or `NO_CHANGE`.

    Raises:
        InputError: The hand's box cannot be cropped.
    """
    centre, side = crops.square_crop(view.box, view.image_size, rule, view.object_box)
    centre = centre + change.shift_px
    scene = crops.rotation_about_z(change.angle)
    turn = None
    if change.angle:
        turn = crops.image_rotation(view.intrinsics, change.angle)
        centre = crops.apply(turn, centre)
    # crop pixels <- turned source pixels <- source pixels; the turned scene is what the labels describe
    transform = crops.crop_transform(centre + change.shift * side, side * change.scale, size)
    intrinsics = crops.crop_intrinsics(transform, view.intrinsics)
    if turn is not None:
        transform = crops.compose(transform, turn)
    if view.mirrored:
        flip = crops.mirroring(size)
        transform = crops.compose(flip, transform)
        intrinsics = crops.crop_intrinsics(flip, intrinsics) @ MIRROR
        scene = MIRROR @ scene
    return Crop(view.image_size, size, transform, intrinsics, scene)


def check_mask(mask: np.ndarray, image_size: tuple[int, int], name: Path | str) -> None:
    """Refuse a mask that is not of the shape of its image.

    Raises:
        InputError: It is no plane of bools, or its sides are not in the image's proportion.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise InputError(f"mask {name}: expected a plane of bools, got {mask.shape} of {mask.dtype}")
    height, width = mask.shape
    if width * image_size[1] != height * image_size[0]:
        raise InputError(
            f"mask {name} is {width}x{height}, which is not in proportion to its image of "
            f"{image_size[0]}x{image_size[1]}: is it the mask of another dataset?"
        )
