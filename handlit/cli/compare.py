"""The verb ``compare``: tested runs side by side, on the same images."""

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from handlit.program import program
from handlit.scoring.hypotheses.console import print_comparison
from handlit.scoring.hypotheses.summary import HypothesisRun, Summary, check_same_images, load_run
from handlit.scoring.pages.comparison import render_comparison


def compare(arguments: list[str]) -> None:
    """Set tested runs side by side: a table with paired differences, and a page of charts."""
    parser = argparse.ArgumentParser(f"{program()} compare", description=compare.__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="tested run folder, or NAME=folder to name it")
    parser.add_argument("--out", type=Path, default=Path("comparison.html"), metavar="FILE", help="page to write")
    options = parser.parse_args(arguments)
    runs = [_load(argument) for argument in options.runs]
    check_same_images(runs)
    summaries = [Summary(run) for run in runs]
    print_comparison(summaries, Console())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(render_comparison(summaries), encoding="utf-8")
    print(f"page: {options.out}")


def _load(argument: str) -> HypothesisRun:
    name, _, folder = argument.rpartition("=")
    run = load_run(Path(folder))
    return replace(run, label=name) if name else run
