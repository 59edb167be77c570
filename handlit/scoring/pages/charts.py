"""Small SVG charts as text: no library, no network, no script."""

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

#: Distinct on white, also for most colour-blind readers (Okabe and Ito's palette, dark ones first).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
ZERO_COLOUR = "#999999"


def colour(position: int) -> str:
    """Colour of the prediction at a position; they repeat after seven."""
    return COLOURS[position % len(COLOURS)]


def line_chart(
    title: str, x_label: str, x: Sequence[float], curves: Sequence[tuple[str, str, Sequence[float]]]
) -> Markup:
    """Curves with values in [0, 1].

    Args:
        title: Heading of the chart.
        x_label: Quantity and unit of the horizontal axis.
        x: Horizontal positions, increasing, from 0.
        curves: Label, colour and values of each curve.

    Returns:
        An ``<svg>`` element.
    """
    points = [(label, stroke, list(zip(x, values, strict=True))) for label, stroke, values in curves]
    return _plot(title, x_label, "share", x[-1], 1.0, points, marks=False)


def scatter_chart(
    title: str, x_label: str, y_label: str, curves: Sequence[tuple[str, str, Sequence[tuple[float, float]]]]
) -> Markup:
    """Marked points joined by lines, both axes from 0.

    Args:
        title: Heading of the chart.
        x_label: Quantity and unit of the horizontal axis.
        y_label: Of the vertical axis.
        curves: Label, colour and points (x, y) of each curve, with x ascending.

    Returns:
        An ``<svg>`` element.
    """
    right = max((x for *_, points in curves for x, _ in points), default=1.0) or 1.0
    top = max((y for *_, points in curves for _, y in points), default=1.0) or 1.0
    return _plot(title, x_label, y_label, 1.05 * right, 1.05 * top, curves, marks=True)


def _plot(
    title: str,
    x_label: str,
    y_label: str,
    right: float,
    top: float,
    curves: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    marks: bool,
) -> Markup:
    width, height, x_0, y_0, y_1 = 480, 262, 48, 218, 30
    plot_width, plot_height = width - x_0 - 12, y_0 - y_1
    parts = [_open(width, height, title), _text(4, 14, title, weight="600")]
    for tick in _ticks(top):
        y = y_0 - tick / top * plot_height
        parts.append(f'<line x1="{x_0}" x2="{width - 12}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e2e2"/>')
        parts.append(_text(x_0 - 6, y + 4, f"{tick:g}", anchor="end"))
    for tick in _ticks(right):
        parts.append(_text(x_0 + tick / right * plot_width, y_0 + 16, f"{tick:g}", anchor="middle"))
    parts.append(_text(x_0 + plot_width / 2, height - 8, x_label, anchor="middle"))
    parts.append(
        f'<text transform="rotate(-90)" x="{-(y_0 + y_1) / 2:.1f}" y="11" text-anchor="middle">{escape(y_label)}</text>'
    )
    for label, stroke, points in curves:
        places = [(x_0 + x / right * plot_width, y_0 - y / top * plot_height) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline fill="none" stroke="{stroke}" stroke-width="2" points="{line}">'
            f"<title>{escape(label)}</title></polyline>"
        )
        if marks:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{stroke}">'
                f"<title>{escape(f'{label}: {a:.2f}, {b:.2f}')}</title></circle>"
                for (x, y), (a, b) in zip(places, points, strict=True)
            ]
    return Markup("".join([*parts, "</svg>"]))


def dot_chart(
    title: str,
    unit: str,
    names: Sequence[str],
    groups: Sequence[tuple[str, str, Sequence[float]]],
) -> Markup:
    """One line per name with a dot per group: many names on little room.

    Args:
        title: Heading of the chart.
        unit: Unit of the values.
        names: Of the lines.
        groups: Label, colour and one value per name; a value that is not finite has no dot.

    Returns:
        An ``<svg>`` element.
    """
    left, top, width, step = 92, 30, 480, 18
    bottom = top + step * len(names)
    height = bottom + 22
    largest = 1.05 * (max((v for _, _, values in groups for v in values if math.isfinite(v)), default=0.0) or 1.0)
    span = width - left - 14
    parts = [_open(width, height, title), _text(4, 14, f"{title}, {unit}", weight="600")]
    for tick in _ticks(largest):
        x = left + tick / largest * span
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#e2e2e2"/>')
        parts.append(_text(x, bottom + 14, f"{tick:g}", anchor="middle"))
    for row, name in enumerate(names):
        y = top + (row + 0.5) * step
        known = [values[row] for _, _, values in groups if math.isfinite(values[row])]
        parts.append(_text(left - 8, y + 4, name, anchor="end"))
        if known:
            ends = [left + value / largest * span for value in (min(known), max(known))]
            parts.append(
                f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#bbb" '
                'stroke-width="2"/>'
            )
        for label, fill, values in groups:
            if math.isfinite(values[row]):
                parts.append(
                    f'<circle cx="{left + values[row] / largest * span:.1f}" cy="{y:.1f}" r="5" fill="{fill}">'
                    f"<title>{escape(f'{name}, {label}: {values[row]:.2f} {unit}')}</title></circle>"
                )
    return Markup("".join([*parts, "</svg>"]))


def _ticks(largest: float, count: int = 5) -> list[float]:
    """Round numbers from 0 to at most the largest, about ``count`` steps."""
    raw = largest / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.999 * raw)
    return [number * step for number in range(int(largest / step + 1e-9) + 1)]


def bar_chart(
    title: str, unit: str, names: Sequence[str], groups: Sequence[tuple[str, str, Sequence[float]]]
) -> Markup:
    """Horizontal bars, one group per name.

    Args:
        title: Heading of the chart.
        unit: Unit of the values.
        names: Name of each group of bars.
        groups: Label, colour and one value per name; a value that is not finite has no bar.

    Returns:
        An ``<svg>`` element.
    """
    thickness = 13
    step = thickness * len(groups) + 10
    left, top, width = 128, 26, 480
    height = top + step * len(names) + 4
    largest = max((v for _, _, values in groups for v in values if math.isfinite(v)), default=0.0) or 1.0
    parts = [_open(width, height, title), _text(4, 14, f"{title}, {unit}", weight="600")]
    for row, name in enumerate(names):
        y = top + row * step
        parts.append(_text(left - 8, y + (step - 10) / 2 + 4, name, anchor="end"))
        for number, (label, fill, values) in enumerate(groups):
            if not math.isfinite(values[row]):
                continue
            length = values[row] / largest * (width - left - 60)
            bar_y = y + number * thickness
            parts.append(
                f'<rect x="{left}" y="{bar_y}" width="{length:.1f}" height="{thickness - 2}" rx="2" fill="{fill}">'
                f"<title>{escape(f'{label}: {values[row]:.2f} {unit}')}</title></rect>"
            )
            parts.append(_text(left + length + 5, bar_y + 9.5, f"{values[row]:.1f}", size=10))
    return Markup("".join([*parts, "</svg>"]))


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-size="11" fill="#222">'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "400", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
