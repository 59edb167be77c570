"""Boxes of hands that a user gives, for hands that the detector does not find by itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handlit.errors import InputError
from handlit.geometry.crops import check_box, check_in_image
from handlit.landmarks import DetectedHand
from handlit.reading import read_json, shown

_EXAMPLE = '{"image.jpg": [{"box": [x0, y0, x1, y1], "hand": "right"}]}'


@dataclass(frozen=True)
class GivenHand:
    """Where a hand is.

    Attributes:
        box: (4,) x0, y0, x1, y1, pixels.
        right: Which hand it is; None where the detector decides.
    """

    box: np.ndarray
    right: bool | None


def read_boxes(path: Path) -> dict[str, list[GivenHand]]:
    """The hands of images by their names, from a list like that of own data (docs/how_to/own_data.md).

    Of a hand ``box`` is needed, ``hand`` is taken where it is there, and everything else is left.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no such list.
    """
    images = read_json(path, f"a list such as {_EXAMPLE}")
    if not isinstance(images, dict) or not all(isinstance(hands, list) for hands in images.values()):
        raise InputError(f"{path} must map names of images to their hands, as in {_EXAMPLE}")
    return {
        name: [_given(hand, f"{path}: {shown(name, 200)}, hand {number}") for number, hand in enumerate(hands)]
        for name, hands in images.items()
    }


def find_given(
    detector: Callable[[np.ndarray, np.ndarray | None], list[DetectedHand]],
    image: np.ndarray,
    hands: Sequence[GivenHand],
) -> list[DetectedHand]:
    """The hands of an image (H, W, 3) in their boxes, as the detector sees them.

    Raises:
        InputError: A box lies outside the image.
    """
    for hand in hands:
        check_in_image(hand.box, (image.shape[1], image.shape[0]))
    boxes = np.array([hand.box for hand in hands]).reshape(-1, 4)
    found = detector(image, boxes)
    return [
        seen if hand.right is None else replace(seen, right=hand.right) for hand, seen in zip(hands, found, strict=True)
    ]


def _given(hand: Any, where: str) -> GivenHand:
    box = hand.get("box") if isinstance(hand, dict) else None
    side = hand.get("hand") if isinstance(hand, dict) else None
    if side not in (None, "right", "left"):
        raise InputError(f"{where}: 'hand' must be 'right' or 'left', got {shown(side)}")
    try:
        return GivenHand(np.array(check_box(np.asarray(box, np.float64))), None if side is None else side == "right")
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{where}: 'box' must be x0, y0, x1, y1 in pixels, got {shown(box)}") from error
