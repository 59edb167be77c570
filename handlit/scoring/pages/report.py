"""The HTML report of `score`: one file, readable offline and without scripts."""

import math
from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
from markupsafe import Markup

from handlit.scoring.official.error_statistics import CURVE_THRESHOLDS
from handlit.scoring.official.joint_errors import JointErrorKind, joint_errors
from handlit.scoring.official.measures import HEADLINES
from handlit.scoring.official.predicted_scale import ScaleCurve, scale_curve
from handlit.scoring.official.result_card import ResultCard
from handlit.scoring.pages.charts import ZERO_COLOUR, bar_chart, colour, dot_chart, line_chart, scatter_chart
from handlit.scoring.pages.gallery import GalleryRow
from handlit.scoring.pages.hand_chart import hand_chart
from handlit.scoring.pages.rendering import render
from handlit.scoring.scores import Difference, ScoredPrediction, Scores
from handlit.scoring.table import format_number
from handlit.skeleton import JOINTS, permutation

#: Kinds of error that are drawn, with the heading of the drawing.
_CURVES = {
    "joints_procrustes": "Joints, Procrustes-aligned",
    "joints_root": "Joints, wrist-aligned",
    "vertices_procrustes": "Mesh, Procrustes-aligned",
    "vertices_root": "Mesh, wrist-aligned",
}
_KINDS: dict[JointErrorKind, str] = {"joints_root": "wrist-aligned", "joints_procrustes": "Procrustes-aligned"}
_SEQUENCES = {"joints_root": "RA-MPJPE", "joints_procrustes": "PA-MPJPE", "vertices_procrustes": "PA-MPVPE"}
#: Groups of images by the number of their joints in view.
_NUM_GROUPS = 5


def render_report(scores: Scores, gallery: Sequence[GalleryRow] = ()) -> str:
    """The report as one HTML document.

    Args:
        scores: The scored predictions.
        gallery: Images; none leaves the gallery out.

    Returns:
        HTML text with inline style, inline SVG and images as data URIs; it refers to no other file.
    """
    truth = scores.ground_truth
    headlines, official, papers = scores.headline_table(), scores.official_table(), scores.paper_table()
    from_files = _from_files(scores)
    cards = [prediction.card or ResultCard() for prediction, _ in from_files]
    return render(
        "report",
        title=f"{truth.benchmark.title}: scores of {len(truth):,} images",
        scores=scores,
        colours=_colours(scores),
        headlines=headlines,
        official=official,
        papers=papers,
        shown=headlines.measures + official.measures,
        findings=[(p.label, finding) for p in scores.predictions for finding in p.findings],
        pairs=_pairs(scores),
        curves=_curve_charts(scores),
        **_joint_charts(scores),
        visibility=_visibility(scores),
        scale=_scale(scores),
        sequences=_sequences(scores),
        gallery=[
            (heading.format(scores.labels[0]), rows)
            for title, heading in (("worst", "Worst images of {}"), ("median", "Around the median of {}"))
            if (rows := [row for row in gallery if row.title == title])
        ],
        card_labels=[prediction.label for prediction, _ in from_files],
        cards=[
            ("file", [prediction.source for prediction, _ in from_files]),
            *(
                (item.name.replace("_", " "), [getattr(card, item.name) for card in cards])
                for item in fields(ResultCard)
            ),
        ],
    )


def _colours(scores: Scores) -> list[str]:
    return [ZERO_COLOUR if p.source is None else colour(i) for i, p in enumerate(scores.predictions)]


def _from_files(scores: Scores) -> list[tuple[ScoredPrediction, str]]:
    """The predictions that were read from files, with their colours."""
    return [(p, fill) for p, fill in zip(scores.predictions, _colours(scores), strict=True) if p.source]


def _pairs(scores: Scores) -> list[tuple[str, list[SimpleNamespace]]]:
    """Differences by pair, in the order of the headline numbers."""
    by_pair: dict[tuple[str, str], dict[str, Difference]] = {}
    for difference in scores.differences:
        by_pair.setdefault((difference.first, difference.second), {})[difference.measure.key] = difference
    return [
        (f"{second} − {first}", [_shown_difference(by_key.get(measure.key)) for measure in HEADLINES])
        for (first, second), by_key in by_pair.items()
    ]


def _shown_difference(difference: Difference | None) -> SimpleNamespace:
    if difference is None:
        return SimpleNamespace(value="–", ends="", is_clear=False)
    measure, estimate = difference.measure, difference.estimate
    ends = ""
    if estimate.interval is not None:
        ends = " to ".join(
            format_number(measure, end, sign=True) for end in (estimate.interval.low, estimate.interval.high)
        )
    return SimpleNamespace(
        value=format_number(measure, estimate.value, sign=True), ends=ends, is_clear=difference.is_clear
    )


