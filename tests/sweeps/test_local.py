"""Trials run, fail, are interrupted and resumed."""

import fcntl
import signal
from pathlib import Path

import pytest

from handlit.errors import InputError
from tests.processes import server
from tests.sweeps.programs import GRID, calls, run_sweep, write_sweep


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, GRID)
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run_sweep(path, 1)


_PREEMPTED = """
import pathlib, sys
folder = pathlib.Path(sys.argv[-1].removeprefix("--run_dir="))
if not (folder / "checkpoint").exists():
    (folder / "checkpoint").touch()
    sys.exit(75)
(folder / "metrics.csv").write_text("val/error" + chr(10) + "1" + chr(10))
"""


def test_a_preempted_trial_is_no_failure_and_is_resumed(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"x": {"values": [1, 2, 3, 4]}})
    (tmp_path / "program.py").write_text(_PREEMPTED)
    assert [trial.status for trial in run_sweep(path, 4).trials] == ["running"] * 4
    assert [trial.status for trial in run_sweep(path, 4).trials] == ["finished"] * 4


def test_a_failed_trial_is_recorded_and_the_sweep_continues(tmp_path: Path) -> None:
    sweep = run_sweep(write_sweep(tmp_path, {"x": {"values": [2, 3, 1]}}), 9)
    assert [(trial.status, trial.value) for trial in sweep.trials] == [
        ("finished", 4),
        ("failed", None),
        ("finished", 1),
    ]
    assert sweep.trials[1].error == "three is refused"
    assert sweep.best() == sweep.trials[2]


def test_failures_in_a_row_end_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="three is refused"):
        run_sweep(write_sweep(tmp_path, {"x": {"value": 3}, "y": {"values": list(range(9))}}), 9)
    assert len(calls(tmp_path)) == 3


_KILLED = """
import os, pathlib, signal, sys
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["run_dir"])
with open(folder.parent / "calls", "a") as calls:
    calls.write(f"{folder.name} {given['x']}{chr(10)}")
if folder.name == "0002" and not (folder / "checkpoint").exists():
    (folder / "checkpoint").touch()
    os.kill(os.getppid(), signal.SIGKILL)
(folder / "metrics.csv").write_text(f"val/error{chr(10)}{given['x']}{chr(10)}")
"""


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_a_killed_sweep_is_resumed(tmp_path: Path, method: str) -> None:
    """The second trial kills the sweep, and runs again in its folder with the same settings."""
    path = write_sweep(tmp_path, {"x": {"values": [1, 2, 4]}, "y": {"min": 0, "max": 3}}, method)
    (tmp_path / "program.py").write_text(_KILLED)
    killed = server().Process(target=run_sweep, args=(path, 2))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    # its trial holds the lock until it ends, too
    with (tmp_path / "out" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    again = run_sweep(path, 3)
    lines = (tmp_path / "out" / "trials" / "calls").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0001", "0002", "0002", "0003"]
    assert lines[1] == lines[2]
    assert [trial.status for trial in again.trials] == ["finished"] * 3
    assert [str(trial.parameters["x"]) for trial in again.trials] == [
        line.split()[1] for line in (lines[0], *lines[2:])
    ]
