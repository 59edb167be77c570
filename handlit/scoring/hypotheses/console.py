"""Tables of hypothesis measures for a terminal: one run by visibility, several runs side by side."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from handlit.scoring.hypotheses.summary import SPLITS, Measure, Split, Summary, paired_interval


def format_value(measure: Measure, split: Split) -> str:
    """A number of a split, with half its interval's width; a dash where there is none."""
    if split not in measure.values:
        return "-"
    value = measure.values[split]
    digits = 3 if measure.unit in ("", "px/mm", "nats") else 2
    text = f"{value:.{digits}f}"
    interval = measure.intervals.get(split)
    return text if interval is None else f"{text} ±{(interval.high - interval.low) / 2:.{digits}f}"


def goal(measure: Measure) -> str:
    """What is good, in a word."""
    if isinstance(measure.target, float):
        return f"{measure.target:.2f}"
    return measure.target or ""


def print_summary(summary: Summary, console: Console) -> None:
    """Print everything of one run, by visibility."""
    run = summary.run
    settings = ", ".join(f"{name} {value}" for name, value in run.settings.items())
    table = Table(title=f"{run.label}: {len(run.keys)} images, {settings}", title_justify="left")
    for heading in ("", "unit", "good", *SPLITS):
        table.add_column(heading, justify="right" if heading in SPLITS else "left")
    for measure in summary.measures:
        if measure.values:
            cells = (format_value(measure, split) for split in SPLITS)
            table.add_row(measure.title, measure.unit, goal(measure), *cells)
    console.print(table)
    console.print(
        f"± half of a 95 % bootstrap interval over {summary.unit}; every image weighs the same; the wrist, which is "
        "the origin, counts neither as visible nor as occluded"
    )


def print_comparison(summaries: Sequence[Summary], console: Console) -> None:
    """Print several runs side by side; differences from the first that are beyond chance are marked with a star."""
    first = summaries[0]
    table = Table(title=f"{len(first.run.keys)} images", title_justify="left")
    for heading in ("", "unit", "joints", "good"):
        table.add_column(heading)
    for summary in summaries:
        table.add_column(summary.run.label, justify="right")
    for measure in first.measures:
        for split in measure.values:
            others = (_cell(measure, summary, split) for summary in summaries[1:])
            table.add_row(measure.title, measure.unit, split, goal(measure), format_value(measure, split), *others)
    console.print(table)
    console.print(f"* differs from {first.run.label} beyond a paired 95 % bootstrap interval over {first.unit}")


def _cell(reference: Measure, summary: Summary, split: Split) -> str:
    measure = summary.get(reference.name)
    if measure is None:
        return "-"
    interval = paired_interval(reference, measure, split, summary.num_groups)
    clear = interval is not None and (interval.low > 0 or interval.high < 0)
    return format_value(measure, split) + (" *" if clear else "")
