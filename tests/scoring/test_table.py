"""Tables for the console: one line for each row at 80 columns, nothing cut."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from handlit.metrics.measure import Measure
from handlit.scoring.bootstrap import Estimate, Interval
from handlit.scoring.hypotheses.summary import Summary, comparison_table, summary_table
from handlit.scoring.table import Cell, Row, Table, format_number, print_table
from tests.scoring.hypotheses.test_summary import run

LENGTH = Measure("a_mm", "a", "length")


def printed(table: Table, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_table(table, console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("factor", [1.0, 12.0])
def test_a_row_of_test_is_one_line_of_80_columns(factor: float) -> None:
    summary = Summary(run(factor=factor))
    table = summary_table(replace_settings(summary))
    lines = printed(table)
    assert max(map(len, lines)) <= 80
    for row in table.rows:
        name = f"{row.measure.short} {row.measure.unit}".strip()
        (line,) = [line for line in lines if line.startswith(f"{name} ") and row.value(0) in line]
        for position in range(3):
            assert row.value(position) in line
            assert row.half_width(position) in line


def replace_settings(summary: Summary) -> Summary:
    summary.run = replace(summary.run, settings={"method": "MHEntropy", "hypotheses": 200, "temperature": 1.0})
    return summary


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_row_of_compare_is_one_line_in_each_block(count: int) -> None:
    summaries = [Summary(run(f"method {number}", seed=number, factor=1 + number)) for number in range(count)]
    table = comparison_table(summaries)
    lines = printed(table)
    assert max(map(len, lines)) <= 80
    lines = [line for line in lines if not line.startswith(("±: ", "the wrist ", "same; "))]
    numbers = [line for line in lines if re.search(r" (all|visible|occluded) .*\d", line)]
    blocks = len([line for line in lines if line.strip().startswith("method")])
    assert len(numbers) == blocks * len(table.rows)
    for number in range(count):
        assert any(f"method {number}" in line for line in lines)


def test_numbers_are_written_in_their_measures_digits() -> None:
    share = Measure("share", "share", "share", target=0.9)
    assert [format_number(LENGTH, value) for value in (1.234, 123.45, None, np.nan)] == ["1.23", "123.5", "–", "–"]
    assert format_number(share, 0.12345) == "0.123"
    assert format_number(LENGTH, 1.2, sign=True) == "+1.20"
    assert (LENGTH.goal, share.goal) == ("↓", "0.90")
    row = Row(LENGTH, [Cell(Estimate(2.0, Interval(1.5, 2.7)), ratio=0.5), Cell(None, ratio=np.nan)])
    assert [row.value(0), row.half_width(0), row.ends(0), row.ratio(0)] == ["2.00", "±0.60", "1.50 to 2.70", "×0.50"]
    assert [row.value(1), row.half_width(1), row.ends(1), row.ratio(1)] == ["–", "", "", ""]


def test_marks_and_square_brackets_are_shown_as_they_are() -> None:
    cells = [Cell(Estimate(1.0)), Cell(Estimate(2.0), differs=True)]
    text = "\n".join(printed(Table("[x]", ["[a]", "b"], [Row(LENGTH, cells, "[red]")], ["[note]"])))
    for part in ("[x]", "[a]", "[red]", "[note]", "2.00 *"):
        assert part in text
