"""The verb ``sweep``: the trials of a W&B sweep file on this machine, without an account."""

import argparse
import contextlib
import csv
import io
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Column, Table

from handlit.cli import run_trainer
from handlit.cli.plugins import import_plugins
from handlit.errors import InputError
from handlit.files import write_text
from handlit.metrics.measure import PointMeasure
from handlit.metrics.registry import logged_names, measures
from handlit.program import program
from handlit.sweeps import LocalSweep, Sweep, load_sweep, render_sweep
from handlit.sweeps.page import ranked
from handlit.sweeps.sweep_file import as_text, short_name

#: Settings that say where a run is and what it starts from.
_NOT_SEARCHED = ("run_dir", "ckpt_path", "config", "resume")


def sweep(arguments: list[str]) -> None:
    """Run trials of a W&B sweep file here; the same command goes on with a sweep that was stopped."""
    parser = argparse.ArgumentParser(f"{program()} sweep", description=sweep.__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="sweep file, such as configs/sweeps/quickstart.yaml")
    parser.add_argument("--local", type=int, required=True, metavar="N", help="number of trials in all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the trials; runs/sweeps/NAME")
    parser.add_argument("--parallel", type=int, metavar="K", help="trials at once; one to a GPU, or one on a CPU")
    options = parser.parse_args(arguments)
    if options.local < 1 or (options.parallel is not None and options.parallel < 1):
        raise InputError("--local and --parallel must be at least 1")
    search = load_sweep(options.file)
    check_sweep(search)
    folder = options.out or Path("runs/sweeps") / options.file.stem
    slots = _slots(options.parallel, search)
    count = min(options.local, search.run_cap or options.local)
    if count < options.local:
        print(f"the file's run_cap: {count} trials instead of {options.local}")
    # a stop by the system, as at the end of a cluster job, is one by Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with LocalSweep(search, folder, slots, partial(_run_arguments, search)) as local:
        try:
            local.run(count)
        except KeyboardInterrupt:
            print(f"stopped; the same command goes on with {folder}")
            raise SystemExit(130) from None
        finally:
            _report(local)
    _judge(local)


def _judge(local: LocalSweep) -> None:
    """End with the exit code of a preemption if a trial has to go on, and with a message if none gave a number."""
    statuses = [trial.status for trial in local.trials]
    if "running" in statuses:
        print("trials were told to stop; the same command goes on with them")
        raise SystemExit(os.EX_TEMPFAIL)
    if statuses and set(statuses) == {"failed"}:
        raise InputError(
            f"all {len(statuses)} trials failed, the last with: {local.trials[-1].error}\n"
            f"logs: {local.folder}/trials/*/log.txt"
        )


def check_sweep(search: Sweep) -> None:
    """Hold a sweep against the command that it runs, without running it. Commands of other programs pass.

    Raises:
        InputError: A parameter or a value that the command refuses, or a metric that it does not log.
    """
    fixed = _trainer_words(search, {})
    if fixed is None:
        return
    command = fixed[0] if fixed else ""
    # what means the same under any setting, as the losses do not
    compared = logged_names()
    if command not in compared:
        raise InputError(f"{search.path}: the command must be main.py fit or main.py test, whose numbers are compared")
    if search.metric not in compared[command]:
        known = ", ".join(compared[command])
        raise InputError(f"{search.path}: {search.metric} of main.py {command} is not compared: choose one of {known}")
    for name in search.space:
        if name in _NOT_SEARCHED:
            raise InputError(f"{search.path}: {name} is no setting to search: write it into the command")
    _check_words(search, "the command", fixed)
    for name, parameter in search.space.items():
        for value in parameter.extremes():
            _check_words(search, f"{name}={as_text(value)}", _trainer_words(search, {name: value}) or [])


def _trainer_words(search: Sweep, parameters: dict[str, Any]) -> list[str] | None:
    """The command and its options after ``main.py`` or ``handlit``, plugins imported; None for another program."""
    words = search.expand(parameters, "python")
    if words and Path(words[0]).name == "handlit":
        return import_plugins(words[1:])
    names = [os.path.normpath(word) for word in words]
    return import_plugins(words[names.index("main.py") + 1 :]) if "main.py" in names else None


def _check_words(search: Sweep, what: str, words: list[str]) -> None:
    said, complaint = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            run_trainer([*words, "--print_config"])
    except SystemExit as stop:
        if stop.code:
            # before it stands the usage of every option
            reason = complaint.getvalue().rpartition("\nerror: ")[2].strip()
            raise InputError(f"{search.path}: {what} is refused: {reason}") from stop
    except (InputError, OSError) as error:
        raise InputError(f"{search.path}: {what} is refused: {error}") from error
    point_estimate = {measure.key for measure in measures(PointMeasure)}
    if search.metric.startswith("test/") and search.metric.removeprefix("test/") not in point_estimate:
        count = yaml.safe_load(said.getvalue())["hypotheses"]["num_hypotheses"]
        best_of = re.search(r"best_of_(\d+)", search.metric)
        if count < (int(best_of[1]) if best_of else 1):
            raise InputError(f"{search.path}: {search.metric} is not logged with hypotheses.num_hypotheses {count}")


def _slots(parallel: int | None, search: Sweep) -> list[dict[str, str]]:
    """Environment variables of each trial at a time."""
    shared = {"WANDB_RUN_GROUP": search.path.stem, "WANDB_MODE": "offline"}
    shared |= {f"WANDB_{key.upper()}": search.texts[key] for key in ("project", "entity") if key in search.texts}
    if count := torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [str(gpu) for gpu in range(count)] if visible is None else visible.split(",")
        names = [name.strip() for name in names if name.strip()][:count]
        if parallel is not None and parallel > len(names):
            raise InputError(f"--parallel {parallel}: a trial has a GPU to itself, and there are {len(names)}")
        return [{**shared, "CUDA_VISIBLE_DEVICES": name} for name in names[:parallel]]
    parallel = parallel or 1
    threads = max(1, (os.cpu_count() or 1) // parallel)
    return [{**shared, "OMP_NUM_THREADS": str(threads)}] * parallel


def _run_arguments(search: Sweep, folder: Path) -> list[str]:
    # an interrupted training goes on from its last checkpoint
    return [f"--run_dir={folder}", *(["--resume"] if (_trainer_words(search, {}) or [""])[0] == "fit" else [])]


def _report(local: LocalSweep) -> None:
    search, trials = local.sweep, ranked(local.sweep, local.trials)
    columns = ["trial", search.metric, "seconds", "status", *search.space]
    rows = [
        [
            str(t.number),
            "" if t.value is None else f"{t.value:.6g}",
            f"{t.seconds:.0f}",
            t.status,
            *(as_text(t.parameters[name]) for name in search.space),
        ]
        for t in trials
    ]
    table = Table(*[Column(short_name(name), overflow="fold") for name in columns])
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    with (local.folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    write_text(local.folder / "sweep.html", render_sweep(search, trials))
    print(f"results: {local.folder / 'results.csv'}   page: {local.folder / 'sweep.html'}")
