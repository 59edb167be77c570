"""Hands of a single image: where they are by palms or by given boxes, then their joints."""

from collections.abc import Sequence

import numpy as np

from handlit.errors import InputError, check_number
from handlit.geometry.crops import check_box, check_in_image
from handlit.landmarks import engine, model_files
from handlit.landmarks.hand import SAME_HAND, SURE, DetectedHand, distinct
from handlit.landmarks.joint_network import JointNetwork
from handlit.landmarks.palms import PalmDetector
from handlit.landmarks.regions import box_regions, joint_region, palm_region
from handlit.skeleton import NUM_JOINTS

#: Least presence of a hand.
MINIMUM_PRESENCE = 0.5
#: Where palms are looked for, one after the other: in how many overlapping parts of the image on a side, for hands too
#: small to be seen in the whole, and with which margin, for hands that fill it (`PalmDetector`).
SEARCHES = ((1, 0.0), (1, 0.5), (2, 0.0), (3, 0.0))
#: Side of a part, in sides of the image divided by the number of parts.
OVERLAP = 1.2
#: Size of a hand, in longer sides of what is looked at, from which on palms are hardly overlooked.
WELL_SEEN = 0.3
#: Regions of a given box that are looked at a second time.
SECOND_LOOKS = 8


class HandDetector:
    """Finds the hands of an image, one image at a time.

    Args:
        threads: CPU threads of a network.
        engines: Palm network and joint network in place of the fetched ones.

    Raises:
        InputError: The networks are not fetched or damaged, their engine is not installed, or `threads` is no number.
    """

    def __init__(self, threads: int = 1, engines: Sequence[engine.Engine] | None = None) -> None:
        check_number("threads", threads, least=1, whole=True)
        palms, joints = engines or [
            engine.load(content, threads) for content in map(model_files.read, model_files.MODEL_FILES)
        ]
        self.palms = PalmDetector(palms)
        self.joints = JointNetwork(joints)

    def __call__(self, image: np.ndarray, boxes: np.ndarray | None = None) -> list[DetectedHand]:
        """The hands of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (N, 4) x0, y0, x1, y1 of the hands, pixels, where these are known.

        Returns:
            Without boxes the hands that were found, the likeliest first. With boxes one hand for each, in their order;
            where no hand was seen its presence is low.

        Raises:
            InputError: The image or a box is none, or a box lies outside of the image.
        """
        check_image(image)
        if boxes is None:
            return self.find(image)
        boxes = np.asarray(boxes, np.float64)
        if boxes.ndim != 2:
            raise InputError(f"boxes must be an array of shape (N, 4), got {boxes.shape}")
        height, width = image.shape[:2]
        for box in boxes:
            check_box(box)
            check_in_image(box, (width, height))
        return [self._in_box(image, box) for box in boxes]

    def find(
        self, image: np.ndarray, known: Sequence[DetectedHand] = (), searches: Sequence[tuple[int, float]] = SEARCHES
    ) -> list[DetectedHand]:
        """The hands of an image by its palms, the likeliest first.

        A search is the last one if it leaves hands that are sure and so large that no other of their size was
        overlooked.

        Args:
            image: (H, W, 3) uint8 RGB.
            known: Hands of the image that are not to be found again.
            searches: As `SEARCHES`.
        """
        hands: list[DetectedHand] = []
        sure: list[DetectedHand] = []
        for parts, margin in searches:
            hands += self._search(image, parts, margin, [*known, *sure])
            sure = [hand for hand in hands if hand.presence >= SURE]
            side = max(image.shape[:2]) * (OVERLAP / parts if parts > 1 else 1)
            if sure and min(hand.size for hand in sure) >= WELL_SEEN * side:
                break
        found = distinct(sorted(hands, key=lambda hand: -hand.presence), known)
        return [hand for hand in found if not any(hand.is_part_of(other) for other in (*known, *found))]

    def _search(
        self, image: np.ndarray, parts: int, margin: float, known: Sequence[DetectedHand]
    ) -> list[DetectedHand]:
        hands: list[DetectedHand] = []
        for area in areas(image.shape[1], image.shape[0], parts):
            for palm in self.palms(image, area, margin):
                if any(palm.belongs_to(hand) for hand in (*known, *hands)):
                    continue
                first = self.joints(image, palm_region(palm.box, palm.wrist, palm.knuckle))
                hand = first and self.follow(image, first)
                if first and hand and hand.presence >= MINIMUM_PRESENCE:
                    hands.append(hand.compared([first]))
        return hands

    def follow(self, image: np.ndarray, hand: DetectedHand) -> DetectedHand | None:
        """The hand where it was seen before, in this image or the last one; None where the network gives no numbers."""
        return self.joints(image, joint_region(hand.joints_2d))

    def _in_box(self, image: np.ndarray, box: np.ndarray) -> DetectedHand:
        """The hand on which most looks agree that begin with turned and scaled squares around a box (4,).

        The look of the highest presence alone is wrong more often: among many, one is sure by chance.
        """
        looks = [hand for region in box_regions(box) if (hand := self.joints(image, region))]
        likely = sorted(looks, key=lambda hand: -hand.presence)[:SECOND_LOOKS]
        again = [hand for look in likely if (hand := self.follow(image, look))]
        if not again:
            return no_hand(box)
        support = [
            sum(look.presence * max(0.0, 1 - hand.distance(look) / SAME_HAND) for look in again) for hand in again
        ]
        best = again[int(np.argmax(support))]
        return best.compared([look for look in again if look is not best])


def areas(width: int, height: int, parts: int) -> list[tuple[int, int, int, int]]:
    """Overlapping parts of an image, `parts` on a side: x0, y0, x1, y1 of each, pixels from edge to edge."""
    spans = []
    for side in (width, height):
        length = side if parts == 1 else max(1, round(OVERLAP * side / parts))
        starts = np.linspace(0, side - length, parts).round().astype(int).tolist()
        spans.append([(start, start + length) for start in starts])
    return [(x0, y0, x1, y1) for y0, y1 in spans[1] for x0, x1 in spans[0]]


def no_hand(box: np.ndarray) -> DetectedHand:
    """Stands for a given box (4,) of which nothing is known: presence and confidence 0, the joints in its middle."""
    middle = np.tile((box[:2] + box[2:]) / 2, (NUM_JOINTS, 1))
    return DetectedHand(box, True, 0.5, middle, np.zeros(NUM_JOINTS), 0.0)


def check_image(image: np.ndarray) -> None:
    """Refuse what is no image.

    Raises:
        InputError: It is not (H, W, 3) uint8.
    """
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(f"hands are found in RGB images, arrays of uint8 and shape (height, width, 3), got {found}")
