"""Parameters are drawn as W&B means them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.samplers import RandomSampler
from scipy.stats import chisquare, kstest, lognorm, norm

from handlit.errors import InputError
from handlit.sweeps import load_sweep
from tests.sweeps.programs import write_sweep


def draws(folder: Path, parameter: dict[str, Any]) -> list[Any]:
    found = load_sweep(write_sweep(folder, {"x": parameter}, "random")).space["x"]
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


def test_whole_steps_give_whole_numbers_and_weighted_values_are_all_known(tmp_path: Path) -> None:
    whole = {"x": {"distribution": "q_uniform", "min": 0, "max": 6, "q": 3}}
    assert [repr(point["x"]) for point in load_sweep(write_sweep(tmp_path, whole)).grid()] == ["0", "3", "6"]
    assert {type(value) for value in draws(tmp_path, whole["x"])} == {int}
    weighted = {"x": {"values": [1, "wrong", 2], "probabilities": [0.5, 0.2, 0.3]}}
    assert load_sweep(write_sweep(tmp_path, weighted, "random")).space["x"].extremes() == [1, "wrong", 2]


@pytest.mark.parametrize("probabilities", [["0.5", "0.5"], [1.5, -0.5], [None, 1.0], 0.5, {"a": 1.0}])
def test_what_is_no_share_is_refused(tmp_path: Path, probabilities: Any) -> None:
    parameter = {"values": ["a", "b"], "probabilities": probabilities}
    with pytest.raises(InputError, match="probabilities must be one number of 0 or more for each value"):
        load_sweep(write_sweep(tmp_path, {"x": parameter}, method="random"))
