"""The page of ``compare``: complete, self-contained, escaped, and shown without complaint by a real browser."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handlit.scoring.hypotheses.summary import Summary, summary_table
from handlit.scoring.pages.comparison import render_comparison
from tests.scoring.hypotheses.test_summary import run
from tests.scoring.pages.reading import browse, check_page

LABEL = "<script>alert(1)</script>&\"'"
SECTIONS = (
    "All numbers",
    "Reliability",
    "Risk and coverage",
    "Diversity and occlusion",
    "Joint by joint",
    "What the numbers are of",
)


@pytest.fixture(scope="module")
def text() -> str:
    second = run("second", factor=1.3, seed=1)
    second = replace(second, columns={**second.columns, "visible": run().columns["visible"]})
    return render_comparison([Summary(run(LABEL)), Summary(replace(second, settings={"data": "settings of <x>&"}))])


def test_it_stands_alone_and_is_complete(text: str) -> None:
    page = check_page(text)
    assert "settings of <x>&" in page.shown
    for title in SECTIONS:
        assert f"<h2>{title}</h2>" in text
    # reliability and risk of 3 splits each, spread of 2 splits in 2 units, 2 bar charts
    assert page.tags.count("svg") == 3 + 3 + 4 + 2
    assert LABEL in page.shown


def test_the_numbers_are_those_of_the_summaries(text: str) -> None:
    summary = Summary(run(LABEL))
    for row in summary_table(summary).rows:
        assert f">{row.value(0)}</td>" in text


def test_clear_differences_are_marked(text: str) -> None:
    rows = dict(re.findall(r"<tr[^>]*><td [^>]*>([^<]+) <span.*?</td>(.*?)</tr>", text, re.DOTALL))
    assert rows["CRPS per coordinate"].rstrip().endswith(" *</td>")
    again = render_comparison([Summary(run("a")), Summary(run("b"))])
    assert " *</td>" not in again


def test_what_is_not_known_is_left_out() -> None:
    table = run()
    columns = {**table.columns, "visible": np.full((40, 21), -1, np.int8)}
    columns |= {name: np.full_like(columns[name], np.nan) for name in columns if name.startswith("published")}
    text = render_comparison([Summary(replace(table, columns=columns))])
    page = check_page(text)
    assert "Diversity and occlusion" not in text
    # reliability, risk, 2 bar charts
    assert page.tags.count("svg") == 4


def test_a_browser_shows_it(text: str, tmp_path: Path) -> None:
    browsed = browse(text, tmp_path)
    assert browsed.images == []
    assert len(browsed.words) > 1500
