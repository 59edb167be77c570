import numpy as np

from handlit.render.figures import BACKGROUND
from scripts.docs.gallery import CELL, FOLDER, PICTURES, postures
from scripts.docs.links import ROOT


def test_the_gallery_shows_every_picture_that_the_command_makes() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text()
    names = {f"{make.__name__}.jpg" for make in PICTURES}
    assert {path.name for path in FOLDER.iterdir()} == names
    assert all(f"(images/gallery/{name})" in page for name in names)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


def test_every_cell_of_the_postures_holds_a_hand() -> None:
    sheet = postures()
    for row in range(2):
        for column in range(5):
            top, left = 28 + row * (CELL + 4), column * (CELL + 4)
            cell = sheet[top : top + CELL, left : left + CELL]
            assert 0.1 < np.any(cell != BACKGROUND, axis=-1).mean() < 0.9
