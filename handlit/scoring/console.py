"""Prints a score board so that it fits the terminal: nothing is cut, wide boards continue below."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handlit.scoring.board import Difference, Row, ScoreBoard, format_interval, format_value
from handlit.scoring.official.linter import Finding

#: Characters; longer labels are folded.
_LONGEST_LABEL = 24
#: Millimetres; a difference of this size shows in two decimals.
_VISIBLE_DIFFERENCE = 0.005


def print_board(board: ScoreBoard, console: Console) -> None:
    """Print headline numbers, differences, official numbers and findings."""
    truth = board.ground_truth
    console.print(f"[bold]{truth.protocol.title}[/], {len(truth):,} images", highlight=False)
    _print_rows(board, "", board.headline_rows, console)
    notes = [
        "RA, PA: wrist- and Procrustes-aligned",
        f"a–b: 95 % interval over {board.bootstrap.num_groups:,} {board.bootstrap.unit}",
    ]
    if board.bootstrap.num_groups < 2:
        notes[1] = "no intervals: all images are of one sequence"
    if board.reference:
        notes.append(f"×: ratio to {escape(board.reference)}")
    console.print(f"[dim]{'; '.join(notes)}[/]", highlight=False)
    for line in _mirrored(board):
        console.print(f"[dim]{escape(line)}[/]", highlight=False)
    for difference in board.differences:
        is_main = difference.first == board.predictions[0].label and "mpjpe" in difference.key
        if is_main:
            console.print(escape(difference_line(difference)), highlight=False)
    if board.visible is not None:
        _print_rows(board, "RA-MPJPE of visible and hidden joints", board.visibility_rows("joints_root"), console)
    _print_rows(board, "official numbers", board.official_rows(), console)
    for prediction in board.predictions:
        print_findings(prediction.label, prediction.findings, console)


def print_findings(label: str, findings: Sequence[Finding], console: Console) -> None:
    """Print what the linter has to say about one prediction."""
    for finding in findings:
        style = "red" if finding.severity == "error" else "yellow"
        text = f"[{style}]{escape(label)}: {finding.name}[/]: {escape(finding.message)}. {escape(finding.fix)}"
        console.print(text, highlight=False)


def difference_line(difference: Difference) -> str:
    """``"PA-MPJPE: b - a = +1.20 mm [0.90, 1.50]"``, with a remark where zero lies inside."""
    digits = 2 if difference.unit else 3
    value = f"{difference.value:+.{digits}f} {difference.unit}".rstrip()
    text = f"{difference.name}: {difference.second} − {difference.first} = {value}"
    if difference.interval is None:
        return text
    ends = f"[{difference.interval.low:+.{digits}f}, {difference.interval.high:+.{digits}f}]"
    return f"{text} {ends}" + ("" if difference.is_clear else " (zero inside)")


def _mirrored(board: ScoreBoard) -> list[str]:
    """Where Procrustes without mirror images differs from the official one."""
    lines = []
    for prediction in board.predictions:
        papers = prediction.evaluation.papers
        official, proper = papers["pa_mpjpe_mm"], papers["pa_mpjpe_proper_mm"]
        if prediction.source and proper - official >= _VISIBLE_DIFFERENCE:
            lines.append(
                f"{prediction.label}: mirror images fit {papers['mirrored_share']:.1%} of the images better; without "
                f"them PA-MPJPE is {proper:.2f}, not {official:.2f} mm"
            )
    return lines


def _print_rows(board: ScoreBoard, title: str, rows: Sequence[Row], console: Console) -> None:
    cells = [_cells(board, rows, position) for position in range(len(board.predictions))]
    name_width = max(len(f"{row.name} {row.unit}") for row in rows) + 2
    widths = [
        2 + max(min(len(prediction.label), _LONGEST_LABEL), *map(len, column))
        for prediction, column in zip(board.predictions, cells, strict=True)
    ]
    for number, block in enumerate(_blocks(widths, console.width - name_width)):
        table = Table(
            title=escape(title) if title and not number else None,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 2, 0, 0),
            show_edge=False,
        )
        table.add_column("", no_wrap=True)
        for position in block:
            label = escape(board.predictions[position].label)
            table.add_column(label, justify="left", overflow="fold", max_width=max(widths[position] - 2, 5))
        for index, row in enumerate(rows):
            table.add_row(f"{row.name} [dim]{row.unit}[/]", *(cells[position][index] for position in block))
        console.print()
        console.print(table, highlight=False)


def _cells(board: ScoreBoard, rows: Sequence[Row], position: int) -> list[str]:
    """Value, interval and ratio of one prediction, each aligned over the rows."""
    source = board.predictions[position].source
    values = [format_value(row, row.values[position]) for row in rows]
    intervals = [format_interval(row, row.intervals[position]) if row.intervals and source else "" for row in rows]
    ratios = []
    for row in rows:
        ratio = board.ratio(row)
        is_other = source is not None and board.predictions[position].label != board.reference
        shown = ratio is not None and is_other and math.isfinite(ratio[position])
        ratios.append(f"×{ratio[position]:.2f}" if ratio is not None and shown else "")
    columns = [[text.rjust(max(map(len, values))) for text in values]]
    columns += [[text.ljust(max(map(len, texts))) for text in texts] for texts in (intervals, ratios) if any(texts)]
    return [" ".join(parts).rstrip() for parts in zip(*columns, strict=True)]


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
