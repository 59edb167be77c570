"""Hands of a stream of frames: each is followed from frame to frame and keeps its number."""

from dataclasses import dataclass, replace

import numpy as np

from handlit.errors import check_number
from handlit.landmarks.detector import MINIMUM_PRESENCE, SEARCHES, HandDetector, check_image
from handlit.landmarks.hand import DetectedHand, distinct

#: Weight of a frame in a track's mean handedness.
_HANDEDNESS_WEIGHT = 0.2


@dataclass
class _Track:
    """A hand that is followed: its number, when it was last seen and as what, and for how many frames it is missing."""

    number: int
    hand: DetectedHand
    missing: int = 0

    def see(self, hand: DetectedHand) -> None:
        """Take the hand of a frame; the side is that of the track's mean, which one blurred frame does not turn."""
        mean = self.hand.handedness + _HANDEDNESS_WEIGHT * (hand.handedness - self.hand.handedness)
        self.hand = replace(hand, handedness=mean, right=mean > 0.5, track=self.number)
        self.missing = 0

    def distance(self, hand: DetectedHand) -> float:
        """Of the middles of the boxes, now and when last seen, in longer sides of the larger box."""
        middles = [(each.box[:2] + each.box[2:]) / 2 for each in (self.hand, hand)]
        return float(np.linalg.norm(middles[0] - middles[1])) / max(self.hand.size, hand.size, 1.0)


class HandTracker:
    """Finds and follows the hands of a stream: one call for each frame, in order.

    A hand is looked for where its joints were in the last frame. Palms are looked for while no hand is seen, as long as
    a lost one may come back, and every few frames while there are fewer hands than wanted. The same frames give the
    same hands.

    Args:
        detector: Finds the hands; a new `HandDetector` by default.
        hands: How many are followed at most.
        every: Frames from one search for further hands to the next.
        patience: For how many frames a hand that is not seen keeps its number.

    Raises:
        InputError: As for `HandDetector`; or a number is out of its range.
    """

    def __init__(
        self, detector: HandDetector | None = None, hands: int = 2, every: int = 10, patience: int = 5
    ) -> None:
        check_number("hands", hands, least=1, whole=True)
        check_number("every", every, least=1, whole=True)
        check_number("patience", patience, least=0, whole=True)
        self.detector = detector or HandDetector()
        self.hands = hands
        self.every = every
        self.patience = patience
        self._tracks: list[_Track] = []
        self._numbers = 0
        self._frames = 0
        self._shape: tuple[int, ...] = ()

    def __call__(self, image: np.ndarray) -> list[DetectedHand]:
        """The hands of the next frame, by their numbers.

        Args:
            image: (H, W, 3) uint8 RGB. One of another size begins a new stream; numbers are not used again.

        Raises:
            InputError: It is no image.
        """
        check_image(image)
        if image.shape != self._shape:
            self._tracks, self._frames, self._shape = [], 0, image.shape
        self._follow(image)
        if self._is_search_due():
            seen = [track.hand for track in self._tracks if not track.missing]
            # one search of the whole image in a frame, in turn, is enough but where nothing is known
            thorough = not seen and self._frames % self.every == 0
            searches = SEARCHES[:3] if thorough else [SEARCHES[self._frames % 2]]
            self._take(self.detector.find(image, seen, searches))
        self._tracks = [track for track in self._tracks if track.missing <= self.patience]
        self._frames += 1
        return [track.hand for track in self._tracks if not track.missing]

    def _follow(self, image: np.ndarray) -> None:
        """Look for every hand of the last frame; those not seen, or seen as another one, are missing."""
        seen: list[tuple[_Track, DetectedHand]] = []
        for track in self._tracks:
            hand = None if track.missing else self.detector.follow(image, track.hand)
            if hand and hand.presence >= MINIMUM_PRESENCE:
                seen.append((track, hand))
            else:
                track.missing += 1
        # where two tracks show one hand, it is that of the track that had the shorter way to it
        seen.sort(key=lambda pair: pair[0].distance(pair[1]))
        kept = distinct(hand for _, hand in seen)
        for track, hand in seen:
            if any(hand is each for each in kept):
                track.see(hand)
            else:
                track.missing += 1

    def _is_search_due(self) -> bool:
        missing = sum(track.missing > 0 for track in self._tracks)
        seen = len(self._tracks) - missing
        return seen < self.hands and (seen == 0 or missing > 0 or self._frames % self.every == 0)

    def _take(self, found: list[DetectedHand]) -> None:
        """Give hands that were found to missing tracks near them, the nearest first, then to new tracks."""
        missing = [track for track in self._tracks if track.missing]
        pairs = [
            (track.distance(hand) + (track.hand.right != hand.right), track.number, place)
            for track in missing
            for place, hand in enumerate(found)
        ]
        rest, room = dict(enumerate(found)), self.hands - len(self._tracks) + len(missing)
        by_number = {track.number: track for track in missing}
        for distance, number, place in sorted(pairs):
            if room > 0 and distance <= 1 and number in by_number and place in rest:
                by_number.pop(number).see(rest.pop(place))
                room -= 1
        for hand in list(rest.values())[:room]:
            self._numbers += 1
            self._tracks.append(_Track(self._numbers, replace(hand, track=self._numbers)))
