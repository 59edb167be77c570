"""Sweep files are read as W&B means them, and trials run, fail, stop and go on, with a small program as the trial."""

import ast
import datetime
import itertools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from optuna.samplers import RandomSampler
from scipy.stats import chisquare, kstest, lognorm, norm

from handlit.errors import InputError
from handlit.sweeps import LocalSweep, Trial, load_sweep, render_sweep
from tests.scoring.pages.reading import check_page

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
_GRID = {"x": {"values": [1, 2]}, "y": {"values": ["a", "b", [1, 2]]}}


def write(folder: Path, parameters: dict[str, Any], method: str = "grid", **keys: Any) -> Path:
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


def run(path: Path, count: int, slots: Sequence[dict[str, str]] = ({},)) -> LocalSweep:
    with LocalSweep(load_sweep(path), path.parent / "out", slots, lambda folder: [f"--run_dir={folder}"]) as sweep:
        sweep.run(count)
    return sweep


def calls(folder: Path) -> list[str]:
    return (folder / "out" / "trials" / "calls").read_text().split()


def test_grid_is_every_combination(tmp_path: Path) -> None:
    parameters = {**_GRID, "z": {"value": 0.5}, "n": {"min": 1, "max": 3}}
    points = [tuple(point.values()) for point in load_sweep(write(tmp_path, parameters)).grid()]
    assert points == list(itertools.product([1, 2], ["a", "b", [1, 2]], [0.5], [1, 2, 3]))


def draws(folder: Path, parameter: dict[str, Any]) -> list[Any]:
    found = load_sweep(write(folder, {"x": parameter}, "random")).space["x"]
    return [
        found.value(RandomSampler(seed).sample_independent(None, None, "x", found.distribution)) for seed in range(400)
    ]


@pytest.mark.parametrize(
    ("parameter", "quantile"),
    [
        ({"min": 2.0, "max": 6.0}, lambda x: (x - 2) / 4),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2}, lambda x: (np.log10(x) + 5) / 3),
        ({"distribution": "normal"}, norm.cdf),
        ({"distribution": "normal", "mu": 3, "sigma": 0.5}, norm(3, 0.5).cdf),
        ({"distribution": "log_normal", "mu": -2.0, "sigma": 0.7}, lognorm(0.7, scale=np.exp(-2)).cdf),
    ],
)
def test_draws_are_distributed_as_stated(tmp_path: Path, parameter: dict[str, Any], quantile: Any) -> None:
    drawn = np.array(draws(tmp_path, parameter))
    assert parameter.get("min", -np.inf) <= drawn.min()
    assert drawn.max() <= parameter.get("max", np.inf)
    assert kstest(quantile(drawn), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("parameter", "shares"),
    [
        ({"values": ["a", [1, 2], None], "probabilities": [0.5, 0.3, 0.2]}, {"a": 0.5, "[1, 2]": 0.3, "None": 0.2}),
        ({"distribution": "q_uniform", "min": 0, "max": 4, "q": 2}, {"0": 1 / 3, "2": 1 / 3, "4": 1 / 3}),
        (
            {"distribution": "q_log_uniform_values", "min": 1.0, "max": 3.0},
            {str(k): np.log(min(k + 0.5, 3) / max(k - 0.5, 1)) / np.log(3) for k in (1, 2, 3)},
        ),
        (
            {"distribution": "q_normal", "sigma": 0.5},
            {str(k): norm.cdf(2 * k + 1) - norm.cdf(2 * k - 1) for k in range(-2, 3)},
        ),
    ],
)
def test_shares_of_discrete_draws(tmp_path: Path, parameter: dict[str, Any], shares: dict[str, float]) -> None:
    drawn = [f"{value:g}" if isinstance(value, float) else str(value) for value in draws(tmp_path, parameter)]
    counts = [drawn.count(name) for name in shares]
    assert sum(counts) == len(drawn)
    expected = np.array(list(shares.values()))
    assert chisquare(counts, len(drawn) * expected / expected.sum()).pvalue > 1e-3


def test_nested_parameters_have_names_with_dots(tmp_path: Path) -> None:
    nested = {
        "a": {"parameters": {"b": {"value": 1}, "c": {"parameters": {"d": {"values": [2, 3]}}}}},
        "e": {"value": 4},
    }
    points = list(load_sweep(write(tmp_path, nested)).grid())
    assert points == [{"a.b": 1, "a.c.d": 2, "e": 4}, {"a.b": 1, "a.c.d": 3, "e": 4}]


