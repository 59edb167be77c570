"""The page of a sweep: its trials as a table and as lines over parallel axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from handlit.scoring.pages.rendering import render
from handlit.sweeps.parameters import Parameter
from handlit.sweeps.sweep_file import Sweep, as_text, short_name
from handlit.sweeps.trial import Trial

#: Pixels: height of an axis, room above and beside, least distance of axes, of labels, width of a letter.
_HEIGHT, _TOP, _MARGIN, _STEP, _LINE, _LETTER = 320, 50, 90, 170, 15, 7
_STYLE = """<style>polyline { stroke-width: 2; fill: none; } polyline:hover { stroke: #000; stroke-width: 4;
stroke-opacity: 1; } text { paint-order: stroke; stroke: #fff; stroke-width: 4px; stroke-linejoin: round; }</style>"""
_BEST, _OTHER = "#d55e00", "#0072b2"


def ranked(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    """Finished trials, best first, then the others."""
    sign = -1 if sweep.maximize else 1
    return sorted(trials, key=lambda t: (t.status != "finished", sign * (t.value or 0.0), t.number))


def render_sweep(sweep: Sweep, trials: Sequence[Trial]) -> str:
    """One HTML document with inline style and SVG; it refers to no other file.

    Args:
        sweep: What was searched.
        trials: Trials in any order; only finished ones have a line.
    """
    order = ranked(sweep, trials)
    finished = [trial for trial in order if trial.status == "finished"]
    best = ""
    if finished:
        parameters = ", ".join(
            f"{short_name(name)} = {_short(value)}" for name, value in finished[0].parameters.items()
        )
        best = f"trial {finished[0].number}, {sweep.metric} {finished[0].value:.4g} with {parameters}"
    names = ["trial", sweep.metric, "seconds", "status", *sweep.space]
    return render(
        "sweep",
        title=f"Sweep {sweep.path.stem}",
        finished=len(finished),
        best=best,
        lines=_parallel_coordinates(sweep, finished) if finished else "",
        heads=[(name, short_name(name)) for name in names],
        rows=[
            [
                trial.number,
                "" if trial.value is None else f"{trial.value:.4g}",
                f"{trial.seconds:.0f}",
                trial.status,
                *(_short(trial.parameters[name]) for name in sweep.space),
            ]
            for trial in order
        ],
    )


@dataclass
class _Axis:
    """One of the parallel axes; positions are 0 at the bottom and 1 at the top."""

    title: str
    positions: list[float]
    ticks: list[tuple[float, str]]


def _axis(name: str, column: Sequence[Any], parameter: Parameter | None) -> _Axis:
    """Numbers on a linear or logarithmic axis; anything else in the order of the sweep file."""
    title = short_name(name)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        texts = [_short(value) for value in column]
        order = dict.fromkeys(_short(value) for value in [*(parameter.extremes() if parameter else []), *column])
        shown = [text for text in order if text in texts]
        at = {text: (k + 0.5) / len(shown) for k, text in enumerate(shown)}
        return _Axis(title, [at[text] for text in texts], [(position, text) for text, position in at.items()])
    # a rounded parameter can be 0, which has no logarithm
    logarithmic = parameter is not None and parameter.logarithmic and min(column) > 0
    bend, unbend = (math.log, math.exp) if logarithmic else (float, float)
    low, high = bend(min(column)), bend(max(column))
    if low == high:
        return _Axis(title, [0.5] * len(column), [(0.5, _short(column[0]))])
    values = sorted(set(column))
    if len(values) <= 6:
        ticks = [((bend(value) - low) / (high - low), _short(value)) for value in values]
    else:
        ticks = [(k / 4, f"{unbend(low + k / 4 * (high - low)):.3g}") for k in range(5)]
    positions = [(bend(value) - low) / (high - low) for value in column]
    return _Axis(title + (" (log)" if logarithmic else ""), positions, ticks)


def _parallel_coordinates(sweep: Sweep, trials: Sequence[Trial]) -> Markup:
    axes = [_axis(name, [t.parameters[name] for t in trials], parameter) for name, parameter in sweep.space.items()]
    axes.append(_axis(sweep.metric, [t.value for t in trials], None))
    # an axis's labels stand to its right, titles are centred on it
    xs = [_MARGIN]
    for axis, following in pairwise(axes):
        labels = max(len(text) for _, text in axis.ticks) * _LETTER + 25
        titles = (len(axis.title) + len(following.title)) * _LETTER // 2 + 20
        xs.append(xs[-1] + max(_STEP, labels, titles))
    width = xs[-1] + max(_MARGIN, max(len(text) for _, text in axes[-1].ticks) * _LETTER + 15)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 2 * _TOP}" width="{width}" '
        f'style="max-width: none" role="img" aria-label="parallel coordinates" font-size="12" fill="#222">{_STYLE}',
        *(f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" stroke="#444"/>' for x in xs),
    ]
    # the best are drawn last, on top
    parts += [_line(sweep, trials, axes, xs, rank) for rank in reversed(range(len(trials)))]
    for x, axis in zip(xs, axes, strict=True):
        parts.append(
            f'<text x="{x}" y="{_TOP - 20}" text-anchor="middle" font-weight="600">{escape(axis.title)}</text>'
        )
        above = math.inf
        for position, text in sorted(axis.ticks):
            if above - _y(position) >= _LINE:
                above = _y(position)
                parts.append(f'<text x="{x + 8}" y="{above + 4:.1f}">{escape(text)}</text>')
    return Markup("".join([*parts, "</svg>"]))


def _line(sweep: Sweep, trials: Sequence[Trial], axes: Sequence[_Axis], xs: Sequence[int], rank: int) -> str:
    """The line of a trial over all axes: the worse it is, the fainter."""
    trial = trials[rank]
    points = " ".join(f"{x},{_y(axis.positions[rank]):.1f}" for x, axis in zip(xs, axes, strict=True))
    opacity = 0.75 - 0.6 * rank / max(len(trials) - 1, 1)
    stroke = f'"{_BEST}" style="stroke-width: 3.5"' if rank == 0 else f'"{_OTHER}" stroke-opacity="{opacity:.2f}"'
    parameters = ", ".join(f"{name}={_short(value)}" for name, value in trial.parameters.items())
    tip = escape(f"trial {trial.number}: {sweep.metric} {trial.value:.4g}; {parameters}")
    return f'<polyline points="{points}" stroke={stroke}><title>{tip}</title></polyline>'


def _y(position: float) -> float:
    return _TOP + _HEIGHT * (1 - position)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)
