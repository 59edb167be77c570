"""The results of a sweep: a table for the console, ``results.csv`` and ``sweep.html``."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from handlit.files import write_text
from handlit.sweeps.page import ranked, render_sweep
from handlit.sweeps.sweep_file import Sweep, as_text, short_name
from handlit.sweeps.trial import Trial


def report_results(sweep: Sweep, trials: Sequence[Trial], folder: Path, console: Console) -> None:
    """Print the trials, best first, and write them to ``results.csv`` and ``sweep.html``.

    Args:
        sweep: The sweep.
        trials: Its trials.
        folder: Where to write.
        console: Where to print.
    """
    order = ranked(sweep, trials)
    columns = ["trial", sweep.metric, "seconds", "status", *sweep.space]
    rows = [
        [
            str(trial.number),
            "" if trial.value is None else f"{trial.value:.6g}",
            f"{trial.seconds:.0f}",
            trial.status,
            *(as_text(trial.parameters[name]) for name in sweep.space),
        ]
        for trial in order
    ]
    table = Table(*[Column(short_name(name), overflow="fold") for name in columns])
    for row in rows:
        table.add_row(*row)
    console.print(table)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns, *rows])
    write_text(folder / "results.csv", text.getvalue())
    write_text(folder / "sweep.html", render_sweep(sweep, order))
    print(f"results: {folder / 'results.csv'}   page: {folder / 'sweep.html'}")
