"""Measure the table of docs/results.md: every method with three seeds, before and after calibration.

    python -m scripts.results                          # everything that docs/results.json does not hold yet
    python -m scripts.results --methods AMVUR --seeds 0 --threads 1
    python -m scripts.results --dry-run                # what is left, and about how long it takes
    python -m scripts.results --render                 # the page's figures alone, from docs/results.json
    python -m scripts.results --smoke --out FOLDER     # does everything run? tiny, with a table of its own in FOLDER

The images are made once and are the same for all seeds; a seed is that of a training. Each run is trained, tested,
scored, calibrated and tested again, and recorded as soon as it is measured: the same command resumes a sitting that was
stopped, and an interrupted training. What is recorded is not repeated. A run that fails is recorded with what it said
last, passed over, and tried again by the next sitting. Several sittings at once must have different methods or seeds.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from handlit.errors import InputError, check_number, describe, one_line
from scripts.results.commands import Command, CommandFailed, in_a_process
from scripts.results.measuring import SMOKE, WHOLE, Measurement, make_data
from scripts.results.page import BLOCKS, LAST, render
from scripts.results.record import Record
from scripts.results.rows import CALIBRATED, ROWS, Row

DOCS = Path(__file__).parents[2] / "docs"
#: Where the figures are shown.
PAGES = (DOCS / "results.md", DOCS.parent / "README.md")
SEEDS = (0, 1, 2)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options.

    Raises:
        InputError: A number is out of range.
    """
    parser = argparse.ArgumentParser(
        "python -m scripts.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(ROWS), metavar="METHOD")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="SEED")
    parser.add_argument("--out", type=Path, default=Path("runs/results"), metavar="DIR", help="folder of data and runs")
    parser.add_argument("--threads", type=int, help="of each process (OMP_NUM_THREADS); all cores by default")
    parser.add_argument(
        "--again", choices=["measure", "train"], help="measure anew what is recorded already, or train it anew, too"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="say what would be done, and about how long it takes")
    what.add_argument("--render", action="store_true", help="only write the recorded figures into the page")
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes, recorded in --out alone")
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        check_number("--seeds", seed, least=0, most=2**32 - 1)
    if options.threads is not None:
        check_number("--threads", options.threads, least=1)
    return options


def sitting(options: argparse.Namespace, run: Command) -> int:
    """Measure what is left of the asked runs; returns how many failed.

    Raises:
        CommandFailed: The images cannot be made.
        InputError: The record is of other images, or no record.
    """
    sizes, folder = (SMOKE, options.out) if options.smoke else (WHOLE, DOCS)
    record, page = Record(folder / "results.json"), folder / "results.md"
    pages = (page,) if options.smoke else PAGES
    record.claim(sizes.data)
    if options.smoke and not page.exists():
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text("\n".join(f"<!-- rendered: {name} -->\n{LAST}" for name in BLOCKS))
    left, failures = remaining(options, record), 0
    if options.dry_run:
        print("\n".join(plan(left, record)))
        return 0
    if left and not options.render:
        logs = options.out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        make_data(options.out / "data", sizes, run, logs / "data.txt")
        for number, (row, seed) in enumerate(left, start=1):
            print(f"{number} of {len(left)}: {row.name}, seed {seed}", flush=True)
            measurement = Measurement(row, seed, options.out, sizes, run)
            if options.again == "train":
                measurement.forget()
            failures += not measured(measurement, record, options.threads)
            render(pages, record)
    render(pages, record)
    print(f"figures: {record.path}, shown in {page}")
    return failures


def remaining(options: argparse.Namespace, record: Record) -> list[tuple[Row, int]]:
    """The runs that are to be measured: one seed of all methods before the next."""
    runs = [(ROWS[name], seed) for seed in dict.fromkeys(options.seeds) for name in dict.fromkeys(options.methods)]
    wanted = ("", CALIBRATED)
    return [
        (row, seed)
        for row, seed in runs
        if options.again or not all(record.has(row.name + ending, seed) for ending in wanted)
    ]


def measured(measurement: Measurement, record: Record, threads: int | None) -> bool:
    """Measure a run and record its figures, or why there are none; returns whether there are all."""
    name, seed, data = measurement.row.name, measurement.seed, measurement.sizes.data
    part = name
    try:
        measurement.train()
        own = measurement.figures()
        record.add(data, name, seed, own)
        part = name + CALIBRATED
        record.add(data, part, seed, measurement.calibrated_figures(own))
    except (CommandFailed, InputError, OSError) as error:
        print(f"{part}, seed {seed}: {one_line(error)} ({measurement.log})", flush=True)
        record.add_failure(data, part, seed, one_line(error))
        return False
    finally:
        cores = os.cpu_count() or 1
        record.add_facts(data, name, seed, {"cores": cores, "threads": threads or cores}, measurement.minutes)
    return True


def plan(left: Sequence[tuple[Row, int]], record: Record) -> list[str]:
    """Lines that say what is left, and about how long it takes."""
    expected = [minutes_of(row, record) for row, _ in left]
    lines = [
        f"{row.name}, seed {seed}: about {minutes:.0f} minutes"
        for (row, seed), minutes in zip(left, expected, strict=True)
    ]
    return [*lines, f"{len(left)} runs, about {sum(expected) / 60:.1f} hours on 2 cores, and the images"]


def minutes_of(row: Row, record: Record) -> float:
    """What a run of a method took, where one is recorded from its start to its end."""
    known = [run["minutes"] for run in record.facts.get(row.name, {}).values() if "train" in run["minutes"]]
    return sum(sum(minutes.values()) for minutes in known) / len(known) if known else row.minutes


def main(arguments: Sequence[str] | None = None, run: Command | None = None) -> None:
    """Run the command; exits with 2 if it cannot run, and with 1 if there is a run without figures."""
    try:
        options = parse(arguments)
        failures = sitting(options, run or in_a_process(options.threads))
    except (CommandFailed, InputError, OSError) as error:
        print("error:", describe(error), file=sys.stderr)
        raise SystemExit(2) from error
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    # so that a command that runs is ended, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main()
