"""The command of all benchmarks: its small form runs each of them and writes what was measured."""

import importlib
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from scripts.benchmarks import measure
from scripts.benchmarks.__main__ import BENCHMARKS, main

T = TypeVar("T")


def in_this_process(function: Callable[..., T], *arguments: object) -> T:
    """In place of `measure.alone`: what would travel to another process does, but none starts and imports PyTorch."""
    function, arguments = pickle.loads(pickle.dumps((function, arguments)))
    return function(*arguments)


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__main__", "hypotheses", "inference", "steps"):
        monkeypatch.setattr(importlib.import_module(f"scripts.benchmarks.{name}"), "alone", in_this_process)
    # what benchmarks set for their own process
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


@pytest.mark.usefixtures("no_processes")
def test_smoke_runs_every_benchmark_and_writes_figures(tmp_path: Path) -> None:
    main(["--smoke", "--threads", "1", "--out", str(tmp_path)])
    written = json.loads((tmp_path / "benchmarks.json").read_text())
    assert list(written["benchmarks"]) == list(BENCHMARKS)
    assert written["machine"]["torch"] == torch.__version__
    page = (tmp_path / "benchmarks.md").read_text()
    for name, measured in written["benchmarks"].items():
        assert measured["figures"], name
        assert f"## {name}" in page
        for figure in measured["figures"]:
            assert math.isfinite(figure["value"]), figure
            assert figure["value"] > 0, figure
            assert f"| {figure['name']} |" in page
    named = {figure["name"] for figure in written["benchmarks"]["amvur_step"]["figures"]}
    assert "handlit, batch 2, times the reference's speed" in named


# in real processes
def test_a_benchmark_that_fails_is_named_after_the_others_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "rasterizer", "--size nothing")
    with pytest.raises(SystemExit, match="failed: rasterizer"):
        main(["--smoke", "--only", "rasterizer", "hand_layer", "--threads", "1", "--out", str(tmp_path)])
    assert list(json.loads((tmp_path / "benchmarks.json").read_text())["benchmarks"]) == ["hand_layer"]


def test_contestants_take_turns_and_the_first_rounds_do_not_count() -> None:
    order: list[str] = []
    contestants = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = measure.in_turns(contestants, 2, torch.device("cpu"), warm_up=1)
    assert order == list("ababab")
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    assert measure.ratio({"a": [2.0, 9.0, 6.0], "b": [1.0, 3.0, 3.0]}, "a", "b") == 2.0
