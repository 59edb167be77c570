"""The turned square of an image that the joint network looks at: from a palm, from known joints, or around a box."""

from dataclasses import dataclass

import cv2
import numpy as np

from handlit.formats.images import enlargement
from handlit.geometry import crops
from handlit.skeleton import FINGERS, JOINTS, WRIST

#: Joints that hardly move in a palm: bases of the fingers, by which a hand is turned upright.
_KNUCKLES = [JOINTS.index(f"{finger}_1") for finger in ("index", "middle", "ring")]
#: Joints of the palm and of the fingers' lower halves.
_STEADY = [WRIST, *(JOINTS.index(f"thumb_{i}") for i in (1, 2, 3))] + [
    JOINTS.index(f"{finger}_{i}") for finger in FINGERS[1:] for i in (1, 2)
]
#: Side of the square, and its way towards the fingers, in longer sides of the palm's box.
PALM_MARGIN, PALM_SHIFT = 2.6, 0.5
#: The same in longer sides of the box of the steady joints; from 1.8 to 2.5, errors on rendered hands hardly differ.
JOINT_MARGIN, JOINT_SHIFT = 2.0, 0.05
#: Sides of the squares for a given box, in its longer sides, and how many turned ones are tried.
BOX_MARGINS, TURNS = (1.3, 1.8), 8


@dataclass(frozen=True)
class Region:
    """A turned square.

    Attributes:
        centre: (2,) pixels of the image.
        side: Pixels of the image.
        angle: Radians from the image's up to the square's, clockwise as the image is seen.
    """

    centre: np.ndarray
    side: float
    angle: float

    def transform(self, size: int) -> np.ndarray:
        """(2, 3) map from pixels of the image to those of the square, which has `size` of them on a side."""
        scale = size / self.side
        across = scale * np.array([np.cos(self.angle), np.sin(self.angle)])
        linear = np.array([across, [-across[1], across[0]]])
        return np.column_stack([linear, (size - 1) / 2 - linear @ self.centre])

    def inverse(self, size: int) -> np.ndarray:
        """(2, 3) map from pixels of the square to those of the image; see `transform`."""
        matrix: np.ndarray = cv2.invertAffineTransform(self.transform(size))
        return matrix


def palm_region(palm: np.ndarray, wrist: np.ndarray, knuckle: np.ndarray) -> Region:
    """The square for a palm that was found: 2.6 of its longer side, half of that side further towards the fingers.

    Args:
        palm: (4,) x0, y0, x1, y1, pixels.
        wrist: (2,) pixels.
        knuckle: (2,) base of the middle finger, pixels; from the wrist to it is up.
    """
    angle = _up(knuckle - wrist)
    side = float(max(palm[2] - palm[0], palm[3] - palm[1]))
    up = np.array([np.sin(angle), -np.cos(angle)])
    return Region((palm[:2] + palm[2:]) / 2 + PALM_SHIFT * side * up, PALM_MARGIN * side, angle)


def joint_region(joints_2d: np.ndarray) -> Region:
    """The square for a hand whose joints (21, 2) are about known, pixels.

    It is twice as large as the box of the joints that hold still when fingers bend, and a little towards the fingers.
    """
    angle = _up(joints_2d[_KNUCKLES].mean(axis=0) - joints_2d[WRIST])
    cos, sin = np.cos(angle), np.sin(angle)
    upright = joints_2d[_STEADY] @ np.array([[cos, -sin], [sin, cos]])
    low, high = upright.min(axis=0), upright.max(axis=0)
    side = max(1.0, float((high - low).max()))
    middle = (low + high) / 2 - [0, JOINT_SHIFT * side]
    return Region(middle @ np.array([[cos, sin], [-sin, cos]]), JOINT_MARGIN * side, angle)


def box_regions(box: np.ndarray) -> list[Region]:
    """Squares to try for a hand of which only a box (4,), x0, y0, x1, y1, is known: turned, and of several sizes."""
    centre, side = (box[:2] + box[2:]) / 2, float(max(box[2] - box[0], box[3] - box[1]))
    angles = np.arange(TURNS) * (2 * np.pi / TURNS)
    return [Region(centre, margin * side, angle) for margin in BOX_MARGINS for angle in angles.tolist()]


def _up(direction: np.ndarray) -> float:
    return float(np.arctan2(direction[0], -direction[1]))


def cut_out(image: np.ndarray, region: Region, size: int) -> np.ndarray:
    """The square's pixels; beyond the image's border its outermost pixels are repeated.

    An image of far more pixels is averaged down first, so that no pixel is passed over.

    Args:
        image: (H, W, 3) uint8.
        region: Where.
        size: Pixels on a side.

    Returns:
        (size, size, 3) uint8.
    """
    transform = region.transform(size)
    shrinkage = int(region.side / size)
    if shrinkage > 1:
        height, width = image.shape[:2]
        # beyond half of the diagonal
        reach = 0.75 * region.side
        low = np.clip(np.floor(region.centre - reach), 0, [width - 1, height - 1]).astype(int)
        # whole steps, whose average takes a third of the time, but where the image ends
        steps = np.ceil((region.centre + reach - low).clip(min=1) / shrinkage)
        high = np.minimum(low + steps * shrinkage, [width, height]).astype(int)
        part = image[low[1] : high[1], low[0] : high[0]]
        small = [max(1, round(side / shrinkage)) for side in (part.shape[1], part.shape[0])]
        image = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        whole = enlargement(part.shape[1] / small[0], part.shape[0] / small[1])
        whole[:, 2] += low
        transform = crops.compose(transform, whole)
    cut: np.ndarray = cv2.warpAffine(
        image, transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cut
