"""The HTML report of a score board: one file, readable offline and without scripts."""

import math
from collections.abc import Sequence
from dataclasses import fields
from html import escape

import numpy as np

from handlit.scoring.board import HEADLINES, Row, ScoreBoard, ScoredPrediction, format_interval, format_value
from handlit.scoring.bootstrap import NUM_DRAWS
from handlit.scoring.official.error_statistics import CURVE_THRESHOLDS
from handlit.scoring.official.joint_errors import JointErrorKind, joint_errors
from handlit.scoring.official.predicted_scale import ScaleCurve, scale_curve
from handlit.scoring.official.result_card import ResultCard
from handlit.scoring.pages.charts import ZERO_COLOUR, bar_chart, colour, dot_chart, line_chart, scatter_chart
from handlit.scoring.pages.gallery import GalleryRow
from handlit.scoring.pages.hand_chart import hand_chart
from handlit.scoring.pages.page import colour_key, page, section, small_print
from handlit.skeleton import JOINTS, ORDERS, permutation

#: Kinds of error that are drawn, with the heading of the drawing.
_CURVES = {
    "joints_procrustes": "Joints, Procrustes-aligned",
    "joints_root": "Joints, wrist-aligned",
    "vertices_procrustes": "Mesh, Procrustes-aligned",
    "vertices_root": "Mesh, wrist-aligned",
}
_KINDS: dict[JointErrorKind, str] = {"joints_root": "wrist-aligned", "joints_procrustes": "Procrustes-aligned"}
_SEQUENCES = {"joints_root": "RA-MPJPE", "joints_procrustes": "PA-MPJPE", "vertices_procrustes": "PA-MPVPE"}


def render_report(board: ScoreBoard, gallery: Sequence[GalleryRow] = ()) -> str:
    """The report as one HTML document.

    Args:
        board: The scored predictions.
        gallery: Pictures; none leaves the gallery out.

    Returns:
        HTML text with inline style, inline SVG and pictures as data URIs; it refers to no other file.
    """
    truth = board.ground_truth
    title = f"{truth.protocol.title}: scores of {len(truth):,} images"
    sections = [
        section("Headline numbers", _headlines(board)),
        section("Findings", _findings(board)),
        section("Pairs of predictions", _differences(board)),
        section("Share of points within a distance", _curve_charts(board)),
        section("Error of each joint", _joint_charts(board)),
        section("Joints in view and hidden joints", _visibility(board)),
        section("Error against predicted scale", _scales(board)),
        section("Sequences", _sequences(board)),
        section("Worst and median images", _gallery(board, gallery)),
        section("All numbers", _all_numbers(board)),
        section("How the predictions were made", _cards(board)),
    ]
    source = small_print(f"Ground truth: {truth.source}")
    return page(title, f"{source}{_key(board)}", sections)


def _colours(board: ScoreBoard) -> list[str]:
    return [ZERO_COLOUR if p.source is None else colour(i) for i, p in enumerate(board.predictions)]


def _read(board: ScoreBoard) -> list[tuple[ScoredPrediction, str]]:
    """The predictions that were read from files, with their colours."""
    return [(p, fill) for p, fill in zip(board.predictions, _colours(board), strict=True) if p.source]


def _key(board: ScoreBoard) -> str:
    return colour_key([prediction.label for prediction in board.predictions], _colours(board))


def _headlines(board: ScoreBoard) -> str:
    notes = "RA: put wrist on wrist. PA: Procrustes-aligned, mirror images admitted as in the official script. "
    notes += "F-scores are Procrustes-aligned. "
    if board.bootstrap.num_groups > 1:
        notes += (
            f"Small print: 95 % bootstrap intervals over {board.bootstrap.num_groups:,} {board.bootstrap.unit} "
            f"({NUM_DRAWS:,} draws)"
        )
    else:
        notes += "All images are of one sequence, so nothing can be said about other sequences: no intervals"
    notes += f"; × is the ratio to {board.reference}. " if board.reference else ". "
    notes += (
        "The zero prediction is what knowing nothing scores. Box source, training data and test-time augmentation move "
        "results by as much as methods do: state them."
    )
    return _score_table(board, board.headline_rows, "head") + small_print(notes)


