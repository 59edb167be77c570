"""What the detector says of one hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

#: Two detections are one hand if their joints are so near each other on average, in longer sides of the larger box.
SAME_HAND = 0.2
#: Distance of two looks at a joint, in longer sides of the box, that halves its confidence. With it the confidence of a
#: joint is about the share of such joints that lie within 10 % of the box of the truth, on rendered hands.
DOUBT = 0.08
#: Presence from which on a hand is sure. Of 823 photographs of one hand 11 showed a second, small one in a part of it:
#: presence 0.55 to 0.91.
SURE = 0.95


@dataclass(frozen=True, eq=False)
class DetectedHand:
    """A hand that was found in an image.

    Attributes:
        box: (4,) float64 x0, y0, x1, y1, pixels: the extent of the joints, not clipped to the image.
        right: Whether it is a right hand, if the image is not mirrored.
        handedness: Probability in [0, 1] that it is a right hand.
        joints_2d: (21, 2) float64 pixels ``(u, v)`` in handlit's order; (0, 0) is the centre of the top-left pixel.
        confidence: (21,) float64 in [0, 1], how far each joint is trusted; 0: no estimate. The presence, less for
            joints beyond the border of the image or on which several looks at the hand disagree.
        presence: Probability in [0, 1] that there is a hand.
        track: Number of the hand in a stream, the same in every frame; None in a single image.
    """

    box: np.ndarray
    right: bool
    handedness: float
    joints_2d: np.ndarray
    confidence: np.ndarray
    presence: float
    track: int | None = None

    @property
    def size(self) -> float:
        """Longer side of the box, pixels."""
        return longer_side(self.box)

    def is_same_hand(self, other: "DetectedHand") -> bool:
        """Whether two detections in one image, or in images that follow each other, are of one hand."""
        return self.distance(other) <= SAME_HAND

    def distance(self, other: "DetectedHand") -> float:
        """Mean distance of the joints of two detections, in longer sides of the larger box."""
        apart = np.linalg.norm(self.joints_2d - other.joints_2d, axis=1).mean()
        return float(apart / max(self.size, other.size, 1.0))

    def is_part_of(self, other: "DetectedHand") -> bool:
        """Whether this is a part of a surer hand, taken for a small hand: most of its box is in the other's."""
        low, high = np.maximum(self.box[:2], other.box[:2]), np.minimum(self.box[2:], other.box[2:])
        shared, whole = (high - low).clip(min=0).prod(), (self.box[2:] - self.box[:2]).prod()
        return self.presence < min(SURE, other.presence) and bool(shared >= 0.5 * whole)

    def compared(self, looks: "Sequence[DetectedHand]") -> "DetectedHand":
        """This hand after other looks at the same place.

        Its joints are trusted less where the median look says something else, and its side is that of the mean of the
        looks that are of the same hand.
        """
        if not looks:
            return self
        apart = np.median([np.linalg.norm(look.joints_2d - self.joints_2d, axis=1) for look in looks], axis=0)
        doubt = apart / (DOUBT * max(self.size, 1.0))
        same = [self, *(look for look in looks if self.is_same_hand(look))]
        right = float(np.mean([look.handedness for look in same]))
        return replace(self, confidence=self.confidence / (1 + doubt**2), handedness=right, right=right > 0.5)


def extent(joints_2d: np.ndarray) -> np.ndarray:
    """Box (4,) x0, y0, x1, y1 around points (N, 2)."""
    return np.concatenate([joints_2d.min(axis=0), joints_2d.max(axis=0)])


def longer_side(box: np.ndarray) -> float:
    """Of a box (4,), x0, y0, x1, y1."""
    return float(max(box[2] - box[0], box[3] - box[1]))


def distinct(hands: Iterable[DetectedHand], known: Sequence[DetectedHand] = ()) -> list[DetectedHand]:
    """Every hand once: of detections of one hand the first is kept, of a known hand none."""
    kept: list[DetectedHand] = []
    for hand in hands:
        if not any(hand.is_same_hand(other) for other in (*known, *kept)):
            kept.append(hand)
    return kept
