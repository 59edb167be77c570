import re

import pytest

from scripts.docs.calibration_plots import calibration_figures
from scripts.docs.drawings import FIGURES, FOLDER, drawings, flat_hand

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def test_the_drawn_hand_is_a_right_one_with_its_palm_to_the_viewer() -> None:
    _, joints, _ = flat_hand()
    thumb, middle, pinky = joints[4], joints[12], joints[20]
    # fingers up, the thumb at the viewer's right
    assert middle[1] < -0.1
    assert thumb[0] > 0.02 > 0 > pinky[0]


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return drawings()


def test_the_drawings_of_the_pages_are_those_that_the_command_makes(drawn: dict[str, str]) -> None:
    """To a pixel: other processors round in other ways."""
    assert {path.name for path in FOLDER.glob("*")} == set(drawn)
    for name, text in drawn.items():
        # an outline may have a point more or less
        kept, made = (re.sub(r'<path d="M[^"]{400,}"', "", t) for t in ((FOLDER / name).read_text(), text))
        assert NUMBER.sub("#", kept) == NUMBER.sub("#", made), f"{name}: python -m scripts.docs.drawings"
        pairs = zip(NUMBER.findall(kept), NUMBER.findall(made), strict=True)
        assert all(abs(float(a) - float(b)) <= 1 for a, b in pairs), f"{name}: python -m scripts.docs.drawings"


def test_the_figures_are_those_that_the_command_makes() -> None:
    kept, made = (FIGURES / "calibration.json").read_text(), calibration_figures()
    assert NUMBER.sub("#", kept) == NUMBER.sub("#", made)
    pairs = zip(NUMBER.findall(kept), NUMBER.findall(made), strict=True)
    assert all(float(a) == pytest.approx(float(b), abs=2e-3) for a, b in pairs), "python -m scripts.docs.drawings"