def _curve_charts(scores: Scores) -> list[Markup]:
    thresholds = [float(1000 * threshold) for threshold in CURVE_THRESHOLDS]
    charts = []
    for kind, title in _CURVES.items():
        curves = [
            (p.label, fill, p.evaluation.errors[kind].curve().tolist())
            for p, fill in zip(scores.predictions, _colours(scores), strict=True)
            if kind in p.evaluation.errors
        ]
        charts.append(line_chart(title, "distance, mm", thresholds, curves))
    return charts


def _to_handlit(scores: Scores) -> list[int]:
    return permutation(scores.ground_truth.benchmark.joint_order, JOINTS)


def _joint_charts(scores: Scores) -> dict[str, list[Any]]:
    """Errors of the joints as drawn hands and as bars."""
    order = _to_handlit(scores)
    hands, bars = [], []
    for kind, title in _KINDS.items():
        groups = [
            (p.label, fill, (1000 * p.evaluation.errors[kind].per_point()[order]).tolist())
            for p, fill in _from_files(scores)
        ]
        largest = max((v for _, _, values in groups for v in values if math.isfinite(v)), default=0.0)
        hands.append((title, [hand_chart(label, fill, values, largest) for label, fill, values in groups]))
        bars.append(bar_chart(f"Joint error, {title}", "mm", JOINTS, groups))
    return {"hands_by_kind": hands, "bars": bars}


def _visibility(scores: Scores) -> SimpleNamespace | None:
    if scores.visible is None:
        return None
    charts = []
    for kind, title in _KINDS.items():
        rows = scores.visibility_table(kind).rows
        groups = [
            (p.label, fill, [math.nan if (e := row.cells[i].estimate) is None else e.value for row in rows])
            for i, (p, fill) in enumerate(_from_files(scores))
        ]
        charts.append(bar_chart(f"Joint error, {title}", "mm", [row.group for row in rows], groups))
    if (chart := _by_visible_count(scores, scores.visible)) is not None:
        charts.append(chart)
    share = scores.visible.mean(axis=0)[_to_handlit(scores)]
    hidden = sorted(zip(JOINTS, share, strict=True), key=lambda item: item[1])[:5]
    return SimpleNamespace(charts=charts, often_hidden=", ".join(f"{name} ({1 - value:.0%})" for name, value in hidden))


def _by_visible_count(scores: Scores, visible: np.ndarray) -> Markup | None:
    """Error of the whole hand against the number of its joints that are in view."""
    counts = visible.sum(axis=1)
    edges = np.unique(np.quantile(counts, np.linspace(0, 1, _NUM_GROUPS + 1)).round().astype(int))
    if len(edges) < 3:
        return None
    bins = np.clip(np.searchsorted(edges, counts, side="right") - 1, 0, len(edges) - 2)
    curves = []
    for prediction, fill in _from_files(scores):
        errors = 1000 * prediction.evaluation.errors["joints_root"].per_frame()
        points = [(float(counts[bins == b].mean()), float(errors[bins == b].mean())) for b in np.unique(bins)]
        curves.append((prediction.label, fill, points))
    return scatter_chart("Hands by joints in view", "joints in view, of 21", "RA-MPJPE, mm", curves)


def _scale(scores: Scores) -> SimpleNamespace | None:
    curves: list[tuple[str, str, ScaleCurve]] = []
    for prediction, fill in _from_files(scores):
        if prediction.joint_scale is not None:
            # the wrist is the origin: it has neither error nor scale
            errors = joint_errors(prediction.joints, scores.ground_truth.joints, "joints_root")[:, 1:]
            curves.append((prediction.label, fill, scale_curve(prediction.joint_scale[:, 1:], errors)))
    if not curves:
        return None
    points = [
        (label, fill, list(zip(curve.scale_mm.tolist(), curve.error_mm.tolist(), strict=True)))
        for label, fill, curve in curves
    ]
    return SimpleNamespace(
        chart=scatter_chart("Joints in ten groups by predicted scale", "predicted scale, mm", "error, mm", points),
        correlations="; ".join(f"{label}: {curve.rank_correlation:.2f}" for label, _, curve in curves),
    )


def _sequences(scores: Scores) -> SimpleNamespace | None:
    if scores.ground_truth.sequences is None:
        return None
    charts, tables = [], []
    for kind, title in _SEQUENCES.items():
        rows = scores.sequence_rows(kind)
        tables.append((title, rows))
        if kind.startswith("joints"):
            groups = [
                (p.label, fill, [values[i] for _, _, values in rows]) for i, (p, fill) in enumerate(_from_files(scores))
            ]
            charts.append(dot_chart(f"{title} by sequence", "mm", [name for name, _, _ in rows], groups))
    return SimpleNamespace(charts=charts, tables=tables)
