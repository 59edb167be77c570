"""The verb ``compare``: tested runs side by side, on the same images."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from handlit.cli.verb_parser import VerbParser
from handlit.errors import InputError
from handlit.files import check_writable, named_path, write_text
from handlit.scoring.hypotheses.run import HypothesisRun, check_same_images, load_run
from handlit.scoring.hypotheses.summary import Summary, comparison_table
from handlit.scoring.pages.comparison import render_comparison
from handlit.scoring.table import print_table


def compare(arguments: list[str]) -> None:
    """Set tested runs side by side: a table with paired differences, and a page of charts."""
    parser = VerbParser(compare, epilog="--explain [MEASURE] defines what the tables show.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="tested run folder, or NAME=folder to name it")
    parser.add_argument("--out", type=Path, default=Path("comparison.html"), metavar="FILE", help="page to write")
    options = parser.parse_args(arguments)
    check_writable(options.out, is_file=True)
    runs = [_load(argument) for argument in options.runs]
    check_same_images(runs)
    summaries = [Summary(run) for run in runs]
    table = comparison_table(summaries)
    if not table.rows:
        raise InputError(f"{summaries[0].run.label} has no number of any measure: run the test again")
    print_table(table, Console())
    write_text(options.out, render_comparison(summaries))
    print(f"page: {options.out}")


def _load(argument: str) -> HypothesisRun:
    name, folder = named_path(argument)
    run = load_run(folder)
    return replace(run, label=name) if name else run
