"""Small SVG charts as text: no library, no network, no script."""

import math
from collections.abc import Sequence
from html import escape

#: Distinct on white, also for most colour-blind readers (Okabe and Ito's palette, dark ones first).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
ZERO_COLOUR = "#999999"


def colour(position: int) -> str:
    """Colour of the prediction at a position; they repeat after seven."""
    return COLOURS[position % len(COLOURS)]


def line_chart(title: str, x_label: str, x: Sequence[float], curves: Sequence[tuple[str, str, Sequence[float]]]) -> str:
    """Curves with values in [0, 1].

    Args:
        title: Heading of the chart.
        x_label: Quantity and unit of the horizontal axis.
        x: Horizontal positions, increasing, from 0.
        curves: Label, colour and values of each curve.

    Returns:
        An ``<svg>`` element.
    """
    width, height, left, bottom, top = 360, 250, 40, 210, 24
    plot_width, plot_height = width - left - 10, bottom - top
    parts = [_open(width, height, title), _text(left, 14, title, weight="600")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - tick * plot_height
        parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(left - 6, y + 4, f"{tick:g}", anchor="end"))
    for tick in range(0, int(x[-1]) + 1, 10):
        parts.append(_text(left + tick / x[-1] * plot_width, bottom + 16, str(tick), anchor="middle"))
    parts.append(_text(left + plot_width / 2, height - 6, x_label, anchor="middle"))
    for label, stroke, values in curves:
        points = " ".join(
            f"{left + a / x[-1] * plot_width:.1f},{bottom - b * plot_height:.1f}"
            for a, b in zip(x, values, strict=True)
        )
        parts.append(
            f'<polyline fill="none" stroke="{stroke}" stroke-width="2" points="{points}">'
            f"<title>{escape(label)}</title></polyline>"
        )
    return "".join([*parts, "</svg>"])


def bar_chart(title: str, unit: str, names: Sequence[str], groups: Sequence[tuple[str, str, Sequence[float]]]) -> str:
    """Horizontal bars, one group per name.

    Args:
        title: Heading of the chart.
        unit: Unit of the values.
        names: Name of each group of bars.
        groups: Label, colour and one value per name; a value that is not finite has no bar.

    Returns:
        An ``<svg>`` element.
    """
    thickness = 11
    step = thickness * len(groups) + 6
    left, top, width = 80, 24, 560
    height = top + step * len(names) + 8
    largest = max((v for _, _, values in groups for v in values if math.isfinite(v)), default=0.0) or 1.0
    parts = [_open(width, height, title), _text(left, 14, f"{title}, {unit}", weight="600")]
    for row, name in enumerate(names):
        y = top + row * step
        parts.append(_text(left - 6, y + step / 2 + 2, name, anchor="end"))
        for number, (label, fill, values) in enumerate(groups):
            if not math.isfinite(values[row]):
                continue
            length = values[row] / largest * (width - left - 70)
            bar_y = y + number * thickness
            parts.append(
                f'<rect x="{left}" y="{bar_y}" width="{length:.1f}" height="{thickness - 1}" fill="{fill}">'
                f"<title>{escape(f'{label}: {values[row]:.2f} {unit}')}</title></rect>"
            )
            parts.append(_text(left + length + 4, bar_y + 9, f"{values[row]:.1f}", size=9))
    return "".join([*parts, "</svg>"])


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
