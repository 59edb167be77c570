"""Sweeps whose trials are a small program."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from handlit.sweeps import LocalSweep, Trial, load_sweep

_PROGRAM = """
import pathlib, sys
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["run_dir"])
with open(folder.parent / "calls", "a") as calls:
    calls.write(folder.name + chr(10))
if given["x"] == "3":
    sys.exit("three is refused")
(folder / "metrics.csv").write_text(f"step,val/error{chr(10)}0,9{chr(10)}1,{float(given['x']) ** 2}{chr(10)}")
"""
#: Settings of a grid of six points.
GRID = {"x": {"values": [1, 2]}, "y": {"values": ["a", "b", [1, 2]]}}


def write_sweep(folder: Path, parameters: dict[str, Any], method: str = "grid", **keys: Any) -> Path:
    program = folder / "program.py"
    program.write_text(_PROGRAM)
    content = {
        "method": method,
        "metric": {"name": "val/error", "goal": "minimize"},
        "command": ["${env}", "python", str(program), "${args}"],
        "parameters": parameters,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content | keys, sort_keys=False))
    return path


def run_sweep(path: Path, count: int, slots: Sequence[dict[str, str]] = ({},)) -> LocalSweep:
    search = load_sweep(path)

    def command(trial: Trial, folder: Path) -> list[str]:
        return [*search.expand(trial.parameters, sys.executable), f"--run_dir={folder}"]

    with LocalSweep(search, path.parent / "out", slots, command) as sweep:
        sweep.run(count)
    return sweep


def calls(folder: Path) -> list[str]:
    return (folder / "out" / "trials" / "calls").read_text().split()
