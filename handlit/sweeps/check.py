"""Holds a sweep file against the command that it runs, before anything runs."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from handlit.errors import InputError
from handlit.metrics.measure import PointMeasure
from handlit.metrics.registry import logged_names, measures
from handlit.sweeps.command import command_name, handlit_words
from handlit.sweeps.sweep_file import Sweep, as_text

#: Settings that say where a run is and what it starts from.
_NOT_SEARCHED = ("run_dir", "ckpt_path", "config", "resume")


def check_sweep(sweep: Sweep, parse: Callable[[Sequence[str]], dict[str, Any]]) -> None:
    """Hold a sweep against the command that it runs, without running it. Commands of other programs pass.

    Args:
        sweep: The sweep.
        parse: From the words of a command of handlit to the configuration that it would run with. It raises
            `InputError` where the command line refuses them.

    Raises:
        InputError: A parameter or a value that the command refuses, or a metric that it does not log.
    """
    fixed = handlit_words(sweep.expand({}, "python"))
    if fixed is None:
        return
    command = command_name(fixed)
    if command not in logged_names():
        raise InputError(f"{sweep.path}: the command must be main.py fit or main.py test, whose numbers are compared")
    for name in sweep.space:
        if name in _NOT_SEARCHED:
            raise InputError(f"{sweep.path}: {name} is no setting to search: write it into the command")
    tried = [("the command", fixed)]
    for name, parameter in sweep.space.items():
        for value in parameter.extremes():
            words = handlit_words(sweep.expand({name: value}, "python")) or []
            tried.append((f"{name}={as_text(value)}", words))
    for what, words in tried:
        try:
            config = parse(words)
        except (InputError, OSError) as error:
            raise InputError(f"{sweep.path}: {what} is refused: {error}") from error
        # not before the command is parsed, which may import more measures
        _check_metric(sweep, command, config)


def _check_metric(sweep: Sweep, command: str, config: dict[str, Any]) -> None:
    # what means the same under any setting, as the losses do not
    compared = logged_names()[command]
    if sweep.metric not in compared:
        known = ", ".join(compared)
        raise InputError(f"{sweep.path}: {sweep.metric} of main.py {command} is not compared: choose one of {known}")
    if command == "test" and sweep.metric not in {f"test/{measure.key}" for measure in measures(PointMeasure)}:
        count = config["hypotheses"]["num_hypotheses"]
        best_of = re.search(r"best_of_(\d+)", sweep.metric)
        if count < (int(best_of[1]) if best_of else 1):
            raise InputError(f"{sweep.path}: {sweep.metric} is not logged with hypotheses.num_hypotheses {count}")
