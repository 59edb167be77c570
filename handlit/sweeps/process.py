"""The process of a trial: started with an environment of its own, told to stop gently, and killed when it does not."""

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

from handlit.sweeps.trial import Trial

#: What a trial that was told to stop may take to end, a checkpoint included.
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
class Running:
    """A trial at work.

    Attributes:
        trial: The trial.
        process: Its own process, which leads a group with the workers that it starts.
        log: Where it writes.
        began: When it started.
        rung: Last one of early termination that it has passed.
        told: When it was told to stop; None before.
    """

    trial: Trial
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float
    rung: int = 0
    told: float | None = None

    def tell(self) -> None:
        """Tell the trial to stop; it alone, as it needs its workers until it has written its checkpoint."""
        self.told = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill_if_late(self) -> None:
        """End the trial and its workers if it was told to stop and the grace is over."""
        if self.told is not None and time.monotonic() > self.told + GRACE_SECONDS:
            self.kill()

    def kill(self) -> None:
        """End the trial and its workers now."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(trial: Trial, command: Sequence[str], log: Path, variables: Mapping[str, str], lock: int) -> Running:
    """Start a trial, which ends with this process.

    Args:
        trial: The trial.
        command: Its words.
        log: File that its output is appended to.
        variables: Added to the environment.
        lock: Descriptor that it keeps open: a trial that outlives its sweep keeps the folder locked.
    """
    kept = {name: text for name, text in os.environ.items() if name not in _OF_A_RUN}
    output = log.open("ab")
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**kept, **variables},
        # a session of its own: Ctrl-C reaches the sweep alone, which then stops the trial
        start_new_session=True,
        pass_fds=(lock,),
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    return Running(trial, process, output, time.monotonic())


def stop(running: Sequence[Running]) -> None:
    """Tell trials to stop, wait for them, and kill those that are late; a second Ctrl-C kills them at once."""
    try:
        for one in running:
            one.tell()
        while any(one.process.poll() is None for one in running):
            for one in running:
                one.kill_if_late()
            time.sleep(0.05)
    finally:
        for one in running:
            one.kill()
            one.log.close()


def _end_with_parent() -> None:
    """Ask Linux to end this process when the one that started it is gone, killed for instance."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
