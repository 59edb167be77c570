"""The page of ``compare``: tested runs side by side, in numbers and in charts of their uncertainty."""

from collections.abc import Sequence
from html import escape

import numpy as np
import torch

from handlit.metrics.calibration import sparsification
from handlit.scoring.hypotheses.console import format_value, goal
from handlit.scoring.hypotheses.summary import SPLITS, Measure, Split, Summary, paired_interval
from handlit.scoring.pages.charts import bar_chart, colour, line_chart, scatter_chart
from handlit.scoring.pages.page import colour_key, page, section, small_print
from handlit.skeleton import JOINTS

#: Nominal shares at which actual coverage is drawn.
_SHARES = np.linspace(0, 1, 41)
#: Images are put together by their number of hidden joints, so many groups at most.
_OCCLUSION_GROUPS = 7


def render_comparison(summaries: Sequence[Summary]) -> str:
    """One HTML document.

    Args:
        summaries: Runs on the same images; differences are from the first.

    Returns:
        HTML text with inline style and inline SVG; it refers to no other file.
    """
    first = summaries[0]
    colours = [colour(position) for position in range(len(summaries))]
    labels = [summary.run.label for summary in summaries]
    sections = [
        section("All numbers", _table(summaries)),
        section("Reliability", _reliability(summaries, colours)),
        section("Risk and coverage", _risk(summaries, colours)),
        section("Diversity and occlusion", _diversity(summaries, colours)),
        section("Joint by joint", _by_joint(summaries, colours)),
        section("What the numbers are of", _settings(summaries)),
    ]
    return page(f"{len(first.run.keys):,} images, {len(summaries)} runs", colour_key(labels, colours), sections)


def _table(summaries: Sequence[Summary]) -> str:
    heads = "".join(f"<th>{escape(summary.run.label)}</th>" for summary in summaries)
    rows = []
    for measure in summaries[0].measures:
        for position, split in enumerate(measure.values):
            title = escape(measure.title) if position == 0 else ""
            cells = "".join(f"<td>{_cell(measure, summary, split)}</td>" for summary in summaries)
            rows.append(
                f'<tr><td class="text">{title}</td><td class="side">{split}</td>'
                f'<td class="side">{escape(measure.unit)}</td><td class="side">{goal(measure)}</td>{cells}</tr>'
            )
    head = f"<tr><th></th><th>joints</th><th>unit</th><th>good</th>{heads}</tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>' + small_print(
        f"±: half of a 95 % bootstrap interval over {summaries[0].unit}. *: differs from {summaries[0].run.label} "
        "beyond a paired 95 % interval on the same images. Every image weighs the same. The wrist is the origin: it "
        "counts neither as visible nor as occluded. Best-of-N alone rewards a method for being vague."
    )


def _cell(reference: Measure, summary: Summary, split: Split) -> str:
    measure = summary.get(reference.name)
    if measure is None:
        return "-"
    interval = paired_interval(reference, measure, split, summary.num_groups)
    clear = interval is not None and reference is not measure and (interval.low > 0 or interval.high < 0)
    return escape(format_value(measure, split)) + (" *" if clear else "")


def _reliability(summaries: Sequence[Summary], colours: Sequence[str]) -> str:
    """Actual against nominal coverage; the diagonal is calibrated."""
    charts = []
    for split in SPLITS:
        curves = [("calibrated", "#bbbbbb", _SHARES.tolist())]
        for summary, fill in zip(summaries, colours, strict=True):
            ranks = summary.pooled("rank", split)
            if len(ranks):
                covered = np.searchsorted(np.sort(ranks), _SHARES, side="right") / len(ranks)
                covered[0] = 0.0
                curves.append((summary.run.label, fill, covered.tolist()))
        if len(curves) > 1:
            charts.append(line_chart(f"Coverage, {split} joints", "nominal share", _SHARES.tolist(), curves))
    return _charts(charts) + small_print(
        "Share of joints inside the region, around the median of the hypotheses, that is to hold a nominal share of "
        "them. Below the diagonal a method is over-confident."
    )


