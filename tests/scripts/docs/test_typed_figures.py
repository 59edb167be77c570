"""Figures that are typed into pages and come from a file: ``.89<!-- calibration.json honest.coverage_90 -->``.

The mark names the file in docs/figures and the place in it; the figure must be that number, rounded as it is typed.
"""

import json
import re
from decimal import Decimal
from functools import reduce
from typing import Any

import pytest

from scripts.docs.links import ROOT

MARK = re.compile(r"(?P<figure>[-\d.]+)[^<\n\d]*<!-- (?P<file>\w+\.json) (?P<key>[\w.]+) -->")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def wrong_figures(text: str, files: dict[str, Any]) -> list[str]:
    """The marked figures of a text that differ from their file."""
    wrong = []
    for match in MARK.finditer(text):
        value = reduce(lambda part, key: part[key], match["key"].split("."), files[match["file"]])
        typed = Decimal(match["figure"])
        if typed != Decimal(repr(value)).quantize(typed):
            wrong.append(f"{match['figure']} is typed, {match['file']} {match['key']} is {value}")
    return wrong


def test_a_figure_that_differs_is_found() -> None:
    files = {"a.json": {"b": {"c": 0.886, "d": 12.06}}}
    right = ".89<!-- a.json b.c -->, 12.1 mm<!-- a.json b.d -->"
    assert not wrong_figures(right, files)
    assert len(wrong_figures(right.replace("89", "88"), files)) == 1
    assert len(wrong_figures(right.replace("12.1", "12.0"), files)) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_typed_figures_are_those_of_their_files(page: Any) -> None:
    files = {path.name: json.loads(path.read_text()) for path in (ROOT / "docs" / "figures").glob("*.json")}
    text = page.read_text(encoding="utf-8")
    assert not wrong_figures(text, files)
    # a mark that is spelt wrong would check nothing
    assert len(MARK.findall(text)) == len(re.findall(r"<!-- \w+\.json ", text))
