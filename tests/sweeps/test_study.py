"""Trials are kept in Optuna's journal, and those that fall behind are stopped."""

import itertools
import shutil
from pathlib import Path

import pytest

from handlit.errors import InputError
from handlit.sweeps import load_sweep
from handlit.sweeps.study import SweepStudy
from tests.sweeps.programs import GRID, calls, run_sweep, write_sweep

_CURVES = """
import pathlib, sys, time
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
path = pathlib.Path(given["run_dir"]) / "metrics.csv"
path.write_text("val/error" + chr(10))
for epoch in range(1, 7):
    with path.open("a") as file:
        file.write(f"{float(given['x']) / epoch}{chr(10)}")
    time.sleep(0.3 if given["x"] in ("8.0", "3.0") else 0)
"""


def test_early_termination_keeps_the_best_of_each_rung(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path,
        {"x": {"values": [4.0, 8.0, 2.0, 3.0, 1.0]}},
        early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2},
    )
    (tmp_path / "program.py").write_text(_CURVES)
    sweep = run_sweep(path, 9)
    # after two epochs 8 is the worse of two, of which one is kept, and 3 the second of four, of which two are; after
    # four, 3 is the second of three, of which one is kept
    assert [trial.status for trial in sweep.trials] == ["finished", "stopped", "finished", "stopped", "finished"]
    assert 8 / 6 < (sweep.trials[1].value or 0) <= 8 / 2
    assert 3 / 6 < (sweep.trials[3].value or 0) <= 3 / 4
    assert sweep.best() == sweep.trials[4]


def test_the_point_of_a_removed_folder_runs_again(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"x": {"values": [1, 2, 4]}})
    run_sweep(path, 3)
    shutil.rmtree(tmp_path / "out" / "trials" / "0002")
    again = run_sweep(path, 3)
    assert calls(tmp_path) == ["0001", "0002", "0003", "0004"]
    assert [(trial.number, trial.parameters["x"]) for trial in again.trials] == [(1, 1), (3, 4), (4, 2)]


def test_a_damaged_or_missing_journal_is_named(tmp_path: Path) -> None:
    path, journal = write_sweep(tmp_path, {"x": {"values": [1, 2, 4]}}), tmp_path / "out" / "journal.log"
    run_sweep(path, 2)
    # what a full disk leaves is written again
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:20])
    assert [trial.status for trial in run_sweep(path, 3).trials] == ["finished"] * 3
    for damage in (b"nothing", b"[]", b"3", b'{"op_code": 99, "worker_id": "x"}', b"[" * 100_000):
        journal.write_bytes(damage + b"\n" + whole)
        with pytest.raises(InputError, match=r"journal\.log cannot be read"):
            run_sweep(path, 3)
    journal.unlink()
    with pytest.raises(InputError, match=r"journal\.log is missing"):
        run_sweep(path, 3)


def test_another_sweep_in_the_folder_is_refused(tmp_path: Path) -> None:
    run_sweep(write_sweep(tmp_path, GRID), 1)
    with pytest.raises(InputError, match="another sweep file"):
        run_sweep(write_sweep(tmp_path, {"x": {"values": [1]}}), 1)


def test_of_a_maximised_measure_the_largest_values_are_kept(tmp_path: Path) -> None:
    early = {"type": "hyperband", "min_iter": 1, "eta": 2}
    path = write_sweep(tmp_path, GRID, metric={"name": "gain", "goal": "maximize"}, early_terminate=early)
    (tmp_path / "out" / "trials").mkdir(parents=True)
    study = SweepStudy(load_sweep(path), tmp_path / "out", 0)
    first, second, third = itertools.islice(study.waiting(3), 3)
    assert not study.falls_behind(first, [1.0, 3.0])
    assert not study.falls_behind(second, [2.0])
    assert study.falls_behind(third, [0.5])
    assert study.finish(first, [1.0, 3.0, 2.0], "", stopped=False).value == 3
    assert study.finish(third, [0.5, 0.75], "", stopped=True).value == 0.75
    study.add_seconds(second, 1.5)
    failed = study.finish(second, [], "why", stopped=False)
    assert (failed.status, failed.value, failed.error, failed.seconds) == ("failed", None, "why", 1.5)
