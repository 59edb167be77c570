"""Palms in an image: letterbox, network, anchors, suppression of the doubled.

References:
    Bazarevsky and Zhang, "On-Device, Real-Time Hand Tracking with MediaPipe", 2019; the network is that of the package
    ``mediapipe`` (Apache-2.0).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from handlit.formats.images import enlargement
from handlit.geometry import crops
from handlit.landmarks.engine import Engine
from handlit.landmarks.hand import SAME_HAND, DetectedHand
from handlit.skeleton import JOINTS, WRIST

#: Side of the network's input, pixels.
SIZE = 192
#: Palms of an image that are kept, the likeliest: more hands are too small to be seen in it.
MOST_PALMS = 40
#: Cells on a side of each grid of anchors, and anchors of a cell.
GRIDS = ((24, 2), (12, 6))
_KNUCKLE = JOINTS.index("middle_1")


@dataclass(frozen=True)
class Palm:
    """A palm that was found.

    Attributes:
        box: (4,) x0, y0, x1, y1, pixels.
        keypoints: (7, 2) pixels; the first is the wrist, the third the base of the middle finger.
        score: Probability in [0, 1].
    """

    box: np.ndarray
    keypoints: np.ndarray
    score: float

    @property
    def wrist(self) -> np.ndarray:
        """(2,) pixels."""
        return self.keypoints[0]

    @property
    def knuckle(self) -> np.ndarray:
        """Base of the middle finger (2,), pixels."""
        return self.keypoints[2]

    def belongs_to(self, hand: DetectedHand) -> bool:
        """Whether this is the palm of a hand whose joints are known."""
        ends = np.stack([self.wrist, self.knuckle]) - hand.joints_2d[[WRIST, _KNUCKLE]]
        return bool(np.linalg.norm(ends, axis=1).mean() <= SAME_HAND * hand.size)


class PalmDetector:
    """Finds palms.

    Args:
        engine: Network: (192, 192, 3) to boxes (2016, 18) and logits (2016, 1).
        minimum_score: Palms of a lower probability are left out.
        overlap: Intersection over union from which on two boxes are one palm.
    """

    def __init__(self, engine: Engine, minimum_score: float = 0.5, overlap: float = 0.3) -> None:
        self.engine = engine
        self.minimum_score = minimum_score
        self.overlap = overlap

    def __call__(
        self, image: np.ndarray, area: tuple[int, int, int, int] | None = None, margin: float = 0.0
    ) -> list[Palm]:
        """Palms of an image, the likeliest first.

        Args:
            image: (H, W, 3) uint8 RGB.
            area: x0, y0, x1, y1, the part of the image to look at, pixels from edge to edge; all of it by default.
            margin: Repeat the outermost pixels so far around the area, in shares of its longer side: palms of hands
                that fill it are found then.
        """
        x0, y0, x1, y1 = area or (0, 0, image.shape[1], image.shape[0])
        boxed, transform = letterbox(image[y0:y1, x0:x1], margin)
        transform[:, 2] += x0, y0
        numbers, logits = self.engine(boxed.astype(np.float32) / 255)
        scores, points = decode(numbers, logits, self.minimum_score)
        # the network's numbers count from the outer edge of the first pixel, ours from its centre
        return [
            Palm(corners.reshape(4), keypoints, score)
            for score, points in suppress(scores, points, self.overlap)[:MOST_PALMS]
            for corners, keypoints in [np.split(crops.apply(transform, points * SIZE - 0.5), [2])]
        ]


def letterbox(image: np.ndarray, margin: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Shrink or enlarge an image into the middle of the network's black square.

    Args:
        image: (H, W, 3) uint8.
        margin: As for `PalmDetector`.

    Returns:
        (192, 192, 3) uint8, and the map (2, 3) from its pixels to those of the image.
    """
    height, width = image.shape[:2]
    scale = SIZE / (1 + 2 * margin) / max(height, width)
    small = [max(1, round(side * scale)) for side in (width, height)]
    shrinks = scale < 1
    inner = cv2.resize(image, small, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    frame = round(margin * max(small))
    left, top = ((SIZE - side) // 2 for side in small)
    free = (top, SIZE - small[1] - top, left, SIZE - small[0] - left)
    above, below, before, behind = (min(frame, side) for side in free)
    inner = cv2.copyMakeBorder(inner, above, below, before, behind, cv2.BORDER_REPLICATE)
    above, below, before, behind = (side - min(frame, side) for side in free)
    boxed: np.ndarray = cv2.copyMakeBorder(inner, above, below, before, behind, cv2.BORDER_CONSTANT, value=0)
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
    return boxed, crops.compose(enlargement(width / small[0], height / small[1]), shift)


def anchors() -> np.ndarray:
    """Centres (2016, 2) of the cells that the network's boxes belong to, in shares of its input, row by row."""
    parts = []
    for cells, repeats in GRIDS:
        middles = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        parts.append(grid.repeat(repeats, axis=0))
    return np.concatenate(parts)


def decode(numbers: np.ndarray, logits: np.ndarray, minimum_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Palms that the network is sure enough of.

    Args:
        numbers: (2016, 18) of each anchor: centre of the box from the anchor, its size, seven keypoints from the
            anchor; pixels of the network's input.
        logits: (2016, 1).
        minimum_score: Probability.

    Returns:
        Scores (N,) and points (N, 9, 2) in shares of the input: low and high corner of the box, then the keypoints.
        What is not finite is left out.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -100, 100)))
    kept = (scores >= minimum_score) & np.isfinite(numbers).all(axis=1)
    pairs = numbers[kept].astype(np.float64).reshape(-1, 9, 2) / SIZE
    centre, half = pairs[:, 0], np.abs(pairs[:, 1]) / 2
    from_anchor = np.concatenate([np.stack([centre - half, centre + half], axis=1), pairs[:, 2:]], axis=1)
    return scores[kept], from_anchor + anchors()[kept, None]


def suppress(scores: np.ndarray, points: np.ndarray, overlap: float) -> list[tuple[float, np.ndarray]]:
    """One palm for each group of boxes that overlap the likeliest one of them: their average, weighted by score.

    Args:
        scores: (N,).
        points: (N, P, 2); the first two are the corners of the boxes.
        overlap: Least intersection over union.

    Returns:
        Score of the likeliest, and points (P, 2), of each group; the likeliest first.
    """
    order = np.argsort(-scores, kind="stable")
    groups = []
    while len(order):
        best = order[0]
        together = intersection_over_union(points[best, :2].reshape(4), points[order, :2].reshape(-1, 4)) >= overlap
        together[0] = True
        members = order[together]
        groups.append((float(scores[best]), np.average(points[members], axis=0, weights=scores[members])))
        order = order[~together]
    return groups


def intersection_over_union(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Of a box (4,), x0, y0, x1, y1, with each of boxes (N, 4); 0 where both are empty."""
    shared = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = shared.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.divide(both, areas - both, out=np.zeros(len(boxes)), where=areas > both)
