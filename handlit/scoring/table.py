"""Tables of measures, and how they are printed: runs, predictions or groups of joints side by side.

`score`, `test` and `compare` show the same thing: measures by runs, with bootstrap intervals and paired differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from handlit.metrics.measure import Measure
from handlit.scoring.bootstrap import Estimate

#: Characters; longer heads are folded.
_LONGEST_HEAD = 24
#: Characters between two columns.
_GAP = 2
#: Numbers from here on are shown with one digit less, which keeps columns narrow.
_LARGE = 100


@dataclass(frozen=True)
class Cell:
    """One number.

    Attributes:
        estimate: The number and its interval; None where there is none.
        ratio: To a reference, where there is one.
        differs: Whether it differs from the first column's beyond chance.
        is_best: Whether no other number of the row is better.
    """

    estimate: Estimate | None
    ratio: float | None = None
    differs: bool = False
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """One measure.

    Attributes:
        measure: Which.
        cells: One for each head of the table.
        group: What part of the data the numbers are of, e.g. visible joints; "" where that goes without saying.
    """

    measure: Measure
    cells: Sequence[Cell]
    group: str = ""

    def value(self, position: int) -> str:
        """A number as tables show it; a dash where there is none."""
        estimate = self.cells[position].estimate
        return format_number(self.measure, None if estimate is None else estimate.value)

    def half_width(self, position: int) -> str:
        """Half of its interval, with a sign before it; nothing where there is none."""
        estimate = self.cells[position].estimate
        if estimate is None or estimate.interval is None:
            return ""
        return f"±{estimate.interval.half_width:.{_digits(self.measure, estimate.value)}f}"

    def ends(self, position: int) -> str:
        """Both ends of its interval; nothing where there is none."""
        estimate = self.cells[position].estimate
        if estimate is None or estimate.interval is None:
            return ""
        digits = self.measure.digits
        return f"{estimate.interval.low:.{digits}f} to {estimate.interval.high:.{digits}f}"

    def ratio(self, position: int) -> str:
        """Its ratio to the reference; nothing where there is none."""
        ratio = self.cells[position].ratio
        return f"×{ratio:.2f}" if ratio is not None and math.isfinite(ratio) else ""


@dataclass(frozen=True)
class Table:
    """Measures side by side.

    Attributes:
        title: Heading.
        heads: Names of the columns.
        rows: The measures.
        notes: What a reader must know, in short.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def has_groups(self) -> bool:
        """Whether the rows of a measure differ by their group."""
        return any(row.group for row in self.rows)

    @property
    def measures(self) -> list[Measure]:
        """The measures, each once."""
        return list(dict.fromkeys(row.measure for row in self.rows))

    def is_repeated(self, number: int) -> bool:
        """Whether a row is of the same measure as the one above."""
        return number > 0 and self.rows[number].measure is self.rows[number - 1].measure


def format_number(measure: Measure, value: float | None, sign: bool = False) -> str:
    """A number of a measure in its digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{_digits(measure, value)}f}"


def _digits(measure: Measure, value: float) -> int:
    return measure.digits - (abs(value) >= _LARGE)


def print_table(table: Table, console: Console) -> None:
    """Print a table so that it fits the terminal: a row is one line, and what is too wide continues below."""
    cells = [_column(table, position) for position in range(len(table.heads))]
    names = [f"{row.measure.short} {row.measure.unit}".rstrip() for row in table.rows]
    groups = [row.group for row in table.rows]
    goals = [row.measure.goal for row in table.rows]
    used = sum(_GAP + max(map(len, texts)) for texts in (names, groups, goals) if any(texts))
    widths = [
        _GAP + max(min(len(head), _LONGEST_HEAD), *map(len, column))
        for head, column in zip(table.heads, cells, strict=True)
    ]
    for number, block in enumerate(_blocks(widths, console.width - used)):
        printed = RichTable(
            title=escape(table.title) if table.title and not number else None,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            # the box adds a space of its own between columns
            padding=(0, _GAP - 1, 0, 0),
            show_edge=False,
        )
        for texts in (names, groups, goals):
            if any(texts):
                printed.add_column("", no_wrap=True)
        for position in block:
            printed.add_column(
                escape(table.heads[position]), overflow="fold", max_width=max(widths[position] - _GAP, 5)
            )
        for index, row in enumerate(table.rows):
            name = "" if table.is_repeated(index) else f"{escape(row.measure.short)} [dim]{row.measure.unit}[/]"
            facts = [name, *(escape(texts[index]) for texts in (groups, goals) if any(texts))]
            printed.add_row(*facts, *(cells[position][index] for position in block))
        console.print()
        console.print(printed, highlight=False)
    if table.notes:
        console.print(f"[dim]{escape('; '.join(table.notes))}[/]", highlight=False)


def _column(table: Table, position: int) -> list[str]:
    """Value, interval, ratio and mark of each row, aligned over the rows."""
    parts = [
        [row.value(position).rjust(max(len(other.value(position)) for other in table.rows)) for row in table.rows],
        *(
            [text.ljust(max(map(len, texts))) for text in texts]
            for texts in (
                [row.half_width(position) for row in table.rows],
                [row.ratio(position) for row in table.rows],
                ["*" if row.cells[position].differs else "" for row in table.rows],
            )
            if any(texts)
        ),
    ]
    return [" ".join(texts).rstrip() for texts in zip(*parts, strict=True)]


def _blocks(widths: Sequence[int], available: int) -> list[list[int]]:
    """Neighbouring columns that fit side by side; a column that is too wide alone stands alone."""
    blocks: list[list[int]] = [[]]
    used = 0
    for position, width in enumerate(widths):
        if blocks[-1] and used + width > available:
            blocks.append([])
            used = 0
        blocks[-1].append(position)
        used += width
    return blocks
