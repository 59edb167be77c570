"""Sweep files are read as W&B means them, and wrong ones are refused."""

import datetime
import itertools
from pathlib import Path
from typing import Any

import pytest

from handlit.errors import InputError
from handlit.sweeps import load_sweep
from tests.sweeps.programs import GRID, write_sweep


def test_grid_is_every_combination(tmp_path: Path) -> None:
    parameters = {**GRID, "z": {"value": 0.5}, "n": {"min": 1, "max": 3}}
    sweep = load_sweep(write_sweep(tmp_path, parameters))
    points = [tuple(sweep.settings(point).values()) for point in sweep.grid()]
    assert points == list(itertools.product([1, 2], ["a", "b", [1, 2]], [0.5], [1, 2, 3]))


def test_nested_parameters_have_names_with_dots(tmp_path: Path) -> None:
    nested = {
        "a": {"parameters": {"b": {"value": 1}, "c": {"parameters": {"d": {"values": [2, 3]}}}}},
        "e": {"value": 4},
    }
    sweep = load_sweep(write_sweep(tmp_path, nested))
    assert [sweep.settings(point) for point in sweep.grid()] == [
        {"a.b": 1, "a.c.d": 2, "e": 4},
        {"a.b": 1, "a.c.d": 3, "e": 4},
    ]


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
        (
            {"x": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 1e-300}},
            {"method": "random"},
            "more than 1000000000 steps of q",
        ),
        ({"x": {"values": [1, 2], "probabilities": [0.5]}}, {"method": "random"}, "one number of 0 or more for each"),
        ({"x": {"parameters": {"y": 3}}}, {}, "x.y must have value"),
        (GRID, {"metod": "grid"}, "metod"),
        (GRID, {"early_terminate": {"type": "median"}}, "takes type hyperband"),
        (GRID, {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1}}, "eta is 1; expected"),
        (GRID, {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2.5}}, "eta is 2.5; expected a whole"),
        (GRID, {"method": "genetic"}, "genetic"),
        (GRID, {"metric": {"goal": "minimize"}}, "metric needs a name"),
        (GRID, {"metric": {"name": "val/error", "goal": "maximize"}}, "less of val/error is better"),
        ({"x": {"values": [1, datetime.date(2024, 1, 2)]}}, {}, "2024-01-02 is no value"),
        ({"x": {"values": [1, {2: float("nan")}]}}, {}, "is no value"),
        ({"x": {"distribution": ["normal"]}}, {}, "is not supported"),
        ({"x": {"distribution": "log_normal", "mu": 1000}}, {"method": "random"}, "too large"),
        ({"x": {"min": 0, "max": 10**400}}, {"method": "random"}, "must be a number"),
        ({"x": {"min": 0, "max": 10**9}}, {}, "no grid"),
        ({"x": {"value": 1, 2: 3}}, {}, "takes"),
        ({"x.y": {"value": 1}, "x": {"parameters": {"y": {"value": 2}}}}, {}, "there twice"),
        (GRID, {"early_terminate": {"type": "hyperband", "min_iter": float("inf")}}, "min_iter is inf"),
        (GRID, {"early_terminate": {"type": "hyperband", "min_iter": float("nan")}}, "min_iter is nan"),
        (GRID, {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1e30}}, "eta is 1e"),
        (GRID, {"early_terminate": {"type": "hyperband", "min_iter": 1, "strict": 1}}, "strict"),
        (GRID, {"run_cap": 0}, "run_cap"),
        (GRID, {"entity": 3}, "entity must be a text"),
        (GRID, {"command": None}, "program is missing"),
        (GRID, {"command": ["python", "x.py", "${args_json}"]}, "args_json} in command is not supported"),
    ],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, parameters: dict[str, Any], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_sweep(write_sweep(tmp_path, parameters, **keys))


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_sweep(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="YAML file"):
        load_sweep(tmp_path / "x.yaml")


def test_the_command_that_wandb_takes_without_one(tmp_path: Path) -> None:
    more: dict[str, Any] = {"command": None, "program": "train.py", "entity": "me", "run_cap": 3}
    sweep = load_sweep(write_sweep(tmp_path, {"x": {"values": [1, 2]}}, **more))
    assert sweep.expand({"x": 2}, "PYTHON") == ["PYTHON", "train.py", "--x=2"]
    assert (sweep.run_cap, sweep.texts["entity"]) == (3, "me")


@pytest.mark.parametrize(
    ("given", "first", "eta"),
    [
        ({"min_iter": 5}, 5, 3),
        ({"min_iter": 5, "eta": 4}, 5, 4),
        ({"max_iter": 27, "s": 2}, 3, 3),
        ({"max_iter": 27, "s": 9}, 1, 3),
    ],
)
def test_first_rung_of_early_termination(tmp_path: Path, given: dict[str, Any], first: int, eta: int) -> None:
    sweep = load_sweep(write_sweep(tmp_path, GRID, early_terminate={"type": "hyperband", **given}))
    assert (sweep.min_iter, sweep.eta) == (first, eta)
