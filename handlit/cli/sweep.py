"""The verb ``sweep``: the trials of a W&B sweep file on this machine, without an account."""

import argparse
import contextlib
import csv
import io
import os
import signal
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Column, Table

from handlit.cli import run_trainer
from handlit.metrics.hypotheses import COUNTS
from handlit.sweeps import LocalSweep, Sweep, load_sweep, render_sweep
from handlit.sweeps.page import ranked
from handlit.sweeps.sweep_file import as_text, short_name
from handlit.types import InputError

_ACCURACY = ("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm")
_OF_HYPOTHESES = (*(f"mpjpe_best_of_{count}_mm" for count in COUNTS), "crps_mm", "calibration_error", "ause")
#: What each command logs for every method and what means the same under any setting, as the losses do not.
COMPARED = {
    "fit": tuple(f"val/{name}" for name in _ACCURACY),
    "test": tuple(f"test/{name}" for name in (*_ACCURACY, *_OF_HYPOTHESES)),
}


def sweep(arguments: list[str]) -> None:
    """Run trials of a W&B sweep file here; the same command goes on with a sweep that was stopped."""
    parser = argparse.ArgumentParser("python main.py sweep", description=sweep.__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="sweep file, such as configs/sweeps/quickstart.yaml")
    parser.add_argument("--local", type=int, required=True, metavar="N", help="number of trials in all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the trials; runs/sweeps/NAME")
    parser.add_argument("--parallel", type=int, default=1, metavar="K", help="trials at once where there is no GPU")
    options = parser.parse_args(arguments)
    if options.local < 1 or options.parallel < 1:
        raise InputError("--local and --parallel must be at least 1")
    search = load_sweep(options.file)
    check_sweep(search)
    folder = options.out or Path("runs/sweeps") / options.file.stem
    local = LocalSweep(search, folder, _slots(options.parallel, options.file.stem), partial(_run_arguments, search))
    # a stop by the system, as at the end of a cluster job, is one by Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        local.run(options.local)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on with {folder}")
        raise SystemExit(130) from None
    finally:
        _report(local)


def check_sweep(search: Sweep) -> None:
    """Hold a sweep against the command that it runs, without running it. Commands of other programs pass.

    Raises:
        InputError: A parameter or a value that the command refuses, or a metric that it does not log.
    """
    if "main.py" not in search.command:
        return
    words = search.expand({}, "python")
    fixed = words[words.index("main.py") + 1 :]
    command = fixed[0] if fixed else ""
    if command not in COMPARED:
        raise InputError(f"{search.path}: the command must be main.py fit or main.py test, whose numbers are compared")
    if search.metric not in COMPARED[command]:
        known = ", ".join(COMPARED[command])
        raise InputError(f"{search.path}: {search.metric} of main.py {command} is not compared: choose one of {known}")
    for name, parameter in search.space.items():
        for value in parameter.extremes():
            _parse(search, name, [*fixed, f"--{name}={as_text(value)}"])


def _parse(search: Sweep, name: str, words: list[str]) -> None:
    message = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(message):
            run_trainer([*words, "--print_config"])
    except SystemExit as stop:
        if stop.code:
            raise InputError(f"{search.path}: {name} is refused: {message.getvalue().strip()}") from stop


def _slots(parallel: int, group: str) -> list[dict[str, str]]:
    shared = {"WANDB_RUN_GROUP": group, "WANDB_MODE": "offline"}
    if gpus := torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) == gpus and all(visible) else [str(gpu) for gpu in range(gpus)]
        return [{**shared, "CUDA_VISIBLE_DEVICES": name} for name in names]
    threads = max(1, (os.cpu_count() or 1) // parallel)
    return [{**shared, "OMP_NUM_THREADS": str(threads)}] * parallel


def _run_arguments(search: Sweep, folder: Path) -> list[str]:
    # an interrupted training goes on from its last checkpoint
    return [f"--run_dir={folder}", *(["--resume"] if {"main.py", "fit"} <= set(search.command) else [])]


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
    (local.folder / "sweep.html").write_text(render_sweep(search, trials), encoding="utf-8")
    print(f"results: {local.folder / 'results.csv'}   page: {local.folder / 'sweep.html'}")