def _score_table(board: ScoreBoard, rows: Sequence[Row], style: str = "") -> str:
    has_intervals = any(row.intervals for row in rows)
    span = 1 + has_intervals + bool(board.reference)
    cells = [
        f'<th colspan="{span}" style="text-align:left;padding-left:1.2rem">'
        f'<i style="background:{fill}"></i>{escape(prediction.label)}</th>'
        for prediction, fill in zip(board.predictions, _colours(board), strict=True)
    ]
    lines = [f"<tr><th></th>{''.join(cells)}</tr>"]
    for row in rows:
        cells = [f'<td>{escape(row.name)} <span class="unit">{row.unit}</span></td>']
        ratios = board.ratio(row)
        for number, (value, prediction) in enumerate(zip(row.values, board.predictions, strict=True)):
            text = format_value(row, value)
            cells.append(f"<td>{f'<b>{text}</b>' if value == row.best else text}</td>")
            if has_intervals:
                interval = row.intervals[number] if row.intervals and prediction.source else None
                cells.append(f'<td class="side">{format_interval(row, interval)}</td>')
            if board.reference:
                is_other = prediction.source is not None and prediction.label != board.reference
                ratio = ratios[number] if ratios and is_other else math.nan
                cells.append(f'<td class="side">{f"×{ratio:.2f}" if math.isfinite(ratio) else ""}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table class="{style}">{"".join(lines)}</table></div>'


def _differences(board: ScoreBoard) -> str:
    if not board.differences:
        return ""
    pairs = list(dict.fromkeys((d.first, d.second) for d in board.differences))
    header = "".join(f"<th>{escape(headline.name)}</th>" for headline in HEADLINES)
    lines = [f"<tr><th></th>{header}</tr>"]
    for first, second in pairs:
        by_key = {d.key: d for d in board.differences if (d.first, d.second) == (first, second)}
        cells = [f"<td>{escape(second)} − {escape(first)}</td>"]
        for headline in HEADLINES:
            difference = by_key.get(headline.key)
            if difference is None:
                cells.append("<td>–</td>")
                continue
            digits = 2 if difference.unit else 3
            text = f"{difference.value:+.{digits}f}"
            if difference.interval is not None:
                ends = f"{difference.interval.low:+.{digits}f} to {difference.interval.high:+.{digits}f}"
                text = f'{f"<b>{text}</b>" if difference.is_clear else text}<br><span class="unit">{ends}</span>'
            cells.append(f"<td>{text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    note = (
        "Differences on the same images, with paired bootstrap intervals (both predictions see the same draws). Bold: "
        "the interval leaves out zero. Not corrected for the number of pairs."
    )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>{small_print(note)}'


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


def _to_handlit(board: ScoreBoard) -> list[int]:
    return permutation(ORDERS[board.ground_truth.protocol.joint_order], JOINTS)


def _joint_charts(board: ScoreBoard) -> str:
    order = _to_handlit(board)
    drawings, bars = [], []
    for kind, title in _KINDS.items():
        groups = [
            (p.label, fill, (1000 * p.evaluation.errors[kind].per_point()[order]).tolist()) for p, fill in _read(board)
        ]
        largest = max((v for _, _, values in groups for v in values if math.isfinite(v)), default=0.0)
        hands = "".join(hand_chart(label, fill, values, largest) for label, fill, values in groups)
        drawings.append(f'<div><h3>{title}, mm</h3><div class="charts">{hands}</div></div>')
        bars.append(bar_chart(f"Joint error, {title}", "mm", JOINTS, groups))
    note = small_print(
        "Back of a right hand. Discs grow and darken with the error; hands of one alignment share a scale."
    )
    details = f'<details><summary>As bars</summary><div class="charts">{"".join(bars)}</div></details>'
    return f'<div class="charts">{"".join(drawings)}</div>{small_print(note)}{details}'


def _visibility(board: ScoreBoard) -> str:
    if board.visible is None:
        return ""
    charts = []
    for kind, title in _KINDS.items():
        rows = board.visibility_rows(kind)
        groups = [
            (p.label, fill, [row.values[i] for row in rows])
            for i, (p, fill) in enumerate(zip(board.predictions, _colours(board), strict=True))
            if p.source
        ]
        charts.append(bar_chart(f"Joint error, {title}", "mm", [row.name for row in rows], groups))
    order = _to_handlit(board)
    share = board.visible.mean(axis=0)[order]
    hidden = sorted(zip(JOINTS, share, strict=True), key=lambda item: item[1])[:5]
    often = ", ".join(f"{name} ({1 - value:.0%})" for name, value in hidden)
    note = (
        "A joint is in view if at least half of the skin before it is: neither the hand nor the object (where its "
        f"mesh is at hand) is in front of it. Most often hidden: {often}. Without the wrist."
    )
    return f'<div class="charts">{"".join(charts)}{_by_visible_count(board, board.visible)}</div>{small_print(note)}'


def _by_visible_count(board: ScoreBoard, visible: np.ndarray) -> str:
    """Error of the whole hand against the number of its joints that are in view."""
    counts = visible.sum(axis=1)
    edges = np.unique(np.quantile(counts, np.linspace(0, 1, 6)).round().astype(int))
    if len(edges) < 3:
        return ""
    bins = np.clip(np.searchsorted(edges, counts, side="right") - 1, 0, len(edges) - 2)
    curves = []
    for prediction, fill in _read(board):
        errors = 1000 * prediction.evaluation.errors["joints_root"].per_frame()
        points = [
            (float(counts[bins == b].mean()), float(errors[bins == b].mean()))
            for b in range(len(edges) - 1)
            if (bins == b).any()
        ]
        curves.append((prediction.label, fill, points))
    return scatter_chart("Hands by joints in view", "joints in view, of 21", "RA-MPJPE, mm", curves)


def _scales(board: ScoreBoard) -> str:
    curves: list[tuple[ScoredPrediction, str, ScaleCurve]] = []
    for prediction, fill in _read(board):
        if prediction.joint_scale is not None:
            # the wrist is the origin: it has neither error nor scale
            errors = joint_errors(prediction.joints, board.ground_truth.joints, "joints_root")[:, 1:]
            curves.append((prediction, fill, scale_curve(prediction.joint_scale[:, 1:], errors)))
    if not curves:
        return ""
    points = [
        (p.label, fill, list(zip(curve.scale_mm.tolist(), curve.error_mm.tolist(), strict=True)))
        for p, fill, curve in curves
    ]
    chart = scatter_chart("Joints in ten groups by predicted scale", "predicted scale, mm", "error, mm", points)
    ranks = "; ".join(f"{p.label}: {curve.rank_correlation:.2f}" for p, _, curve in curves)
    note = (
        f"Wrist-aligned, without the wrist. Rank correlation of scale and error over all joints: {ranks}. A scale that "
        "knows the errors rises from left to right; 0 says nothing, 1 is a perfect order."
    )
    return f'<div class="charts">{chart}</div>{small_print(note)}'


def _sequences(board: ScoreBoard) -> str:
    if board.ground_truth.sequences is None:
        return ""
    charts, tables = [], []
    header = "".join(f"<th>{escape(prediction.label)}</th>" for prediction in board.predictions)
    for kind, title in _SEQUENCES.items():
        rows = board.sequence_rows(kind)
        if kind.startswith("joints"):
            groups = [
                (p.label, fill, [values[i] for _, _, values in rows])
                for i, (p, fill) in enumerate(zip(board.predictions, _colours(board), strict=True))
                if p.source
            ]
            charts.append(dot_chart(f"{title} by sequence", "mm", [name for name, _, _ in rows], groups))
        lines = [f"<tr><th>sequence</th><th>images</th>{header}</tr>"]
        for name, count, values in rows:
            cells = "".join(f"<td>{f'{v:.2f}' if math.isfinite(v) else '–'}</td>" for v in values)
            lines.append(f"<tr><td>{escape(name)}</td><td>{count}</td>{cells}</tr>")
        table = f'<div class="wide"><table>{"".join(lines)}</table></div>'
        tables.append(f"<details><summary>{title} by sequence, mm</summary>{table}</details>")
    return f'<div class="charts">{"".join(charts)}</div>{"".join(tables)}'


def _gallery(board: ScoreBoard, gallery: Sequence[GalleryRow]) -> str:
    if not gallery:
        return ""
    columns = list(gallery[0].pictures)
    ranked = board.predictions[0].label
    content = []
    for title, heading in (("worst", f"Worst images of {ranked}"), ("median", f"Around the median of {ranked}")):
        rows = [row for row in gallery if row.title == title]
        if not rows:
            continue
        cells = [f"<div><b>{escape(column)}</b></div>" for column in columns]
        for row in rows:
            cells.append(f'<div class="name">{escape(row.name)}</div>')
            for column in columns:
                alt = escape(f"{row.name}: {column}")
                error = f"{row.errors_mm[column]:.1f} mm" if column in row.errors_mm else ""
                cells.append(f'<div><img alt="{alt}" src="{row.pictures[column]}">{error}</div>')
        grid = f"grid-template-columns:repeat({len(columns)},minmax(0,220px))"
        content.append(f'<h3>{escape(heading)}</h3><div class="shots" style="{grid}">{"".join(cells)}</div>')
    note = (
        "RA-MPJPE below each picture. The worst are taken from different sequences. Hands are drawn where predicted: "
    )
    return "".join(content) + small_print(note + "at the given root, in the camera of the image.")


def _all_numbers(board: ScoreBoard) -> str:
    note = "pa_…_proper: Procrustes without mirror images; mirrored_share: images whose best fit is a mirror image."
    return (
        f"<h3>Official, as in scores.txt</h3>{_score_table(board, board.official_rows())}"
        f"<h3>As papers print them</h3>{_score_table(board, board.paper_rows())}{small_print(note)}"
    )


def _cards(board: ScoreBoard) -> str:
    cards = [(p, p.card or ResultCard()) for p, _ in _read(board)]
    header = "".join(f'<th style="text-align:left">{escape(p.label)}</th>' for p, _ in cards)
    lines = [f"<tr><th></th>{header}</tr>"]
    facts: list[tuple[str, list[object]]] = [("file", [p.source for p, _ in cards])]
    facts += [
        (item.name.replace("_", " "), [getattr(card, item.name) for _, card in cards]) for item in fields(ResultCard)
    ]
    for name, values in facts:
        cells = [f'<td class="text"><code>{"–" if v is None else escape(str(v))}</code></td>' for v in values]
        lines.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}</tr>")
    note = "From pred.card.json beside each file; a dash is not known, and a comparison without it says little."
    return f'<div class="wide"><table>{"".join(lines)}</table></div>{small_print(note)}'


def _findings(board: ScoreBoard) -> str:
    items = [
        f'<li class="{f.severity}">{escape(p.label)}: <b>{f.name}</b>: {escape(f.message)}. {escape(f.fix)}</li>'
        for p in board.predictions
        for f in p.findings
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""
