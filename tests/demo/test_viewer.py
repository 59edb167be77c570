"""The page of hands in 3D is whole: it asks for nothing, and a browser draws it."""

import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlit.demo.viewer import MAX_HANDS, write_viewer
from handlit.errors import InputError
from handlit.reconstruct import Reconstructor
from handlit.reconstruct.reconstructor import LiftedHands
from tests.reconstruct.fakes import FakeDetector, FakeLift, detected_hand, picture


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hands") / "hand.npz"
    Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector(detected_hand()))(picture())[0].save(path)
    return path


def test_the_page_asks_for_nothing(numbers: Path, tmp_path: Path) -> None:
    assert write_viewer(tmp_path / "viewer.html", [numbers] * 5) == 5
    text = (tmp_path / "viewer.html").read_text()
    assert not re.findall(r'(?:src|href)\s*=\s*["\']', text.partition("<script>")[0])
    assert "<script src" not in text
    assert "@import" not in text
    assert write_viewer(tmp_path / "many.html", [numbers] * (MAX_HANDS + 3)) == MAX_HANDS
    with pytest.raises(InputError, match="no hand to show"):
        write_viewer(tmp_path / "none.html", [])


def test_a_browser_draws_the_hands(numbers: Path, tmp_path: Path) -> None:
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium): the page was not opened")
    write_viewer(tmp_path / "viewer.html", [numbers] * 4)
    picture_path = tmp_path / "viewer.png"
    flags = (
        "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --hide-scrollbars --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync --enable-logging=stderr "
        f"--user-data-dir={tmp_path / 'profile'} --window-size=600,600 --virtual-time-budget=5000 "
        f"--host-resolver-rules=MAP,*,~NOTFOUND --screenshot={picture_path}"
    )
    command = [binary, *flags.split(), (tmp_path / "viewer.html").as_uri()]
    log = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stderr
    assert not [line for line in log.splitlines() if "CONSOLE" in line and "rror" in line]
    image = cv2.imread(str(picture_path))
    assert image is not None
    hands = image.max(axis=2) < 200
    # four of them in a square, on white
    assert 0.05 < hands.mean() < 0.6
    assert all(part.any() for half in np.array_split(hands, 2) for part in np.array_split(half, 2, axis=1))
