"""The results of a sweep, best first, as a table, in results.csv and as a page."""

import csv
from pathlib import Path

import pytest
from rich.console import Console

from handlit.sweeps import Trial, load_sweep, report_results
from tests.sweeps.programs import GRID, write_sweep


@pytest.mark.parametrize(("goal", "order"), [("minimize", ["2", "1"]), ("maximize", ["1", "2"])])
def test_results_are_ordered_and_written(
    goal: str, order: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = load_sweep(write_sweep(tmp_path, GRID, metric={"name": "gain", "goal": goal}))
    settings = {"x": 1, "y": [1, 2]}
    trials = [
        Trial(1, settings, "finished", 2.0, 12.4),
        Trial(2, settings, "finished", 1.0),
        Trial(3, settings, "stopped", 0.5 if goal == "minimize" else 5.0),
        Trial(4, settings, "failed", error="why"),
    ]
    report_results(sweep, trials, tmp_path, Console(width=100))
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows[:2]] == order
    assert [row["status"] for row in rows[:2]] == ["finished"] * 2
    assert {row["status"] for row in rows[2:]} == {"stopped", "failed"}
    (first,) = (row for row in rows if row["trial"] == "1")
    assert first == {"trial": "1", "gain": "2", "seconds": "12", "status": "finished", "x": "1", "y": "[1, 2]"}
    assert "finished" in capsys.readouterr().out
    assert (tmp_path / "sweep.html").read_text().count("<polyline") == 2
