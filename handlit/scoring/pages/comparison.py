"""The page of ``compare``: tested runs side by side, in numbers and in charts of their uncertainty."""

from collections.abc import Sequence

import numpy as np
import torch
from markupsafe import Markup

from handlit.metrics.calibration import sparsification
from handlit.scoring.hypotheses.summary import SPLITS, Summary, comparison_table
from handlit.scoring.pages.charts import bar_chart, colour, line_chart, scatter_chart
from handlit.scoring.pages.rendering import render
from handlit.skeleton import JOINTS

#: Nominal shares at which actual coverage is drawn.
_SHARES = np.linspace(0, 1, 41)
#: Images are grouped by their number of hidden joints, into at most this many groups.
_MAX_GROUPS = 7
#: Shares of the joints at which the risk is drawn.
_RISK_STEPS = 20
#: Drawn beside the curves of coverage: what a calibrated method has.
_CALIBRATED = ("calibrated", "#bbbbbb", _SHARES.tolist())


def render_comparison(summaries: Sequence[Summary]) -> str:
    """One HTML document.

    Args:
        summaries: Runs on the same images; differences are from the first.

    Returns:
        HTML text with inline style and inline SVG; it refers to no other file.
    """
    table = comparison_table(summaries)
    colours = [colour(position) for position in range(len(summaries))]
    runs = list(zip(summaries, table.heads, colours, strict=True))
    names = dict.fromkeys(name for summary in summaries for name in summary.run.settings)
    return render(
        "comparison",
        title=f"{table.title}, {len(summaries)} runs",
        table=table,
        colours=colours,
        shown=table.measures,
        reliability=_reliability(runs),
        risk=_risk(runs),
        diversity=_diversity(runs),
        by_joint=[
            bar_chart(
                title, "mm", JOINTS, [(label, fill, summary.by_joint(key).tolist()) for summary, label, fill in runs]
            )
            for key, title in (
                ("error_mode_mm", "Error of the point estimate"),
                ("spread_mm", "Spread of the hypotheses"),
            )
        ],
        settings=[(name, [summary.run.settings.get(name) for summary in summaries]) for name in names],
    )


_Runs = Sequence[tuple[Summary, str, str]]


def _reliability(runs: _Runs) -> list[Markup]:
    """Actual against nominal coverage; the diagonal is calibrated."""
    charts = []
    for split in SPLITS:
        curves = [_CALIBRATED]
        for summary, label, fill in runs:
            (ranks,) = summary.pooled("rank", split=split)
            if len(ranks):
                covered = np.searchsorted(np.sort(ranks), _SHARES, side="right") / len(ranks)
                covered[0] = 0.0
                curves.append((label, fill, covered.tolist()))
        if len(curves) > 1:
            charts.append(line_chart(f"Coverage, {split} joints", "nominal share", _SHARES.tolist(), curves))
    return charts


def _risk(runs: _Runs) -> list[Markup]:
    """Mean error of the joints that a method is surest of, against their share."""
    charts = []
    for split in SPLITS:
        curves = []
        for summary, label, fill in runs:
            errors, scales = map(torch.from_numpy, summary.pooled("error_mode_mm", "scale_mm", split=split))
            if len(errors) > 1:
                risk = sparsification(errors, scales, steps=_RISK_STEPS).tolist()
                points = [((_RISK_STEPS - step) / _RISK_STEPS, value) for step, value in enumerate(risk)]
                curves.append((label, fill, points[::-1]))
        if curves:
            charts.append(scatter_chart(f"Error of the surest joints, {split}", "share kept", "mm", curves))
    return charts


def _diversity(runs: _Runs) -> list[Markup]:
    """Spread of the hypotheses against the number of hidden joints in the image."""
    visible = runs[0][0].run.columns["visible"]
    if (visible < 0).all():
        return []
    hidden = (visible[:, 1:] == 0).sum(1)
    edges = np.unique(np.quantile(hidden, np.linspace(0, 1, _MAX_GROUPS + 1)).round())
    charts = []
    for key, unit, where in (("spread_mm", "mm", "space"), ("spread_px", "px", "the image")):
        for split in SPLITS[1:]:
            curves = []
            for summary, label, fill in runs:
                values = np.where(summary.masks[split], summary.run.columns[key], np.nan)
                if points := _group_means(hidden, values, edges):
                    curves.append((label, fill, points))
            if curves:
                title = f"Spread of {split} joints in {where}"
                charts.append(scatter_chart(title, "hidden joints in the image", unit, curves))
    return charts


def _group_means(groups: np.ndarray, values: np.ndarray, edges: np.ndarray) -> list[tuple[float, float]]:
    """Mean group number and mean value of the images between edges, where there is one."""
    points = []
    bins = np.searchsorted(edges, groups, side="right").clip(1, max(1, len(edges) - 1))
    for number in np.unique(bins):
        rows = bins == number
        known = values[rows][np.isfinite(values[rows])]
        if len(known):
            points.append((float(groups[rows].mean()), float(known.mean())))
    return points
