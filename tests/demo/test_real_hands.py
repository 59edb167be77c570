"""The shipped photographs with the real detector and the package's own weights, where both are there."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from handlit.formats.images import read_image
from handlit.landmarks import model_files
from handlit.models.lift_weights import SHIPPED
from handlit.reconstruct import ReconstructedHand, Reconstructor
from handlit.skeleton import FINGERS, JOINTS

PHOTOGRAPHS = Path(__file__).parents[2] / "examples" / "real_hands"
#: Fingers that a digit stretches; the others are bent.
STRETCHED = ["", "i", "im", "im", "imrp", "imrp", "imr", "imp", "irp", "mrp"]
#: The finger whose tip the thumb's touches.
TOUCHED = {6: "pinky", 7: "ring", 8: "middle", 9: "index"}

if find_spec("ai_edge_litert") is None or not model_files.are_fetched():
    pytest.skip("the hand detector is not fetched: python main.py fetch-detector", allow_module_level=True)
if not SHIPPED.is_file():
    pytest.skip("the package has no weights of Lift", allow_module_level=True)


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor()


@pytest.mark.parametrize("mirrored", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("digit", range(10))
def test_fingers_of_a_digit_are_stretched_and_bent_as_it_says(
    reconstructor: Reconstructor, digit: int, mirrored: bool
) -> None:
    image = read_image(PHOTOGRAPHS / f"{digit}.jpg")
    (hand,) = reconstructor(np.ascontiguousarray(image[:, ::-1]) if mirrored else image)
    assert hand.right != mirrored
    for finger in FINGERS[1:]:
        assert (bend_deg(hand, finger) < 60) == (finger[0] in STRETCHED[digit]), finger
    if digit in TOUCHED:
        tips = [hand.joints_mm[JOINTS.index(f"{finger}_4")] for finger in ("thumb", TOUCHED[digit])]
        assert np.linalg.norm(tips[0] - tips[1]) < 45
    assert 2 < hand.spread_mm < 60


def bend_deg(hand: ReconstructedHand, finger: str) -> float:
    """The angles at the two outer joints of a finger, together."""
    first = JOINTS.index(f"{finger}_1")
    bones = np.diff(hand.joints_root[first : first + 4], axis=0)
    bones /= np.linalg.norm(bones, axis=1, keepdims=True)
    return float(np.degrees(np.arccos(np.clip((bones[1:] * bones[:-1]).sum(1), -1, 1))).sum())
