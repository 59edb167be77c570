"""The page of all measures, from their registry."""

from collections.abc import Sequence

from handlit.cli.explain import shown_by
from handlit.metrics.measure import Measure

_GOALS = {"↓": "low", "↑": "high"}
_TABLES = {
    "test": "What `test` prints and logs, and `compare` sets side by side (all but the first four)",
    "score": "What `score` prints of anybody's predictions; official numbers are in the benchmark's own unit",
}


def measures_page() -> str:
    """Markdown: the measures of `test` and `score`, with their definitions."""
    lines = [
        "# Measures",
        "",
        "Every number that a command prints, as its registry defines it; `handlit test --explain [MEASURE]` prints the",
        "same. What they mean in words: [what each number means](../explanations/numbers.md); frames, splits and",
        "averages of the table of `test`: [hypotheses](../hypotheses.md#the-table-of-test).",
    ]
    for command, title in _TABLES.items():
        lines += ["", f"## {command}", "", f"{title}.", "", *measure_table(shown_by(command))]
    return "\n".join(lines) + "\n"


def measure_table(measures: Sequence[Measure]) -> list[str]:
    """Rows of a table; y is the true joint, x_1 ... x_S the hypotheses."""
    rows = ["| measure | definition |", "|---|---|"]
    for measure in measures:
        facts = ", ".join(filter(None, (measure.unit, _GOALS.get(measure.goal, measure.goal))))
        name = f"**{measure.short}**<br>`{measure.key}`" + (f"<br>{facts}" if facts else "")
        text = measure.explanation + (f". *{measure.reference}*" if measure.reference else "")
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in (name, text))} |")
    return rows
