"""One command of handlit in a process of its own, which ends with this one."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

#: Runs a command of handlit, whose output goes to the end of a file; raises `CommandFailed`.
Command: TypeAlias = Callable[[Sequence[str], Path], None]
#: Seconds that a command has after SIGTERM: a training writes its checkpoint.
GRACE_S = 60
#: Bytes of a log in which its last line is looked for.
_END = 4000


class CommandFailed(RuntimeError):
    """A command ended with an error; the message is the last line that it wrote."""


def in_a_process(threads: int | None) -> Command:
    """How commands are run.

    Args:
        threads: Of each process (``OMP_NUM_THREADS``); None leaves them as they are.
    """

    def run(words: Sequence[str], log: Path) -> None:
        variables = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "handlit", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
            )
            try:
                code = process.wait()
            finally:
                _end(process)
        if code != 0:
            raise CommandFailed(f"{words[0]}: {_last_line(log) or f'ended with exit code {code}'}")

    return run


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, because this one is being stopped."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-_END:].decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
