"""Every notebook runs from top to end, and the site shows what it was saved with."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from handlit.landmarks import model_files
from scripts.docs.links import ROOT
from scripts.docs.notebook_pages import notebook_page
from scripts.docs.notebooks import FOLDER, run

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def names(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_it_runs_from_top_to_end(path: Path) -> None:
    detector = find_spec("ai_edge_litert") is not None and model_files.are_fetched()
    if path.stem == "photographs_to_hands" and not detector:
        pytest.skip("the hand detector is not fetched: python main.py fetch-detector")
    cells = [cell for cell in run(path).cells if cell.cell_type == "code"]
    # it prints or shows something, as the saved one does
    saved = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [bool(cell.outputs) for cell in cells] == [bool(cell["outputs"]) for cell in saved]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_its_page_shows_its_outputs_and_nothing_of_the_machine(path: Path) -> None:
    page, images = notebook_page(path)
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
    assert outputs
    assert page.count("```text\n") + len(images) == len(outputs)
    assert all(f"]({name})" in page for name in images)
    assert all(content[:2] in (b"\xff\xd8", b"<s") for content in images.values())
    text = path.read_text()
    places = [str(ROOT), *(f"/{folder}/" for folder in ("tmp", "home", "root"))]
    assert not [place for place in places if place in text]
    assert len(text) < 200_000