@pytest.mark.parametrize(
    ("parameters", "keys", "message"),
    [
        ({"x": {"values": []}}, {}, "not empty"),
        ({}, {}, "parameters is empty"),
        ({"x": {"min": 0.0, "max": 1.0}}, {}, "no grid"),
        ({"x": {"distribution": "beta", "min": 0, "max": 1}}, {}, "beta is not supported"),
        ({"x": {"min": "1e-4", "max": 1.0}}, {"method": "random"}, "must be a number"),
        ({"x": {"min": 2.0, "max": 1.0}}, {"method": "random"}, "less than max"),
        ({"x": {"distribution": "normal"}}, {}, "no grid"),
        ({"x": {"distribution": "normal", "sigma": 0}}, {"method": "random"}, "sigma must be positive"),
        ({"x": {"values": [1, 2], "probabilities": [0.5]}}, {"method": "random"}, "one number of 0 or more for each"),
        ({"x": {"parameters": {"y": 3}}}, {}, "x.y must have value"),
        (_GRID, {"metod": "grid"}, "metod"),
        (_GRID, {"early_terminate": {"type": "median"}}, "takes type hyperband"),
        (_GRID, {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1}}, "eta is 1; expected"),
        (_GRID, {"method": "genetic"}, "genetic"),
        (_GRID, {"metric": {"goal": "minimize"}}, "metric needs a name"),
        (_GRID, {"metric": {"name": "val/error", "goal": "maximize"}}, "less of val/error is better"),
        ({"x": {"values": [1, datetime.date(2024, 1, 2)]}}, {}, "2024-01-02 is no value"),
        ({"x": {"values": [1, {2: float("nan")}]}}, {}, "is no value"),
        ({"x": {"distribution": ["normal"]}}, {}, "is not supported"),
        ({"x": {"distribution": "log_normal", "mu": 1000}}, {"method": "random"}, "too large"),
        ({"x": {"min": 0, "max": 10**400}}, {"method": "random"}, "must be a number"),
        ({"x": {"min": 0, "max": 10**9}}, {}, "no grid"),
        ({"x": {"value": 1, 2: 3}}, {}, "takes"),
        ({"x.y": {"value": 1}, "x": {"parameters": {"y": {"value": 2}}}}, {}, "there twice"),
        (_GRID, {"early_terminate": {"type": "hyperband", "min_iter": float("inf")}}, "min_iter is inf"),
        (_GRID, {"early_terminate": {"type": "hyperband", "min_iter": float("nan")}}, "min_iter is nan"),
        (_GRID, {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1e30}}, "eta is 1e"),
        (_GRID, {"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": 1}}, "strict"),
        (_GRID, {"run_cap": 0}, "run_cap"),
        (_GRID, {"entity": 3}, "entity must be a text"),
        (_GRID, {"command": None}, "program is missing"),
        (_GRID, {"command": ["python", "x.py", "${args_json}"]}, "args_json} in command is not supported"),
    ],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, parameters: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_sweep(write(tmp_path, parameters, **keys))


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_sweep(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no YAML"):
        load_sweep(tmp_path / "x.yaml")


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, _GRID)
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(path, 1)


def test_the_command_that_wandb_takes_without_one(tmp_path: Path) -> None:
    more: dict[str, Any] = {"command": None, "program": "train.py", "entity": "me", "run_cap": 3}
    sweep = load_sweep(write(tmp_path, {"x": {"values": [1, 2]}}, **more))
    assert sweep.expand({"x": 2}, "PYTHON") == ["PYTHON", "train.py", "--x=2"]
    assert (sweep.run_cap, sweep.texts["entity"]) == (3, "me")


def test_whole_steps_give_whole_numbers_and_weighted_values_are_all_known(tmp_path: Path) -> None:
    whole = {"x": {"distribution": "q_uniform", "min": 0, "max": 6, "q": 3}}
    assert [repr(point["x"]) for point in load_sweep(write(tmp_path, whole)).grid()] == ["0", "3", "6"]
    assert {type(value) for value in draws(tmp_path, whole["x"])} == {int}
    weighted = {"x": {"values": [1, "wrong", 2], "probabilities": [0.5, 0.2, 0.3]}}
    assert load_sweep(write(tmp_path, weighted, "random")).space["x"].extremes() == [1, "wrong", 2]


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
    path = write(tmp_path, {"x": {"values": [1, 2]}})
    (tmp_path / "program.py").write_text(_MEETS)
    sweep = run(path, 2, [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}])
    assert [trial.status for trial in sweep.trials] == ["finished"] * 2
    seen = [ast.literal_eval((sweep.trial_folder(trial) / "seen").read_text()) for trial in sweep.trials]
    assert [one.pop("CUDA_VISIBLE_DEVICES") for one in seen] == ["3", "5"]
    # a trial has an id and a name of its own, and the user's server
    assert seen == [{"WANDB_RUN_ID": None, "WANDB_NAME": None, "WANDB_BASE_URL": "mine"}] * 2


_PREEMPTED = """
import pathlib, sys
folder = pathlib.Path(sys.argv[-1].removeprefix("--run_dir="))
if not (folder / "checkpoint").exists():
    (folder / "checkpoint").touch()
    sys.exit(75)
(folder / "metrics.csv").write_text("val/error" + chr(10) + "1" + chr(10))
"""


def test_a_preempted_trial_is_no_failure_and_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, {"x": {"values": [1, 2, 3, 4]}})
    (tmp_path / "program.py").write_text(_PREEMPTED)
    assert [trial.status for trial in run(path, 4).trials] == ["running"] * 4
    assert [trial.status for trial in run(path, 4).trials] == ["finished"] * 4


