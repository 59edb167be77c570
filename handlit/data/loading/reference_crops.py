"""Crops as the published codes of AMVUR and MHEntropy make them, to the pixel: their rounding, padding and resampling.

For running released weights and for repeating published numbers. The rules ``amvur`` and ``mhentropy`` are the same
ideas without the defects; nothing else of handlit needs this file.

Both codes know right hands only: the source image of a left hand is mirrored first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from handlit.data.loading.augmentation import Change
from handlit.data.loading.cropping import Crop, View
from handlit.errors import InputError
from handlit.formats.images import decode_sized
from handlit.geometry import crops
from handlit.geometry.crops import CropRule
from handlit.geometry.mirroring import MIRROR

#: Grey that MHEntropy puts beside the image.
GREY = 127


@dataclass(frozen=True)
class _BoxCrop(Crop):
    """A box of whole pixels that is cut out of the image of a right hand, padded outside it, and resized.

    Attributes:
        corners: x0, y0, x1, y1 of the box; x1 and y1 are the first pixels behind it.
        mirrored: The source image is mirrored first.
    """

    corners: tuple[int, int, int, int]
    mirrored: bool

    def cut(self, image: np.ndarray, padding: int) -> np.ndarray:
        """The box out of an image (H, W) or (H, W, C) of the source's size, with a value for what is outside."""
        x0, y0, x1, y1 = self.corners
        height, width = image.shape[:2]
        cut = np.full((y1 - y0, x1 - x0, *image.shape[2:]), padding, dtype=image.dtype)
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if left < right and top < bottom:
            cut[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
        return cut

    def resized(self, cut: np.ndarray, interpolation: int) -> np.ndarray:
        """The box at the crop's size."""
        return cv2.resize(cut, (self.size, self.size), interpolation=interpolation)

    def source(self, data: np.ndarray, name: Path | str) -> np.ndarray:
        """The source image (H, W, 3) uint8 RGB."""
        image = cv2.cvtColor(decode_sized(data, name, self.image_size), cv2.COLOR_BGR2RGB)
        return cv2.flip(image, 1) if self.mirrored else image

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """As `Crop.mask`, by nearest neighbours."""
        large = cv2.resize(mask.view(np.uint8), self.image_size, interpolation=cv2.INTER_NEAREST)
        if self.mirrored:
            large = cv2.flip(large, 1)
        return self.resized(self.cut(large, 0), cv2.INTER_NEAREST) != 0


@dataclass(frozen=True)
class AmvurReferenceCrop(_BoxCrop):
    """AMVUR's crop: a box truncated towards zero, resized in floating point, 2D labels that are whole numbers.

    Its ``intrinsics`` are the published ones, which take the crop for 224/200 times as wide as the image's is: what
    they project lies at 0.893 of its distance from the crop's middle. ``transform`` is the image's.

    Attributes:
        source_intrinsics: (3, 3) of the source image.
        label_transform: (2, 3) map from source pixels to the numbers of which the labels are the whole part, plus 1.
    """

    source_intrinsics: np.ndarray
    label_transform: np.ndarray

    def image(self, data: np.ndarray, name: Path | str) -> np.ndarray:
        """As `Crop.image`; the published code keeps the fractions that are rounded here."""
        cut = self.cut(self.source(data, name), 0).astype(np.float64)
        return np.rint(self.resized(cut, cv2.INTER_LINEAR)).clip(0, 255).astype(np.uint8)

    def project(self, points: np.ndarray) -> np.ndarray:
        """2D labels as published: whole pixels, from 0 to 1 above the exact ones."""
        homogeneous = points @ self.source_intrinsics.T
        return np.trunc(crops.apply(self.label_transform, homogeneous[..., :2] / homogeneous[..., 2:])) + 1


@dataclass(frozen=True)
class MHEntropyReferenceCrop(_BoxCrop):
    """MHEntropy's crop: rounded box, nearest neighbours, grey beside the image, black where a change uncovers it.

    Labels follow the exact box, the image the rounded one.

    Attributes:
        change: (2, 3) augmentation within the crop, from crop pixels to crop pixels; None for none.
    """

    change: np.ndarray | None

    def image(self, data: np.ndarray, name: Path | str) -> np.ndarray:
        """As `Crop.image`."""
        return self._changed(self.resized(self.cut(self.source(data, name), GREY), cv2.INTER_NEAREST))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """As `Crop.mask`."""
        return self._changed(super().mask(mask).astype(np.uint8)) != 0

    def inside(self, points_2d: np.ndarray) -> np.ndarray:
        """As `Crop.inside`, but 4 pixels of a crop of 256 beyond its edges still count."""
        tolerance = 4 * self.size / 256
        within = (points_2d >= -tolerance) & (points_2d <= self.size - 1 + tolerance)
        return within[..., 0] & within[..., 1]

    def _changed(self, image: np.ndarray) -> np.ndarray:
        if self.change is None:
            return image
        return cv2.warpAffine(image, self.change, (self.size, self.size), flags=cv2.INTER_NEAREST)


def amvur_reference(view: View, size: int, change: Change) -> AmvurReferenceCrop:
    """The crop of AMVUR's released code; of the change it knows a shift in source pixels.

    Its replacement of a hand's centre far outside the image is not repeated.

    Raises:
        InputError: The hand's box is not one.
    """
    right = _right_handed(view)
    box = np.array(crops.check_box(right.box))
    centre = (box[:2] + box[2:]) / 2 + change.shift_px
    low = np.maximum(box[:2], 0) - 10
    high = np.minimum(box[2:], right.image_size) + 10
    reach = np.clip(4 * np.maximum(high - centre, centre - low).max(), 50, 640)
    unit = reach / 224  # the published "scale"; 200 of it are the crop's side
    x0, y0 = np.trunc(centre - 100 * unit).astype(int).tolist()
    x1, y1 = np.trunc(centre + 100 * unit).astype(int).tolist()
    zoom = np.array([size / (x1 - x0), size / (y1 - y0)])
    # OpenCV's resize keeps the box's edges; pixel (0, 0) is a centre
    offset = (0.5 - np.array([x0, y0])) * zoom - 0.5
    label_zoom, camera_zoom = size / (200 * unit), size / reach
    return AmvurReferenceCrop(
        image_size=view.image_size,
        size=size,
        transform=_from_source(_affine(zoom, offset), view),
        intrinsics=crops.crop_intrinsics(_affine(camera_zoom, size / 2 - centre * camera_zoom), right.intrinsics),
        scene=MIRROR if view.mirrored else np.eye(3),
        corners=(x0, y0, x1, y1),
        mirrored=view.mirrored,
        source_intrinsics=right.intrinsics,
        label_transform=_affine(label_zoom, size / 2 - centre * label_zoom),
    )


def mhentropy_reference(view: View, size: int, change: Change) -> MHEntropyReferenceCrop:
    """The crop of MHEntropy's published code, with its change as a similarity of the crop about its middle.

    Raises:
        InputError: The hand's box is not one, or too far outside the image.
    """
    right = _right_handed(view)
    centre, half = mhentropy_square(right)
    x0, y0 = np.rint(centre - half).astype(int).tolist()
    x1, y1 = np.rint(centre + half).astype(int).tolist()
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"hand box {view.box.tolist()} lies outside the {view.image_size} image")
    zoom = size / (2 * float(half))
    transform = _affine(zoom, (half - centre) * zoom)
    turn = crops.rotation_about_z(change.angle)
    similarity = None
    if change.scale != 1 or change.angle or change.shift.any():
        rotation = turn[:2, :2] / change.scale
        middle = np.full(2, size / 2)
        similarity = np.column_stack([rotation, middle - rotation @ middle - change.shift * size / change.scale])
        transform = crops.compose(similarity, transform)
    return MHEntropyReferenceCrop(
        image_size=view.image_size,
        size=size,
        transform=_from_source(transform, view),
        # the published labels: pixels follow the similarity, joints are turned, and this camera agrees with both
        intrinsics=crops.crop_intrinsics(transform, right.intrinsics) @ turn.T,
        scene=turn @ MIRROR if view.mirrored else turn,
        corners=(x0, y0, x1, y1),
        mirrored=view.mirrored,
        change=similarity,
    )


