"""The page of ``compare``: complete, self-contained, escaped, and shown without complaint by a real browser."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlit.scoring.hypotheses.summary import Summary
from handlit.scoring.pages.comparison import render_comparison
from tests.scoring.hypotheses.test_summary import run
from tests.scoring.pages.test_report import _CHECK, _Page, browse

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
    return render_comparison([Summary(run(LABEL)), Summary(replace(second, settings={"data": "<b>&"}))])


def read(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    assert page.open == []
    return page


def test_it_stands_alone_and_is_complete(text: str) -> None:
    page = read(text)
    assert page.references == []
    assert "script" not in page.seen
    assert "b" not in page.seen
    assert "url(" not in text
    assert "@import" not in text
    assert set(re.findall(r"https?://[^\"' <]+", text)) <= {"http://www.w3.org/2000/svg"}
    for title in SECTIONS:
        assert f"<h2>{title}</h2>" in text
    # reliability and risk of 3 splits each, spread of 2 splits in 2 units, 2 bar charts
    assert page.seen.count("svg") == 3 + 3 + 4 + 2
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;&amp;" in text


def test_the_numbers_are_those_of_the_summaries(text: str) -> None:
    summary = Summary(run(LABEL))
    for name in ("crps_mm", "mpjpe_best_of_200_mm", "coverage_90", "published_rd", "ause"):
        measure = summary[name]
        digits = 3 if measure.unit in ("", "px/mm") else 2
        assert f"<td>{measure.values['all']:.{digits}f}" in text


def test_clear_differences_are_marked(text: str) -> None:
    rows = dict(re.findall(r'<tr><td class="text">([^<]+)</td>(.*?)</tr>', text))
    assert rows["CRPS per coordinate"].endswith(" *</td>")
    again = render_comparison([Summary(run("a")), Summary(run("b"))])
    assert " *</td>" not in again


def test_what_is_not_known_is_left_out() -> None:
    table = run()
    columns = {**table.columns, "visible": np.full((40, 21), -1, np.int8)}
    columns |= {name: np.full_like(columns[name], np.nan) for name in columns if name.startswith("published")}
    text = render_comparison([Summary(replace(table, columns=columns))])
    page = read(text)
    assert "Diversity and occlusion" not in text
    # reliability, risk, 2 bar charts
    assert page.seen.count("svg") == 4
    assert "nan" not in text


def test_a_browser_shows_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "comparison.html"
    path.write_text(text.replace("</body>", _CHECK))
    page = browse(path, tmp_path / "profile", "--dump-dom").stdout
    found = re.search(r'<pre id="answer">(.*?)</pre>', page)
    assert found is not None
    answer = json.loads(found.group(1))
    assert answer["images"] == []
    assert answer["loaded"] == []
    assert answer["wide"] <= 0
    assert answer["text"] > 1500
    path.write_text(text)
    screenshot = tmp_path / "page.png"
    log = browse(path, tmp_path / "profile", f"--screenshot={screenshot}").stderr
    assert not [line for line in log.splitlines() if "CONSOLE" in line]
    picture = cv2.imread(str(screenshot))
    for part in np.array_split(picture, 3):
        assert part.std() > 5