_STUBBORN = """
import pathlib, signal, subprocess, sys, time
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(given["run_dir"])
metrics = "val/error" + chr(10) + given["x"] + chr(10)
if given["x"] == "2":
    signal.signal(signal.SIGTERM, lambda *_: (folder / "told").touch())
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "metrics.csv").write_text(metrics)
    while True:
        time.sleep(0.05)
        if (folder / "told").exists() and not (folder / "worker").exists():
            time.sleep(0.3)
            (folder / "worker").write_text(str(worker.poll()))
(folder / "metrics.csv").write_text(metrics)
"""


def test_a_trial_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlit.sweeps.process.GRACE_SECONDS", 1.5)
    path = write(tmp_path, {"x": {"values": [1, 2]}}, early_terminate={"type": "hyperband", "min_iter": 1})
    (tmp_path / "program.py").write_text(_STUBBORN)
    sweep = run(path, 2)
    assert [trial.status for trial in sweep.trials] == ["finished", "stopped"]
    # the trial alone was told: its worker was alive until both were killed
    assert (sweep.trial_folder(sweep.trials[1]) / "worker").read_text() == "None"


def test_a_failed_trial_is_recorded_and_the_sweep_goes_on(tmp_path: Path) -> None:
    sweep = run(write(tmp_path, {"x": {"values": [2, 3, 1]}}), 9)
    assert [(trial.status, trial.value) for trial in sweep.trials] == [
        ("finished", 4),
        ("failed", None),
        ("finished", 1),
    ]
    assert sweep.trials[1].error == "three is refused"
    assert sweep.best() is sweep.trials[2]


def test_failures_in_a_row_end_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="three is refused"):
        run(write(tmp_path, {"x": {"value": 3}, "y": {"values": list(range(9))}}), 9)
    assert len(calls(tmp_path)) == 3


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_a_killed_sweep_goes_on(tmp_path: Path, method: str) -> None:
    path = write(tmp_path, {"x": {"values": [1, 2, 4]}}, method)
    first = run(path, 2)
    # as a kill leaves it: the second trial was running
    second = first.trials[1]
    Trial(2, second.parameters, drawn=second.drawn).save(first.trial_folder(second))
    checkpoint = first.trial_folder(second) / "checkpoint"
    checkpoint.touch()
    again = run(path, 3)
    assert checkpoint.exists()
    assert calls(tmp_path) == ["0001", "0002", "0002", "0003"]
    assert [trial.status for trial in again.trials] == ["finished"] * 3
    assert again.trials[1].parameters == second.parameters


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
    path = write(
        tmp_path,
        {"x": {"values": [4.0, 8.0, 2.0, 3.0, 1.0]}},
        early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2},
    )
    (tmp_path / "program.py").write_text(_CURVES)
    sweep = run(path, 9)
    # 8 is the worse of two, of which one is kept, and 3 the second of four, of which two are
    assert [trial.status for trial in sweep.trials] == ["finished", "stopped", "finished", "finished", "finished"]
    assert 8 / 6 < (sweep.trials[1].value or 0) <= 8 / 2
    assert sweep.best() is sweep.trials[4]


@pytest.mark.parametrize(
    ("given", "rungs"),
    [
        ({"min_iter": 5, "eta": 3}, (5, 15, 45)),
        ({"max_iter": 27, "s": 2}, (3, 9)),
        ({"max_iter": 27, "s": 9}, (1, 3, 9)),
    ],
)
def test_rungs_of_early_termination(tmp_path: Path, given: dict[str, Any], rungs: tuple[int, ...]) -> None:
    sweep = load_sweep(write(tmp_path, _GRID, early_terminate={"type": "hyperband", **given}))
    assert sweep.rungs[: len(rungs)] == rungs
    assert len(sweep.rungs) == (20 if "min_iter" in given else len(rungs))


def test_an_unreadable_trial_is_named_and_runs_again_when_removed(tmp_path: Path) -> None:
    path = write(tmp_path, {"x": {"values": [1, 2, 4]}})
    run(path, 3)
    broken = tmp_path / "out" / "trials" / "0002"
    (broken / "trial.json").write_text('{"number": 2')
    with pytest.raises(InputError, match=r"0002/trial\.json is no file of a trial"):
        run(path, 3)
    shutil.rmtree(broken)
    again = run(path, 3)
    assert calls(tmp_path) == ["0001", "0002", "0003", "0002"]
    assert sorted(trial.parameters["x"] for trial in again.trials) == [1, 2, 4]


def test_another_sweep_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(write(tmp_path, _GRID), 1)
    with pytest.raises(InputError, match="another sweep file"):
        run(write(tmp_path, {"x": {"values": [1]}}), 1)


def test_the_page_shows_each_finished_trial(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, _GRID))
    trials = [Trial(k, point, "finished", 10.0 - k) for k, point in enumerate(sweep.grid(), start=1)]
    html = render_sweep(sweep, [*trials, Trial(7, trials[0].parameters, "failed")])
    check_page(html)
    assert html.count("<polyline") == 6
    assert "trial 7:" not in html
    for trial in trials:
        assert f"<title>trial {trial.number}: val/error {trial.value:.4g};" in html
    assert sys.executable not in html
