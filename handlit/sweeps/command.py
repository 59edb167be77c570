"""The command of a sweep's trials, and what of it handlit itself runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from handlit.sweeps.sweep_file import Sweep


def handlit_words(words: Sequence[str]) -> list[str] | None:
    """The words after ``handlit``, ``main.py`` or ``-m handlit``, plugins included; None for another program."""
    for position, word in enumerate(words):
        if os.path.normpath(word) == "main.py" or (position == 0 and Path(word).name == "handlit"):
            return list(words[position + 1 :])
        if word == "handlit" and words[position - 1] == "-m":
            return list(words[position + 1 :])
    return None


def command_name(words: Sequence[str]) -> str:
    """The name of handlit's command, which comes after the plugins; empty without one.

    Args:
        words: What `handlit_words` returns.
    """
    rest = list(words)
    while rest and rest[0].partition("=")[0] == "--import":
        rest = rest[1 if "=" in rest[0] else 2 :]
    return rest[0] if rest else ""


def trial_command(sweep: Sweep, parameters: Mapping[str, Any], run_dir: Path, interpreter: str) -> list[str]:
    """The command of one trial, which also resumes an interrupted training.

    Where there is no ``main.py``, as in the working folder of an installed handlit, the package is run instead.

    Args:
        sweep: The sweep.
        parameters: The trial's settings.
        run_dir: The trial's run folder.
        interpreter: Python.
    """
    words = sweep.expand(parameters, interpreter)
    own = handlit_words(words)
    if "main.py" in map(os.path.normpath, words) and own is not None and not Path("main.py").is_file():
        words = [interpreter, "-m", "handlit", *own]
    return [*words, f"--run_dir={run_dir}", *(["--resume"] if command_name(own or []) == "fit" else [])]
