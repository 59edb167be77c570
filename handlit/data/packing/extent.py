"""How far crops reach around a hand under random changes: the part of an image that a packed dataset keeps."""

import math
from dataclasses import dataclass

import numpy as np

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.cropping import Crop, View
from handlit.geometry import crops

#: Of a Gaussian shift of 5 pixels, the published change of AMVUR: 6 standard deviations.
AMVUR_SHIFT = 30.0
#: Source pixels kept around the crop, on top of a hundredth of its side: what bilinear sampling looks at, which
#: is more where an image with a large hand is decoded at a half or a quarter.
PADDING = 2
#: The kept part begins and ends at multiples of this, so that it lies on whole pixels of masks that have a half, a
#: quarter or an eighth of the resolution.
ALIGNMENT = 8


@dataclass(frozen=True)
class CropExtent:
    """How far a crop can reach from its unchanged centre, along either axis.

    Attributes:
        sides: Relative to the unchanged square's side; 0.5 without change.
        pixels: Source pixels, on top.
    """

    sides: float = 0.5
    pixels: float = 0.0

    def covers(self, other: "CropExtent") -> bool:
        """Whether the other reaches no further."""
        return other.sides <= self.sides and other.pixels <= self.pixels


def crop_extent(augmentation: Augmentation | None) -> CropExtent:
    """The bound on all changes that can be drawn."""
    if augmentation is None:
        return CropExtent()
    if augmentation.published == "amvur":
        return CropExtent(pixels=AMVUR_SHIFT)
    if augmentation.published == "mhentropy":
        # an image scaled down to 0.8, turned by any angle and shifted by 40 of 256 pixels
        return CropExtent(sides=math.sqrt(2) * (0.5 + 40 / 256) / 0.8)
    angle = math.radians(min(augmentation.rotation_deg, 45.0))
    turned = math.cos(angle) + math.sin(angle)
    return CropExtent(sides=turned * (0.5 * (1 + augmentation.scale) + augmentation.translation))


def kept_region(view: View, rule: crops.SquareRule, extent: CropExtent) -> tuple[int, int, int, int]:
    """The part of an image that crops can show.

    Args:
        view: Of one frame.
        rule: Of the crops.
        extent: Bound on their changes.

    Returns:
        x0, y0, x1, y1 in source pixels, x1 and y1 the first behind it; at least one aligned block.

    Raises:
        InputError: The hand's box cannot be cropped.
    """
    centre, side = crops.square_crop(view.box, view.image_size, rule, view.object_box)
    # a turn of the scene stretches the image where pixels are not square
    focal = view.intrinsics[0, 0], view.intrinsics[1, 1]
    half = (extent.sides * side + extent.pixels) * max(focal) / min(focal) + PADDING + side / 100
    x0, x1 = _aligned(centre[0] - half, centre[0] + half, view.image_size[0])
    y0, y1 = _aligned(centre[1] - half, centre[1] + half, view.image_size[1])
    return x0, y0, x1, y1


def _aligned(low: float, high: float, size: int) -> tuple[int, int]:
    """The aligned interval around one, within 0 to size."""
    last = (size - 1) // ALIGNMENT
    first = min(max(math.floor(low / ALIGNMENT), 0), last)
    behind = min(max(math.ceil(high / ALIGNMENT), first + 1), last + 1)
    return first * ALIGNMENT, min(behind * ALIGNMENT, size)


def shows_beyond(crop: Crop, region: tuple[int, int, int, int]) -> bool:
    """Whether a crop shows pixels of its image that are not in a region x0, y0, x1, y1."""
    x0, y0, x1, y1 = region
    width, height = crop.image_size
    (a, b, tx), (c, d, ty) = crop.transform.tolist()
    # plain numbers: this is done for every sample
    determinant, last = a * d - b * c, crop.size - 1
    corners = [(u - tx, v - ty) for u in (0, last) for v in (0, last)]
    xs = [(d * u - b * v) / determinant for u, v in corners]
    ys = [(a * v - c * u) / determinant for u, v in corners]
    return (
        (x0 > 0 and min(xs) < x0)
        or (y0 > 0 and min(ys) < y0)
        or (x1 < width and max(xs) > x1 - 1)
        or (y1 < height and max(ys) > y1 - 1)
    )


def part_of_image(crop: Crop, region: tuple[int, int, int, int]) -> tuple[tuple[int, int], np.ndarray]:
    """Size of a part of an image, and the map (2, 3) from its pixels to a crop of the whole image."""
    x0, y0, x1, y1 = region
    shift = np.array([[1.0, 0.0, x0], [0.0, 1.0, y0]])
    return (x1 - x0, y1 - y0), crops.compose(crop.transform, shift)
