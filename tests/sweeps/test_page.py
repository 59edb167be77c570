"""The page of a sweep."""

import sys
from pathlib import Path

from handlit.sweeps import Trial, load_sweep, render_sweep
from tests.scoring.pages.reading import check_page
from tests.sweeps.programs import GRID, write_sweep


def test_the_page_shows_each_finished_trial(tmp_path: Path) -> None:
    sweep = load_sweep(write_sweep(tmp_path, GRID))
    points = [sweep.settings(point) for point in sweep.grid()]
    trials = [Trial(number, point, "finished", 10.0 - number) for number, point in enumerate(points, start=1)]
    html = render_sweep(sweep, [*trials, Trial(7, trials[0].parameters, "failed")])
    check_page(html)
    assert html.count("<polyline") == 6
    assert "trial 7:" not in html
    for trial in trials:
        assert f"<title>trial {trial.number}: val/error {trial.value:.4g};" in html
    assert sys.executable not in html
