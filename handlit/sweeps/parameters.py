"""The parameters of a sweep file: https://docs.wandb.ai/models/sweeps/sweep-config-keys names the distributions."""

import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from handlit.errors import InputError

#: Of a range of multiples of q.
MAX_STEPS = 10**9
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
_LARGEST = 1e300
_LARGEST_GRID = 100_000


@dataclass(frozen=True)
class Parameter:
    """A searched setting.

    Attributes:
        distribution: What Optuna draws.
        value: The setting's value for what was drawn.
        logarithmic: Whether its values are best shown on a logarithmic axis.
        choices: Every value, where the file lists them.
    """

    distribution: BaseDistribution
    value: Callable[[Any], Any] = lambda drawn: drawn
    logarithmic: bool = False
    choices: tuple[Any, ...] = ()

    def extremes(self) -> list[Any]:
        """Every choice, or the values at the two ends of the range."""
        if self.choices:
            return list(self.choices)
        found = self.distribution
        assert isinstance(found, FloatDistribution | IntDistribution)
        return [self.value(found.low), self.value(found.high)]

    def grid(self) -> list[Any] | None:
        """All that may be drawn, where that is a finite number of values and not too many."""
        found = self.distribution
        if isinstance(found, CategoricalDistribution):
            return list(found.choices)
        assert isinstance(found, FloatDistribution | IntDistribution)
        if found.step is None:
            return None
        count = round((found.high - found.low) / found.step) + 1
        if count > _LARGEST_GRID:
            return None
        return [found.low + position * found.step for position in range(count)]


def is_number(given: Any, least: float = -_LARGEST, largest: float = _LARGEST) -> bool:
    """Whether it is a number in a range; neither infinite nor NaN is in any."""
    return isinstance(given, int | float) and not isinstance(given, bool) and least <= given <= largest


def read_parameter(where: str, given: Mapping[str, Any]) -> Parameter:
    """One parameter of a sweep file.

    Args:
        where: File and parameter, for messages.
        given: Its keys.

    Raises:
        InputError: It is none, or one that is not supported.
    """
    try:
        found = _parameter(where, given)
        fits = all(is_number(end) for end in found.extremes() if not found.choices)
    except OverflowError:
        fits = False
    if not fits:
        raise InputError(f"{where}: its values become too large for a number")
    return found


def _parameter(where: str, given: Mapping[str, Any]) -> Parameter:
    name = given.get("distribution") or _implied(where, given)
    if not isinstance(name, str) or name not in _DISTRIBUTIONS:
        raise InputError(f"{where}: distribution {name} is not supported: known are {', '.join(_DISTRIBUTIONS)}")
    needed, defaults = _DISTRIBUTIONS[name]
    found = set(given) - {"distribution"}
    if not needed <= found <= needed | set(defaults):
        raise InputError(f"{where}: {name} takes {sorted(needed | set(defaults))}, got {sorted(map(str, found))}")
    if name == "constant":
        return _choice(where, [given["value"]])
    if "values" in needed:
        if not isinstance(given["values"], list) or not given["values"]:
            raise InputError(f"{where}: values must be a list that is not empty")
        if "probabilities" in needed:
            return _weighted(where, given["values"], given["probabilities"])
        return _choice(where, given["values"])
    numbers = {**defaults, **{key: given[key] for key in found}}
    for key, number in numbers.items():
        if not is_number(number):
            raise InputError(f"{where}: {key} must be a number, got {number!r} (in YAML write 1.0e-4, not 1e-4)")
    if numbers.get("q", 1) <= 0 or numbers.get("sigma", 1) <= 0:
        raise InputError(f"{where}: q and sigma must be positive")
    return _normal(name, numbers) if "mu" in numbers else _bounded(where, name, numbers)


def _choice(where: str, values: list[Any]) -> Parameter:
    # as JSON text a choice may be a list, which Optuna has no choices of
    return Parameter(CategoricalDistribution(_texts(where, values)), json.loads, choices=tuple(values))


def _texts(where: str, values: list[Any]) -> list[str]:
    texts = []
    for value in values:
        try:
            texts.append(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            raise InputError(
                f"{where}: {value} is no value for a command line: take a number, a text (in quotes, such as a date), "
                "true, false, null or a list of these"
            ) from None
    return texts


def _weighted(where: str, values: list[Any], probabilities: Any) -> Parameter:
    numbers = isinstance(probabilities, list) and all(is_number(p, 0, 1) for p in probabilities)
    if not numbers or len(probabilities) != len(values) or not math.isclose(sum(probabilities), 1, abs_tol=1e-6):
        raise InputError(f"{where}: probabilities must be one number of 0 or more for each value, 1 together")
    _texts(where, values)
    ends = list(itertools.accumulate(probabilities))[:-1]
    return Parameter(FloatDistribution(0, 1), lambda drawn: values[bisect_right(ends, drawn)], choices=tuple(values))


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
        if not (high - low) / q <= MAX_STEPS:
            raise InputError(f"{where}: from min to max there are more than {MAX_STEPS} steps of q")
        if any(not math.isclose(bound / q, round(bound / q), abs_tol=1e-9) for bound in (low, high)):
            raise InputError(f"{where}: min and max must be multiples of q")
        if all(isinstance(number, int) for number in (low, high, q)):
            return Parameter(IntDistribution(int(low), int(high), step=int(q)))
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
