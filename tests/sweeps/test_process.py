"""Each trial has an environment of its own, and ends when it must."""

import ast
from pathlib import Path

import pytest

from handlit.errors import InputError
from tests.sweeps.programs import run_sweep, write_sweep

_MEETS = """
import os, pathlib, sys, time
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["run_dir"])
names = "CUDA_VISIBLE_DEVICES", "WANDB_RUN_ID", "WANDB_NAME", "WANDB_BASE_URL"
shown = {name: os.environ.get(name) for name in names}
(folder / "seen").write_text(repr(shown))
end = time.monotonic() + 20
while len(list(folder.parent.glob("*/seen"))) < 2:
    assert time.monotonic() < end
    time.sleep(0.02)
(folder / "metrics.csv").write_text("val/error" + chr(10) + "1" + chr(10))
"""


def test_slots_run_at_once_each_with_its_device_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_RUN_ID", "WANDB_NAME", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, "mine")
    path = write_sweep(tmp_path, {"x": {"values": [1, 2]}})
    (tmp_path / "program.py").write_text(_MEETS)
    sweep = run_sweep(path, 2, [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}])
    assert [trial.status for trial in sweep.trials] == ["finished"] * 2
    seen = [ast.literal_eval((sweep.trial_folder(trial) / "seen").read_text()) for trial in sweep.trials]
    assert [one.pop("CUDA_VISIBLE_DEVICES") for one in seen] == ["3", "5"]
    # a trial has an id and a name of its own, and the user's server
    assert seen == [{"WANDB_RUN_ID": None, "WANDB_NAME": None, "WANDB_BASE_URL": "mine"}] * 2


_STUBBORN = """
import pathlib, signal, subprocess, sys, time
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["run_dir"])
metrics = "val/error" + chr(10) + given["x"] + chr(10)
if given["x"] == "2":
    signal.signal(signal.SIGTERM, lambda *_: (folder / "terminated").touch())
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "metrics.csv").write_text(metrics)
    while True:
        time.sleep(0.05)
        if (folder / "terminated").exists() and not (folder / "worker").exists():
            time.sleep(0.3)
            (folder / "worker").write_text(str(worker.poll()))
(folder / "metrics.csv").write_text(metrics)
"""


def test_a_trial_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlit.sweeps.process.GRACE_SECONDS", 1.5)
    path = write_sweep(tmp_path, {"x": {"values": [1, 2]}}, early_terminate={"type": "hyperband", "min_iter": 1})
    (tmp_path / "program.py").write_text(_STUBBORN)
    sweep = run_sweep(path, 2)
    assert [trial.status for trial in sweep.trials] == ["finished", "stopped"]
    # the trial alone received SIGTERM: its worker was alive until both were killed
    assert (sweep.trial_folder(sweep.trials[1]) / "worker").read_text() == "None"


def test_a_command_that_no_process_can_have_is_named(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"x": {"values": ["a\0b"]}})
    with pytest.raises(InputError, match="the command of trial 1 cannot be started: embedded null"):
        run_sweep(path, 1)
