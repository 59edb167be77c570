"""Reads sweep files: https://docs.wandb.ai/guides/sweeps/define-sweep-configuration names the keys."""

import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, cast

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from handlit.types import InputError

_KEYS = {"name", "description", "project", "method", "metric", "parameters", "command", "early_terminate", "program"}
#: The keys of each distribution, those with a default in the second part.
_DISTRIBUTIONS: dict[str, tuple[set[str], dict[str, float]]] = {
    "constant": ({"value"}, {}),
    "categorical": ({"values"}, {}),
    "categorical_w_probabilities": ({"values", "probabilities"}, {}),
    "int_uniform": ({"min", "max"}, {}),
    "uniform": ({"min", "max"}, {}),
    "q_uniform": ({"min", "max"}, {"q": 1}),
    "log_uniform_values": ({"min", "max"}, {}),
    "q_log_uniform_values": ({"min", "max"}, {"q": 1}),
    "normal": (set(), {"mu": 0, "sigma": 1}),
    "q_normal": (set(), {"mu": 0, "sigma": 1, "q": 1}),
    "log_normal": (set(), {"mu": 0, "sigma": 1}),
    "q_log_normal": (set(), {"mu": 0, "sigma": 1, "q": 1}),
}
#: Optuna draws from ranges: a normal value is drawn by its quantile, which leaves out this much on either side.
_TAIL = 1e-6


@dataclass(frozen=True)
class Parameter:
    """A searched setting.

    Attributes:
        distribution: What Optuna draws.
        value: The setting's value for what was drawn.
        logarithmic: Whether its values are best shown on a logarithmic axis.
    """

    distribution: BaseDistribution
    value: Callable[[Any], Any] = lambda drawn: drawn
    logarithmic: bool = False

    def extremes(self) -> list[Any]:
        """Every choice, or the values at the two ends of the range."""
        found = self.distribution
        if isinstance(found, CategoricalDistribution):
            return [self.value(choice) for choice in found.choices]
        assert isinstance(found, FloatDistribution | IntDistribution)
        return [self.value(found.low), self.value(found.high)]

    def grid(self) -> list[Any] | None:
        """All values, where there is a finite number of them."""
        found = self.distribution
        if isinstance(found, FloatDistribution):
            if found.step is None:
                return None
            count = round((found.high - found.low) / found.step) + 1
            return [found.low + position * found.step for position in range(count)]
        return list(range(found.low, found.high + 1)) if isinstance(found, IntDistribution) else self.extremes()


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
        rungs: Numbers of logged values at which a trial must be among the best 1/`eta` of those that got so far.
        eta: See `rungs`.
    """

    path: Path
    method: str
    metric: str
    maximize: bool
    space: Mapping[str, Parameter]
    command: tuple[str, ...]
    rungs: tuple[int, ...]
    eta: float

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination, the last parameter fastest."""
        axes = [cast(list[Any], parameter.grid()) for parameter in self.space.values()]
        for values in itertools.product(*axes):
            yield dict(zip(self.space, values, strict=True))

    def expand(self, parameters: Mapping[str, Any], interpreter: str) -> list[str]:
        """The command of one trial: `interpreter` for ``python``, ``--name=value`` for ``${args}``."""
        words: list[str] = []
        for word in self.command:
            if word == "${args}":
                words += [f"--{name}={as_text(value)}" for name, value in parameters.items()]
            elif word in ("python", "${interpreter}"):
                words.append(interpreter)
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
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no sweep file: it needs method, metric, parameters and command")
    _only(path, content, _KEYS, "the sweep file")
    method = content.get("method")
    if method not in ("grid", "random", "bayes"):
        raise InputError(f"{path}: method must be grid, random or bayes, got {method!r}")
    metric = content.get("metric")
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise InputError(f"{path}: metric needs a name, and a goal (minimize or maximize)")
    _only(path, metric, {"name", "goal"}, "metric")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise InputError(f"{path}: metric.goal must be minimize or maximize, got {goal!r}")
    parameters, command = content.get("parameters"), content.get("command")
    if not isinstance(parameters, dict) or not parameters:
        raise InputError(f"{path}: parameters is empty: name at least one setting")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command) or "${args}" not in command:
        raise InputError(f"{path}: command must be a list of words with ${{args}} among them")
    if strange := [w for w in command if "${" in w and w not in ("${env}", "${interpreter}", "${args}")]:
        raise InputError(f"{path}: {strange[0]} in command is not supported: use ${{env}}, ${{interpreter}}, ${{args}}")
    space = {name: _parameter(f"{path}: {name}", given) for name, given in _flat(path, parameters)}
    if method == "grid":
        for name, parameter in space.items():
            if parameter.grid() is None:
                raise InputError(f"{path}: {name} has no grid: give values, or choose method random or bayes")
    rungs, eta = _rungs(path, content.get("early_terminate"))
    return Sweep(path, method, metric["name"], goal == "maximize", space, tuple(command), rungs, eta)


