"""Writes the table of measures into docs/hypotheses.md: ``python -m tests.metrics.documentation``."""

from pathlib import Path

from handlit.metrics.finger_measures import FINGER_MEASURES
from handlit.metrics.hypothesis_measures import HYPOTHESIS_MEASURES
from handlit.metrics.pose import POINT_MEASURES

PAGE = Path(__file__).parents[2] / "docs" / "hypotheses.md"
FIRST = "<!-- measures: `python -m tests.metrics.documentation` writes this table from the registry -->\n"
LAST = "<!-- end of measures -->\n"
ARROWS = {"↓": "low", "↑": "high"}


def table() -> str:
    """The rows of all measures of handlit, in the order of tables."""
    lines = ["| measure (key) | definition | unit | good | logged | reference |", "|---|---|---|---|---|---|"]
    for measure in (*POINT_MEASURES, *HYPOTHESIS_MEASURES, *FINGER_MEASURES):
        cells = [
            f"{measure.short} (`{measure.key}`)",
            measure.explanation,
            measure.unit,
            ARROWS.get(measure.goal, measure.goal),
            "yes" if measure.logged else "",
            measure.reference,
        ]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with today's table."""
    before, rest = PAGE.read_text(encoding="utf-8").split(FIRST)
    return before + FIRST + table() + LAST + rest.split(LAST)[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