def mhentropy_square(view: View) -> tuple[np.ndarray, np.float32]:
    """Centre (2,) and half side of MHEntropy's square, in source pixels and single precision as published.

    Width and height change places where the box is clipped, so a hand at the right of a wide image is cut.
    """
    box = np.array(crops.check_box(view.box), dtype=np.float32)
    low, high = _around_whole_centre(box, 1.5)
    if view.object_box is not None and not np.isnan(view.object_box[0]):
        object_low, object_high = _around_whole_centre(view.object_box.astype(np.float32), 1.0)
        low, high = np.minimum(low, object_low), np.maximum(high, object_high)
    return clipped_square(low, high, view.image_size)


def clipped_square(low: np.ndarray, high: np.ndarray, image_size: tuple[int, int]) -> tuple[np.ndarray, np.float32]:
    """Centre (2,), cut to whole numbers, and half side of the square around a box, clipped the published way."""
    width, height = image_size
    low = np.maximum(low, np.float32(0))
    high = np.minimum(high, np.array([height, width], dtype=np.float32))
    return np.trunc((low + high) / 2), (high - low).max() / 2


def _around_whole_centre(box: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = box[:2], box[2:]
    centre, half = np.trunc((low + high) / 2), (high - low) * np.float32(factor) / 2
    return centre - half, centre + half


def _affine(zoom: np.ndarray | float, offset: np.ndarray) -> np.ndarray:
    """(2, 3) map: zoom along each axis, then an offset (2,)."""
    return np.column_stack([np.diag(np.broadcast_to(zoom, 2)), offset])


def _right_handed(view: View) -> View:
    """The view in a mirrored source image, if the hand is a left one."""
    if not view.mirrored:
        return view
    flip = crops.mirroring(view.image_size[0])
    return replace(
        view,
        intrinsics=crops.crop_intrinsics(flip, view.intrinsics) @ MIRROR,
        box=_flipped(view.box, view),
        object_box=None if view.object_box is None else _flipped(view.object_box, view),
    )


def _flipped(box: np.ndarray, view: View) -> np.ndarray:
    edge = view.image_size[0] - 1
    return np.array([edge - box[2], box[1], edge - box[0], box[3]])


def _from_source(transform: np.ndarray, view: View) -> np.ndarray:
    """The map from the source image itself, of one from a image that is mirrored where the hand is a left one."""
    return crops.compose(transform, crops.mirroring(view.image_size[0])) if view.mirrored else transform


#: The reference rules by their names.
REFERENCE_CROPS: Mapping[CropRule, Callable[[View, int, Change], Crop]] = {
    "amvur_reference": amvur_reference,
    "mhentropy_reference": mhentropy_reference,
}
