"""The verb ``sweep``: the trials of a W&B sweep file on this machine, without an account. Wiring only."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from handlit.cli import run_trainer
from handlit.cli.configs import find_config
from handlit.cli.plugins import import_plugins
from handlit.cli.verb_parser import VerbParser
from handlit.errors import InputError
from handlit.sweeps import LocalSweep, Trial, check_sweep, load_sweep, report_results, trial_command, trial_slots


def sweep(arguments: list[str]) -> None:
    """Run trials of a W&B sweep file here; the same command resumes a sweep that was interrupted."""
    parser = VerbParser(sweep)
    parser.add_argument("file", metavar="FILE", help="sweep file, or the name of a shipped one: sweeps/quickstart")
    parser.add_argument("--local", type=int, required=True, metavar="N", help="number of trials in all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the trials; runs/sweeps/NAME")
    parser.add_argument("--parallel", type=int, metavar="K", help="trials at once; one to a GPU, or one on a CPU")
    options = parser.parse_args(arguments)
    if options.local < 1 or (options.parallel is not None and options.parallel < 1):
        raise InputError("--local and --parallel must be at least 1")
    search = load_sweep(find_config(options.file))
    check_sweep(search, parsed)
    folder = options.out or Path("runs/sweeps") / search.path.stem
    slots = trial_slots(search, options.parallel)
    count = min(options.local, search.run_cap or options.local)
    if count < options.local:
        print(f"the file's run_cap: {count} trials instead of {options.local}")
    # SIGTERM, as at the end of a cluster job, does what Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def command(trial: Trial, run_dir: Path) -> list[str]:
        return trial_command(search, trial.parameters, run_dir, sys.executable)

    with LocalSweep(search, folder, slots, command) as local:
        try:
            local.run(count)
        except KeyboardInterrupt:
            print(f"stopped; the same command resumes {folder}")
            raise SystemExit(130) from None
        finally:
            report_results(search, local.trials, folder, Console())
    _judge(local)


def _judge(local: LocalSweep) -> None:
    """End with the exit code of a preemption if a trial was interrupted, and with a message if none gave a number."""
    trials = local.trials
    if any(trial.status == "running" for trial in trials):
        print("trials received SIGTERM; the same command resumes them")
        raise SystemExit(os.EX_TEMPFAIL)
    if trials and all(trial.status == "failed" for trial in trials):
        raise InputError(
            f"all {len(trials)} trials failed, the last with: {trials[-1].error} "
            f"(logs: {local.folder}/trials/*/log.txt)"
        )


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """The configuration that a command would run with.

    Raises:
        InputError: The command line refuses it.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run_trainer([*import_plugins(words), "--print_config"])
    return yaml.safe_load(printed.getvalue())
