"""Figures that are typed into pages and come from a file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts.docs import figures
from scripts.docs.figures import MARK, PAGES, quickstart_figures, read_figures, retyped, wrong_figures
from scripts.docs.links import ROOT

FILES = {"a.json": {"b": {"c": 0.886, "d": 12.06}, "e": -0.25}}
RIGHT = "**.89<!-- a.json b.c -->**, 12.1 mm<!-- a.json b.d -->, 0.89 / 12<!-- a.json b.d -->, -.2<!-- a.json e -->"


def test_a_figure_that_differs_is_found() -> None:
    assert not list(wrong_figures(RIGHT, FILES))
    assert len(list(wrong_figures(RIGHT.replace(".89<", ".88<"), FILES))) == 1
    assert len(list(wrong_figures(RIGHT.replace("12.1", "12.0"), FILES))) == 1
    assert len(list(wrong_figures(RIGHT.replace("-.2", ".2"), FILES))) == 1


def test_figures_are_typed_anew_with_the_digits_that_they_had() -> None:
    wrong = RIGHT.replace(".89<", ".11<").replace("12.1", "1.9").replace("12<", "7<").replace("-.2", ".1")
    assert retyped(wrong, FILES) == RIGHT
    assert retyped("no mark 3.1", FILES) == "no mark 3.1"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_typed_figures_are_those_of_their_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not list(wrong_figures(text, read_figures())), "python -m scripts.docs.figures"
    # a mark that is spelt wrong would check nothing
    assert len(MARK.findall(text)) == len(re.findall(r"<!-- \w+\.json ", text))


def prediction(label: str, error: float) -> dict[str, Any]:
    headline = {"pa_mpjpe_mm": {"value": error, "interval": [0, 1]}, "f_al_score_5": {"value": error / 100}}
    return {"label": label, "headline": headline, "card": {"code_version": f"handlit {label}"}}


def test_the_quickstarts_figures_are_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"amvur": 8.0, "mean_hand": 32.0, "zero prediction": 50.0}
    scores = {"num_images": 3, "predictions": [prediction(*item) for item in labels.items()]}
    made = quickstart_figures(scores)
    assert (made["images"], made["made_by"]) == (3, "handlit amvur")
    assert made["mean_hand"] == {"pa_mpjpe_mm": 32.0, "f_al_score_5": 0.32}
    assert made["zero_prediction"]["pa_mpjpe_mm"] == 50.0
    assert made["ratio"]["pa_mpjpe_mm"] == 0.25

    page = tmp_path / "README.md"
    page.write_text("9.99 mm<!-- quickstart.json amvur.pa_mpjpe_mm -->\n")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "scores.json").write_text(json.dumps(scores))
    for name, value in {"FOLDER": tmp_path, "ROOT": tmp_path, "PAGES": (page,)}.items():
        monkeypatch.setattr(figures, name, value)
    figures.main(["--quickstart", str(tmp_path)])
    assert page.read_text().startswith("8.00 mm<")