def _rungs(path: Path, given: Any) -> tuple[tuple[int, ...], float]:
    """Where early termination compares trials: min_iter eta^k, or max_iter / eta^k for k up to s."""
    if given is None:
        return (), 1.0
    if not isinstance(given, dict):
        raise InputError(f"{path}: early_terminate needs type, and min_iter or max_iter and s")
    numbers = {"eta": 3, **given}
    kind = numbers.pop("type", None)
    if kind != "hyperband" or set(numbers) not in ({"eta", "min_iter"}, {"eta", "max_iter", "s"}):
        raise InputError(f"{path}: early_terminate takes type hyperband, min_iter or max_iter and s, and eta")
    for key, number in numbers.items():
        if not isinstance(number, int | float) or number < 1 or (key == "eta" and number == 1):
            raise InputError(
                f"{path}: early_terminate.{key} is {number!r}; expected a number of 1 or more, eta above 1"
            )
    eta = numbers["eta"]
    if "min_iter" in numbers:
        found = [numbers["min_iter"] * eta**k for k in range(20)]
    else:
        found = [numbers["max_iter"] / eta**k for k in range(int(numbers["s"]), 0, -1)]
    return tuple(sorted({int(rung) for rung in found if rung >= 1})), eta


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


def _parameter(where: str, given: Mapping[str, Any]) -> Parameter:
    name = given.get("distribution") or _implied(where, given)
    if name not in _DISTRIBUTIONS:
        raise InputError(f"{where}: distribution {name} is not supported: known are {', '.join(_DISTRIBUTIONS)}")
    needed, defaults = _DISTRIBUTIONS[name]
    found = set(given) - {"distribution"}
    if not needed <= found <= needed | set(defaults):
        raise InputError(f"{where}: {name} takes {sorted(needed | set(defaults))}, got {sorted(found)}")
    if name == "constant":
        return _choice([given["value"]])
    if "values" in needed:
        if not isinstance(given["values"], list) or not given["values"]:
            raise InputError(f"{where}: values must be a list that is not empty")
        if "probabilities" in needed:
            return _weighted(where, given["values"], given["probabilities"])
        return _choice(given["values"])
    numbers = {**defaults, **{key: given[key] for key in found}}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"{where}: {key} must be a number, got {number!r} (in YAML write 1.0e-4, not 1e-4)")
    if numbers.get("q", 1) <= 0 or numbers.get("sigma", 1) <= 0:
        raise InputError(f"{where}: q and sigma must be positive")
    return _normal(name, numbers) if "mu" in numbers else _bounded(where, name, numbers)


def _choice(values: list[Any]) -> Parameter:
    # as JSON text a choice may be a list, which Optuna has no choices of
    return Parameter(CategoricalDistribution([json.dumps(value) for value in values]), json.loads)


def _weighted(where: str, values: list[Any], probabilities: Any) -> Parameter:
    numbers = isinstance(probabilities, list) and all(isinstance(p, int | float) and p >= 0 for p in probabilities)
    if not numbers or len(probabilities) != len(values) or not math.isclose(sum(probabilities), 1, abs_tol=1e-6):
        raise InputError(f"{where}: probabilities must be one number of 0 or more for each value, 1 together")
    ends = list(itertools.accumulate(probabilities))[:-1]
    return Parameter(FloatDistribution(0, 1), lambda drawn: values[bisect_right(ends, drawn)])


def _normal(name: str, numbers: Mapping[str, float]) -> Parameter:
    normal, logarithmic = NormalDist(numbers["mu"], numbers["sigma"]), "log" in name

    def value(quantile: float) -> float:
        number = normal.inv_cdf(quantile)
        return _rounded(math.exp(number) if logarithmic else number, numbers)

    return Parameter(FloatDistribution(_TAIL, 1 - _TAIL), value, logarithmic)


def _bounded(where: str, name: str, numbers: Mapping[str, float]) -> Parameter:
    low, high, logarithmic = numbers["min"], numbers["max"], "log" in name
    if not low < high or (logarithmic and low <= 0):
        raise InputError(f"{where}: min must be less than max (and positive for a logarithm)")
    if name == "int_uniform":
        if low != int(low) or high != int(high):
            raise InputError(f"{where}: min and max of int_uniform must be whole numbers")
        return Parameter(IntDistribution(int(low), int(high)))
    if name == "q_uniform":
        q = numbers["q"]
        if any(not math.isclose(bound / q, round(bound / q), abs_tol=1e-9) for bound in (low, high)):
            raise InputError(f"{where}: min and max must be multiples of q")
        return Parameter(FloatDistribution(low, high, step=q))
    return Parameter(FloatDistribution(low, high, log=logarithmic), lambda drawn: _rounded(drawn, numbers), logarithmic)


def _rounded(number: float, numbers: Mapping[str, float]) -> float:
    """To a multiple of q, where there is one."""
    return round(number / numbers["q"]) * numbers["q"] if "q" in numbers else number


def _implied(where: str, given: Mapping[str, Any]) -> str:
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical_w_probabilities" if "probabilities" in given else "categorical"
    if {"min", "max"} <= set(given):
        whole = all(isinstance(given[key], int) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    raise InputError(f"{where} must have value, values, or min and max")
