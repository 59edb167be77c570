"""Reads sweep files: https://docs.wandb.ai/guides/sweeps/define-sweep-configuration names the keys."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from handlit.errors import InputError
from handlit.sweeps.parameters import Parameter, is_number, read_parameter
from handlit.yaml_files import load_yaml

_TEXTS = ("name", "description", "project", "entity", "program")
_KEYS = {*_TEXTS, "method", "metric", "parameters", "command", "early_terminate", "run_cap"}
#: What W&B puts into a command and the local sweep does too.
_MACROS = ("${env}", "${interpreter}", "${program}", "${args}")
#: Least and largest number of each key of early termination.
_BOUNDS = {"min_iter": (1, 10**9), "max_iter": (1, 10**9), "s": (1, 30), "eta": (2, 10**9)}
_LESS_IS_BETTER = re.compile(r"(_mm|_px|nll|nll_nats|crps|ause|error|loss)$")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file.

    Attributes:
        path: The file.
        method: ``grid``, ``random`` or ``bayes``.
        metric: Name of the logged value that is compared.
        maximize: Whether more of it is better.
        space: The parameter of each name.
        command: Words of the command, with W&B's ``${...}`` in them.
        min_iter: Early termination: a trial that has logged ``min_iter * eta**k`` values must be among the best
            1/`eta` of those that got so far. None without early termination.
        eta: See `min_iter`.
        texts: The file's ``name``, ``description``, ``project``, ``entity`` and ``program``, as far as it has them.
        run_cap: Largest number of trials; None without one.
    """

    path: Path
    method: str
    metric: str
    maximize: bool
    space: Mapping[str, Parameter]
    command: tuple[str, ...]
    min_iter: int | None
    eta: int
    texts: Mapping[str, str]
    run_cap: int | None = None

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination as Optuna would draw it, the last parameter fastest."""
        axes = [cast(list[Any], parameter.grid()) for parameter in self.space.values()]
        for drawn in itertools.product(*axes):
            yield dict(zip(self.space, drawn, strict=True))

    def settings(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each parameter for what Optuna drew."""
        return {name: parameter.value(drawn[name]) for name, parameter in self.space.items()}

    def expand(self, parameters: Mapping[str, Any], interpreter: str) -> list[str]:
        """The command of one trial: `interpreter` for ``python``, ``--name=value`` for ``${args}``."""
        words: list[str] = []
        for word in self.command:
            if word == "${args}":
                words += [f"--{name}={as_text(value)}" for name, value in parameters.items()]
            elif word in ("python", "${interpreter}"):
                words.append(interpreter)
            elif word == "${program}":
                words.append(self.texts["program"])
            elif word != "${env}":
                words.append(word)
        return words


def as_text(value: Any) -> str:
    """A parameter's value as a command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def short_name(name: str) -> str:
    """A parameter's name as tables show it: its last two parts, without ``init_args``."""
    return ".".join([part for part in name.split(".") if part != "init_args"][-2:])


def load_sweep(path: Path) -> Sweep:
    """Read and check a sweep file.

    Raises:
        InputError: It is no sweep file, or holds what is unknown, empty or not supported.
    """
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} is no sweep file: it needs method, metric and parameters")
    _only(path, content, _KEYS, "the sweep file")
    texts = {key: content[key] for key in _TEXTS if content.get(key) is not None}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise InputError(f"{path}: {key} must be a text, got {text!r}")
    cap = content.get("run_cap")
    if cap is not None and (not isinstance(cap, int) or not is_number(cap, 1)):
        raise InputError(f"{path}: run_cap must be a whole number of 1 or more, got {cap!r}")
    method = content.get("method")
    if method not in ("grid", "random", "bayes"):
        raise InputError(f"{path}: method must be grid, random or bayes, got {method!r}")
    metric, maximize = _metric(path, content.get("metric"))
    command = _command(path, content.get("command"), texts)
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise InputError(f"{path}: parameters is empty: name at least one setting")
    space: dict[str, Parameter] = {}
    for name, given in _flat(path, parameters):
        if name in space:
            raise InputError(f"{path}: {name} is there twice")
        space[name] = read_parameter(f"{path}: {name}", given)
        if method == "grid" and space[name].grid() is None:
            raise InputError(f"{path}: {name} has no grid: give values (not too many), or method random or bayes")
    min_iter, eta = _early_termination(path, content.get("early_terminate"))
    return Sweep(path, method, metric, maximize, space, command, min_iter, eta, texts, cap)


def _metric(path: Path, metric: Any) -> tuple[str, bool]:
    """Its name, and whether more of it is better."""
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise InputError(f"{path}: metric needs a name, and a goal (minimize or maximize)")
    _only(path, metric, {"name", "goal"}, "metric")
    name, goal = metric["name"], metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise InputError(f"{path}: metric.goal must be minimize or maximize, got {goal!r}")
    if goal == "maximize" and _LESS_IS_BETTER.search(name):
        raise InputError(f"{path}: metric.goal is maximize, but less of {name} is better: write minimize")
    return name, goal == "maximize"


def _command(path: Path, given: Any, texts: Mapping[str, str]) -> tuple[str, ...]:
    command = list(_MACROS) if given is None else given
    if not isinstance(command, list) or not all(isinstance(word, str) or is_number(word) for word in command):
        raise InputError(f"{path}: command must be a list of words")
    words = tuple(map(str, command))
    if strange := [word for word in words if "${" in word and word not in _MACROS]:
        raise InputError(f"{path}: {strange[0]} in command is not supported: use {', '.join(_MACROS)}")
    if "${args}" not in words:
        raise InputError(f"{path}: command needs ${{args}}, the place of the parameters")
    if "${program}" in words and "program" not in texts:
        why = "without a command, the file needs one" if given is None else "the command needs it"
        raise InputError(f"{path}: program is missing: {why}")
    return words


def _early_termination(path: Path, given: Any) -> tuple[int | None, int]:
    """Smallest number of logged values at which trials are compared, and the factor between such numbers."""
    if given is None:
        return None, 2
    if not isinstance(given, dict):
        raise InputError(f"{path}: early_terminate needs type, and min_iter or max_iter and s")
    numbers = {"eta": 3, **given}
    # also W&B's own rule (github.com/wandb/sweeps) is the same with and without it
    kind, strict = numbers.pop("type", None), numbers.pop("strict", False)
    if (
        kind != "hyperband"
        or not isinstance(strict, bool)
        or set(numbers) not in ({"eta", "min_iter"}, {"eta", "max_iter", "s"})
    ):
        raise InputError(
            f"{path}: early_terminate takes type hyperband, min_iter or max_iter and s, eta, and strict (true or false)"
        )
    for key, number in numbers.items():
        least, largest = _BOUNDS[key]
        if not isinstance(number, int) or not is_number(number, least, largest):
            raise InputError(
                f"{path}: early_terminate.{key} is {number!r}; expected a whole number from {least} to {largest}"
            )
    eta = numbers["eta"]
    return numbers["min_iter"] if "min_iter" in numbers else max(1, numbers["max_iter"] // eta ** numbers["s"]), eta


def _only(path: Path, given: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := set(given) - known:
        raise InputError(f"{path}: {where} has no key {sorted(map(str, unknown))[0]!r}: known are {sorted(known)}")


def _flat(path: Path, parameters: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Nested parameters as one name with dots."""
    for name, given in parameters.items():
        if not isinstance(given, dict):
            raise InputError(f"{path}: {prefix}{name} must have value, values, or min and max")
        if set(given) == {"parameters"} and isinstance(given["parameters"], dict):
            yield from _flat(path, given["parameters"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", given
