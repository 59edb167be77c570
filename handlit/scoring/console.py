"""Prints scores so that they fit the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from handlit.findings import Finding
from handlit.scoring.scores import Difference, Scores
from handlit.scoring.table import format_number, print_table

#: Millimetres; a difference of this size shows in two decimals.
_VISIBLE_DIFFERENCE = 0.005


def print_scores(scores: Scores, console: Console) -> None:
    """Print headline numbers, differences, official numbers and findings."""
    print_table(scores.headline_table(), console)
    for line in _mirrored(scores):
        console.print(f"[dim]{escape(line)}[/]", highlight=False)
    for difference in scores.differences:
        if difference.first == scores.labels[0] and "mpjpe" in difference.measure.key:
            console.print(escape(difference_line(difference)), highlight=False)
    if scores.visible is not None:
        print_table(scores.visibility_table("joints_root"), console)
    print_table(scores.official_table(), console)
    for prediction in scores.predictions:
        print_findings(prediction.label, prediction.findings, console)


def print_findings(label: str, findings: Sequence[Finding], console: Console) -> None:
    """Print what the linter noticed in one prediction."""
    for finding in findings:
        style = "red" if finding.severity == "error" else "yellow"
        text = f"[{style}]{escape(label)}: {finding.name}[/]: {escape(finding.message)}. {escape(finding.fix)}"
        console.print(text, highlight=False)


def difference_line(difference: Difference) -> str:
    """``"PA-MPJPE: b − a = +1.20 mm [+0.90, +1.50]"``, with a remark where zero lies inside."""
    measure, estimate = difference.measure, difference.estimate
    value = f"{format_number(measure, estimate.value, sign=True)} {measure.unit}".rstrip()
    text = f"{measure.short}: {difference.second} − {difference.first} = {value}"
    if estimate.interval is None:
        return text
    ends = [format_number(measure, end, sign=True) for end in (estimate.interval.low, estimate.interval.high)]
    return f"{text} [{', '.join(ends)}]" + ("" if difference.is_clear else " (zero inside)")


def _mirrored(scores: Scores) -> list[str]:
    """Where Procrustes without mirror images differs from the official one."""
    lines = []
    for prediction in scores.predictions:
        papers = prediction.evaluation.papers
        official, proper = papers["pa_mpjpe_mm"], papers["pa_mpjpe_proper_mm"]
        if prediction.source and proper - official >= _VISIBLE_DIFFERENCE:
            lines.append(
                f"{prediction.label}: mirror images fit {papers['mirrored_share']:.1%} of the images better; without "
                f"them PA-MPJPE is {proper:.2f}, not {official:.2f} mm"
            )
    return lines
