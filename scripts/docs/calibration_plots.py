"""Plots of "calibration in five minutes": our measures of guesses about points whose true uncertainty is known.

Points in space are off by a Gaussian error of 10 mm along each axis. A method that knows this draws hypotheses with
10 mm; one that is too sure with 5 mm, one that is too vague with 20 mm.
"""

import json
from functools import cache

import torch
from torch import Tensor

from handlit.metrics.calibration import (
    calibration_error,
    coverage,
    energy_score,
    gaussian_nll,
    radial_rank,
    sparsification,
)
from handlit.scoring.pages.charts import line_chart, scatter_chart

#: What each method multiplies the true standard deviation by.
METHODS = {"too sure": 0.5, "honest": 1.0, "too vague": 2.0}
COLOURS = {"too sure": "#d55e00", "honest": "#009e73", "too vague": "#0072b2"}
FACTORS = (0.25, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0)
TRUE_SCALE_MM = 10.0
POINTS, HYPOTHESES = 4000, 200
_LEVELS = tuple(level / 20 for level in range(21))


@cache
def simulated() -> tuple[Tensor, Tensor]:
    """Errors (N, 3) of the guesses, and standard normal draws (N, 200, 3) for the hypotheses, in true deviations."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(POINTS, 3, generator=generator, dtype=torch.float64)
    return errors, torch.randn(POINTS, HYPOTHESES, 3, generator=generator, dtype=torch.float64)


def hypotheses(factor: float) -> Tensor:
    """(N, 200, 1, 3) millimetres, around the guess at the origin, of a method that states this factor."""
    return simulated()[1][:, :, None] * (factor * TRUE_SCALE_MM)


@cache
def ranks_of(factor: float) -> Tensor:
    """(N,) share of a method's hypotheses that are nearer to their median than the truth."""
    return radial_rank(hypotheses(factor), truth()).flatten()


def truth() -> Tensor:
    """(N, 1, 3) true points, millimetres."""
    return simulated()[0][:, None] * TRUE_SCALE_MM


def calibration_plots() -> dict[str, str]:
    """Every plot by its file's name."""
    curves = [(name, COLOURS[name], coverage(ranks_of(factor), _LEVELS).tolist()) for name, factor in METHODS.items()]
    reliability = line_chart(
        "True points within the region that holds a share of the hypotheses", "share of the hypotheses", _LEVELS, curves
    )
    scores = [(factor, _energy(factor), _nll(factor), _best(factor, HYPOTHESES)) for factor in FACTORS]
    proper = scatter_chart(
        "Proper scores are lowest where a method says what it knows",
        "stated deviation over the true one",
        "energy score, mm",
        [("energy score", COLOURS["honest"], [(factor, energy) for factor, energy, *_ in scores])],
    )
    best = scatter_chart(
        "The best of 200 forgives vagueness more than sureness",
        "stated deviation over the true one",
        "error, mm",
        [("best of 200", COLOURS["too sure"], [(factor, best) for factor, *_, best in scores])],
    )
    return {
        "reliability.svg": _on_paper(reliability, [(name, COLOURS[name]) for name in METHODS]),
        "proper_scores.svg": _on_paper(proper, []),
        "best_of.svg": _on_paper(best, []),
        "sparsification.svg": _sparsification(),
    }


def calibration_figures() -> str:
    """The figures that the page quotes, as JSON."""
    figures: dict[str, dict[str, float]] = {}
    for name, factor in METHODS.items():
        ranks = ranks_of(factor)
        shares = coverage(ranks, (0.5, 0.9)).tolist()
        figures[name.replace(" ", "_")] = {
            "coverage_50": shares[0],
            "coverage_90": shares[1],
            "calibration_error": float(calibration_error(ranks)),
            "energy_mm": _energy(factor),
            "nll_nats": _nll(factor),
            "best_of_10_mm": _best(factor, 10),
            "best_of_200_mm": _best(factor, HYPOTHESES),
        }
    return json.dumps(
        {name: {key: round(value, 4) for key, value in of.items()} for name, of in figures.items()}, indent=2
    )


def _energy(factor: float) -> float:
    # a tenth of the points: the pairs of 200 hypotheses of all of them take a minute
    few = slice(0, POINTS // 10)
    return float(energy_score(hypotheses(factor)[few], truth()[few]).mean())


def _nll(factor: float) -> float:
    target = truth()
    return float(gaussian_nll(torch.zeros_like(target), torch.full_like(target, factor * TRUE_SCALE_MM), target).mean())


def _best(factor: float, count: int) -> float:
    return float((hypotheses(factor)[:, :count] - truth()[:, None]).norm(dim=-1).amin(1).mean())


def _sparsification() -> str:
    """Points whose deviations differ; a method that knows them, one that guesses, and the order of the errors."""
    generator = torch.Generator().manual_seed(1)
    scales = TRUE_SCALE_MM * torch.exp(torch.randn(POINTS, generator=generator, dtype=torch.float64))
    errors = scales * torch.randn(POINTS, 3, generator=generator, dtype=torch.float64).norm(dim=-1)
    guessed = scales[torch.randperm(POINTS, generator=generator)]
    steps = 20
    orders = {"guesses": (guessed, "#d55e00"), "knows": (scales, "#009e73"), "by the errors": (errors, "#444444")}
    curves = [
        (name, colour, [float(v / errors.mean()) for v in sparsification(errors, by, steps)])
        for name, (by, colour) in orders.items()
    ]
    shares = [step / steps for step in range(len(curves[0][2]))]
    chart = line_chart("Error that is left when the least sure points are left out", "share left out", shares, curves)
    return _on_paper(chart, [(name, colour) for name, (_, colour) in orders.items()])


def _on_paper(chart: str, legend: list[tuple[str, str]]) -> str:
    """A chart on a light ground, with the names of its curves."""
    height = 262 + (26 if legend else 0)
    head, rest = (
        str(chart).replace('0 480 262"', f'0 480 {height}"').replace('height="262"', f'height="{height}"').split(">", 1)
    )
    words = "".join(
        f'<text x="{48 + 120 * row}" y="{height - 9}" font-weight="600" fill="{colour}">{name}</text>'
        for row, (name, colour) in enumerate(legend)
    )
    paper = f'<rect width="480" height="{height}" rx="8" fill="#fdfdfd"/>'
    return f'{head} font-family="sans-serif">{paper}{rest.removesuffix("</svg>")}{words}</svg>\n'
