"""What a run was made with is kept, one entry for each start."""

import json
import shlex
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch

from handlit.callbacks.running import run_record
from handlit.version import code_version
from tests.callbacks.conftest import LoggedRun


def test_environment_of_a_run(logged_run: LoggedRun) -> None:
    (entry,) = json.loads((logged_run.folder / "environment.json").read_text())
    assert entry["torch"] == torch.__version__
    assert entry["pytorch-lightning"] == pl.__version__
    assert entry["python"] == ".".join(map(str, sys.version_info[:3]))
    assert entry["code"].split(",")[0] == code_version().split(",")[0]
    assert shlex.split(entry["command"]) == sys.argv
    assert (entry["first_step"], entry["processes"]) == (0, 1)


def test_a_resumed_training_adds_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    for step in (0, 7):
        run_record.add_entry(path, {"first_step": step})
    assert json.loads(path.read_text()) == [{"first_step": 0}, {"first_step": 7}]
    assert list(tmp_path.iterdir()) == [path]
