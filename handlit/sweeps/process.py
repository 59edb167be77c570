"""The process of a trial: started with an environment of its own, ended by SIGTERM, and killed when it does not end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from handlit.errors import InputError
from handlit.sweeps.trial import Trial

#: Time that a trial has after SIGTERM, for its checkpoint.
GRACE_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
# loaded here, because between fork and exec nothing should be
_LIBC = ctypes.CDLL(None)
#: W&B's variables of one run, which are the user's own run's or that of an agent around the sweep.
_OF_A_RUN = {
    f"WANDB_{name}"
    for name in (
        *("RUN_ID", "NAME", "NOTES", "DESCRIPTION", "RESUME", "RESUME_FROM", "FORK_FROM", "RUN_DIR", "RUN_STORAGE_ID"),
        *("SWEEP_ID", "SWEEP_PARAM_PATH", "CONFIG_PATHS", "PROGRAM", "ARGS", "SERVICE"),
    )
}


@dataclass
class RunningTrial:
    """A trial and its process.

    Attributes:
        trial: The trial.
        process: Its own process, which leads a group with the workers that it starts.
        log: Where it writes.
        began: When it started.
        terminated: When it was sent SIGTERM; None before.
    """

    trial: Trial
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float
    terminated: float | None = None

    def terminate(self) -> None:
        """Send SIGTERM to the trial alone, as it needs its workers until it has written its checkpoint."""
        self.terminated = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill_if_late(self) -> None:
        """End the trial and its workers if the time for its checkpoint is over."""
        if self.terminated is not None and time.monotonic() > self.terminated + GRACE_SECONDS:
            self.kill()

    def kill(self) -> None:
        """End the trial and its workers now."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(trial: Trial, command: Sequence[str], log: Path, variables: Mapping[str, str], lock: int) -> RunningTrial:
    """Start a trial, which ends with this process.

    Args:
        trial: The trial.
        command: Its words.
        log: File that its output is appended to.
        variables: Added to the environment.
        lock: Descriptor that it keeps open: a trial that outlives its sweep keeps the folder locked.

    Raises:
        InputError: The command holds a zero character.
        OSError: It cannot be started.
    """
    environment = {name: text for name, text in os.environ.items() if name not in _OF_A_RUN}
    output = log.open("ab")
    try:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, **variables},
            # a session of its own: Ctrl-C reaches the sweep alone, which then stops the trial
            start_new_session=True,
            pass_fds=(lock,),
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    # a word of it holds what no command line can
    except ValueError as error:
        output.close()
        raise InputError(f"the command of trial {trial.number} cannot be started: {error}") from error
    return RunningTrial(trial, process, output, time.monotonic())


def stop(trials: Sequence[RunningTrial]) -> None:
    """Send SIGTERM to trials, wait for them, and kill those that are late; a second Ctrl-C kills them at once."""
    try:
        for trial in trials:
            trial.terminate()
        while any(trial.process.poll() is None for trial in trials):
            for trial in trials:
                trial.kill_if_late()
            time.sleep(0.05)
    finally:
        for trial in trials:
            trial.kill()
            trial.log.close()


def _end_with_parent() -> None:
    """Ask Linux to end this process when the one that started it is gone, killed for instance."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
