"""The page of a sweep: its trials as a table and as lines over parallel axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from handlit.scoring.pages.page import page, section
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
    done = [trial for trial in order if trial.status == "finished"]
    sections = [
        section("Parallel coordinates", _lines(sweep, done) if done else ""),
        section("All trials", _table(sweep, order)),
    ]
    opening = f"<p>{len(done)} of {len(trials)} trials finished.</p>"
    if done:
        parameters = ", ".join(f"{short_name(name)} = {_short(value)}" for name, value in done[0].parameters.items())
        opening += f"<p>Best: trial {done[0].number}, {escape(sweep.metric)} {done[0].value:.4g} with "
        opening += f"{escape(parameters)}. Its line is orange; the fainter a blue line, the worse its trial.</p>"
    return page(f"Sweep {sweep.path.stem}", opening, sections)


def _table(sweep: Sweep, trials: Sequence[Trial]) -> str:
    names = ["trial", sweep.metric, "seconds", "status", *sweep.space]
    head = "".join(f'<th title="{escape(name)}">{escape(short_name(name))}</th>' for name in names)
    rows = []
    for t in trials:
        value = "" if t.value is None else f"{t.value:.4g}"
        cells = [str(t.number), value, f"{t.seconds:.0f}", t.status, *(_short(t.parameters[n]) for n in sweep.space)]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


@dataclass
class _Axis:
    """One of the parallel axes; places are 0 at the bottom and 1 at the top."""

    title: str
    places: list[float]
    ticks: list[tuple[float, str]]


def _axis(name: str, column: Sequence, parameter: Parameter | None) -> _Axis:
    """Numbers on a linear or logarithmic axis; anything else in the order of the sweep file."""
    title = short_name(name)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        order = list(dict.fromkeys(_short(value) for value in [*(parameter.extremes() if parameter else []), *column]))
        used = {_short(value) for value in column}
        order = [text for text in order if text in used]
        at = {text: (k + 0.5) / len(order) for k, text in enumerate(order)}
        return _Axis(title, [at[_short(value)] for value in column], [(place, text) for text, place in at.items()])
    # a rounded parameter can be 0, which has no logarithm
    logarithmic = parameter is not None and parameter.logarithmic and min(column) > 0
    bend, back = (math.log, math.exp) if logarithmic else (float, float)
    low, high = bend(min(column)), bend(max(column))
    if low == high:
        return _Axis(title, [0.5] * len(column), [(0.5, _short(column[0]))])
    places = [(bend(value) - low) / (high - low) for value in column]
    values = sorted(set(column))
    if len(values) <= 6:
        ticks = [((bend(value) - low) / (high - low), _short(value)) for value in values]
    else:
        ticks = [(k / 4, f"{back(low + k / 4 * (high - low)):.3g}") for k in range(5)]
    return _Axis(title + (" (log)" if logarithmic else ""), places, ticks)


def _lines(sweep: Sweep, trials: Sequence[Trial]) -> str:
    axes = [_axis(name, [t.parameters[name] for t in trials], known) for name, known in sweep.space.items()]
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
        f'style="max-width: none" role="img" aria-label="parallel coordinates" font-size="12" fill="#222">{_STYLE}'
    ]
    for x in xs:
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" stroke="#444"/>')
    # the best are drawn last, on top
    for rank in reversed(range(len(trials))):
        trial = trials[rank]
        points = " ".join(f"{x},{_y(axis.places[rank]):.1f}" for x, axis in zip(xs, axes, strict=True))
        shown = ", ".join(f"{name}={_short(value)}" for name, value in trial.parameters.items())
        opacity = 0.75 - 0.6 * rank / max(len(trials) - 1, 1)
        colour = f'"{_BEST}" style="stroke-width: 3.5"' if rank == 0 else f'"{_OTHER}" stroke-opacity="{opacity:.2f}"'
        tip = escape(f"trial {trial.number}: {sweep.metric} {trial.value:.4g}; {shown}")
        parts.append(f'<polyline points="{points}" stroke={colour}><title>{tip}</title></polyline>')
    for x, axis in zip(xs, axes, strict=True):
        parts.append(
            f'<text x="{x}" y="{_TOP - 20}" text-anchor="middle" font-weight="600">{escape(axis.title)}</text>'
        )
        above = math.inf
        for place, text in sorted(axis.ticks):
            if above - _y(place) >= _LINE:
                above = _y(place)
                parts.append(f'<text x="{x + 8}" y="{above + 4:.1f}">{escape(text)}</text>')
    return f'<div class="wide">{"".join(parts)}</svg></div>'


def _y(place: float) -> float:
    return _TOP + _HEIGHT * (1 - place)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)
