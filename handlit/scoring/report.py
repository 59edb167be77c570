"""The HTML report of a score board: one file, readable offline and without scripts."""

import math
from collections.abc import Sequence
from html import escape

from handlit.scoring.board import ZERO_LABEL, Row, ScoreBoard, format_value
from handlit.scoring.charts import ZERO_COLOUR, bar_chart, colour, line_chart
from handlit.scoring.error_statistics import CURVE_THRESHOLDS
from handlit.skeleton import JOINTS, ORDERS, permutation

#: Kinds of error that are drawn, with the heading of the drawing.
_CURVES = {
    "joints_procrustes": "Joints, Procrustes-aligned",
    "vertices_procrustes": "Mesh, Procrustes-aligned",
    "joints": "Joints, absolute",
    "vertices": "Mesh, absolute",
}
_SEQUENCES = {
    "joints_procrustes": "PA-MPJPE",
    "vertices_procrustes": "PA-MPVPE",
    "joints_root": "root-aligned MPJPE",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 70rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
td.ratio { color: #666; font-size: .85em; padding-left: 0; }
.wide { overflow-x: auto; } .charts { display: flex; flex-wrap: wrap; gap: 1rem; }
.key span { margin-right: 1.2rem; white-space: nowrap; } .key i { display: inline-block; width: .8rem; height: .8rem;
  margin-right: .35rem; vertical-align: -.08rem; }
.error { color: #a40000; } .warning { color: #7a5200; } small { color: #555; }
"""


def render_report(board: ScoreBoard) -> str:
    """The report as one HTML document.

    Args:
        board: The scored predictions.

    Returns:
        HTML text with inline style and inline SVG; it refers to no other file.
    """
    protocol = board.ground_truth.protocol
    title = f"{protocol.title}: scores of {len(board.ground_truth):,} images"
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Ground truth: {escape(str(board.ground_truth.source))}. Means over images; lower is better for lengths, "
        "higher for areas under the curve (AUC) and F-scores. The zero prediction is what knowing nothing scores. "
        "Box source, training data and test-time augmentation move results by as much as methods do: state them.</p>",
        _key(board),
        "<h2>Official numbers</h2>",
        _score_table(board, board.official_rows()),
        "<h2>As papers print them</h2>",
        "<p><small>pa_: Procrustes-aligned, mirror images admitted as in the official script; pa_…_proper: without "
        "mirror images; mirrored_share: share of images whose best fit is a mirror image.</small></p>",
        _score_table(board, board.paper_rows()),
        "<h2>Share of points within a distance</h2>",
        _curve_charts(board),
        "<h2>Error of each joint</h2>",
        _joint_chart(board),
        _sequence_tables(board),
        _findings(board),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, sections)) + "\n</body></html>\n"
    )


def _colours(board: ScoreBoard) -> list[str]:
    return [ZERO_COLOUR if p.source is None else colour(i) for i, p in enumerate(board.predictions)]


def _key(board: ScoreBoard) -> str:
    items = [
        f'<span><i style="background:{fill}"></i>{escape(prediction.label)}</span>'
        for prediction, fill in zip(board.predictions, _colours(board), strict=True)
    ]
    return f'<p class="key">{"".join(items)}</p>'


def _header(board: ScoreBoard, first: Sequence[str], span: int) -> str:
    cells = [f"<th>{escape(name)}</th>" for name in first]
    cells += [f'<th colspan="{span}">{escape(prediction.label)}</th>' for prediction in board.predictions]
    return f"<tr>{''.join(cells)}</tr>"


def _score_table(board: ScoreBoard, rows: Sequence[Row]) -> str:
    span = 2 if board.reference else 1
    lines = [_header(board, ["", "unit"], span)]
    for row in rows:
        cells = [f"<td>{escape(row.name)}</td><td>{row.unit}</td>"]
        ratios = board.ratio(row)
        for number, value in enumerate(row.values):
            text = format_value(row, value)
            cells.append(f"<td>{f'<b>{text}</b>' if value == row.best else text}</td>")
            if board.reference:
                ratio = ratios[number] if ratios else math.nan
                cells.append(f'<td class="ratio">{f"×{ratio:.2f}" if math.isfinite(ratio) else ""}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    note = f"<p><small>× is the ratio to {escape(board.reference)}.</small></p>" if board.reference else ""
    return f'<div class="wide"><table>{"".join(lines)}</table></div>{note}'


def _curve_charts(board: ScoreBoard) -> str:
    thresholds = [float(1000 * threshold) for threshold in CURVE_THRESHOLDS]
    charts = []
    for kind, title in _CURVES.items():
        curves = [
            (p.label, fill, p.evaluation.errors[kind].curve().tolist())
            for p, fill in zip(board.predictions, _colours(board), strict=True)
            if kind in p.evaluation.errors
        ]
        charts.append(line_chart(title, "distance, mm", thresholds, curves))
    return f'<div class="charts">{"".join(charts)}</div>'


def _joint_chart(board: ScoreBoard) -> str:
    order = permutation(ORDERS[board.ground_truth.protocol.joint_order], JOINTS)
    charts = []
    for kind, title in (("joints_procrustes", "Procrustes-aligned"), ("joints_root", "Wrist-aligned")):
        groups = [
            (p.label, fill, (1000 * p.evaluation.errors[kind].per_point()[order]).tolist())
            for p, fill in zip(board.predictions, _colours(board), strict=True)
            if p.label != ZERO_LABEL
        ]
        charts.append(bar_chart(title, "mm", JOINTS, groups))
    return f'<div class="charts">{"".join(charts)}</div>'


def _sequence_tables(board: ScoreBoard) -> str:
    if board.ground_truth.sequences is None:
        return ""
    tables = []
    for kind, title in _SEQUENCES.items():
        lines = [_header(board, ["sequence", "images"], 1)]
        for name, count, values in board.sequence_rows(kind):
            cells = "".join(f"<td>{f'{v:.2f}' if math.isfinite(v) else '–'}</td>" for v in values)
            lines.append(f"<tr><td>{escape(name)}</td><td>{count}</td>{cells}</tr>")
        tables.append(f'<h2>{title} by sequence, mm</h2><div class="wide"><table>{"".join(lines)}</table></div>')
    return "".join(tables)


def _findings(board: ScoreBoard) -> str:
    items = [
        f'<li class="{f.severity}">{escape(p.label)}: <b>{f.name}</b>: {escape(f.message)}. {escape(f.fix)}</li>'
        for p in board.predictions
        for f in p.findings
    ]
    return f"<h2>Findings</h2><ul>{''.join(items)}</ul>" if items else ""