def _risk(summaries: Sequence[Summary], colours: Sequence[str]) -> str:
    """Mean error of the joints that a method is surest of, against how many of them."""
    charts = []
    for split in SPLITS:
        curves = []
        for summary, fill in zip(summaries, colours, strict=True):
            columns = summary.run.columns
            known = summary.masks[split] & np.isfinite(columns["error_mode_mm"]) & np.isfinite(columns["scale_mm"])
            if known.sum() < 2:
                continue
            errors, scales = (torch.from_numpy(columns[name][known]) for name in ("error_mode_mm", "scale_mm"))
            risk = sparsification(errors, scales, steps=20).tolist()
            points = [((20 - step) / 20, value) for step, value in enumerate(risk)]
            curves.append((summary.run.label, fill, points[::-1]))
        if curves:
            charts.append(scatter_chart(f"Error of the surest joints, {split}", "share kept", "mm", curves))
    return _charts(charts) + small_print(
        "Joints are taken away in the order of their stated standard deviation, the most uncertain first. A curve that "
        "falls to the left says that a method knows where it is wrong."
    )


def _diversity(summaries: Sequence[Summary], colours: Sequence[str]) -> str:
    """Spread of the hypotheses against the number of hidden joints in the image."""
    visible = summaries[0].run.columns["visible"]
    if (visible < 0).all():
        return ""
    hidden = (visible[:, 1:] == 0).sum(1)
    edges = np.unique(np.quantile(hidden, np.linspace(0, 1, _OCCLUSION_GROUPS + 1)).round())
    charts = []
    for name, unit in (("spread_mm", "mm"), ("spread_px", "px")):
        for split in ("visible", "occluded"):
            curves = []
            for summary, fill in zip(summaries, colours, strict=True):
                values = np.where(summary.masks[split], summary.run.columns[name], np.nan)
                points = _group_means(hidden, values, edges)
                if points:
                    curves.append((summary.run.label, fill, points))
            if curves:
                title = f"Spread of {split} joints in {'space' if unit == 'mm' else 'the image'}"
                charts.append(scatter_chart(title, "hidden joints in the image", unit, curves))
    return _charts(charts) + small_print(
        "Hypotheses should agree on what is seen and differ on what is hidden, more so the more is hidden."
    )


def _group_means(groups: np.ndarray, values: np.ndarray, edges: np.ndarray) -> list[tuple[float, float]]:
    """Mean group number and mean value of the images between edges, where there is one."""
    points = []
    bins = np.searchsorted(edges, groups, side="right").clip(1, max(1, len(edges) - 1))
    for number in np.unique(bins):
        rows = bins == number
        inside = values[rows][np.isfinite(values[rows])]
        if len(inside):
            points.append((float(groups[rows].mean()), float(inside.mean())))
    return points


def _by_joint(summaries: Sequence[Summary], colours: Sequence[str]) -> str:
    charts = []
    for name, title in (("error_mode_mm", "Error of the point estimate"), ("spread_mm", "Spread of the hypotheses")):
        groups = [
            (summary.run.label, fill, summary.by_joint(name).tolist())
            for summary, fill in zip(summaries, colours, strict=True)
        ]
        charts.append(bar_chart(title, "mm", JOINTS, groups))
    return _charts(charts)


def _settings(summaries: Sequence[Summary]) -> str:
    names = list(dict.fromkeys(name for summary in summaries for name in summary.run.settings))
    head = "".join(f"<th>{escape(summary.run.label)}</th>" for summary in summaries)
    rows = []
    for name in names:
        cells = "".join(f'<td class="text">{escape(str(s.run.settings.get(name, "-")))}</td>' for s in summaries)
        rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _charts(charts: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>'
