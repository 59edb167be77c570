"""Runs the trials of a sweep on this machine, one to a GPU or several processes on the CPU."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from handlit.errors import InputError
from handlit.sweeps.process import RunningTrial, start, stop
from handlit.sweeps.study import SweepStudy
from handlit.sweeps.sweep_file import Sweep, as_text, short_name
from handlit.sweeps.trial import Trial, logged_values

_FAILURES_IN_A_ROW = 3
_POLL_SECONDS = 0.2
#: Exit codes of a trial that someone else sent SIGTERM, after and before it could write a checkpoint.
_INTERRUPTED = (os.EX_TEMPFAIL, -signal.SIGTERM)


class LocalSweep:
    """A sweep and its folder: ``sweep.yaml``, ``journal.log``, and ``trials/0001`` with ``log.txt`` and the run.

    The next run of the sweep resumes one that ended: finished and failed trials stay, those that were running run again
    in the folder that they left. Trials end with their sweep, however it ends, and no other sweep runs in the folder
    before they have.

    Used by ``with``, which locks the folder and then reads it.

    Args:
        sweep: What is searched.
        folder: Where everything is written.
        slots: Environment variables of each slot, which runs one trial at a time.
        command: The words that run the trial of these settings in this folder.
        seed: Of the random and the Bayesian search.

    Raises:
        InputError: The folder is in use, holds another sweep, or cannot be written.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        slots: Sequence[dict[str, str]],
        command: Callable[[Trial, Path], list[str]],
        seed: int = 0,
    ) -> None:
        self.sweep, self.folder = sweep, folder
        self._slots, self._command, self._seed = slots, command, seed

    def __enter__(self) -> "LocalSweep":
        self._lock = _lock(self.folder)
        try:
            self._study = SweepStudy(self.sweep, self.folder, self._seed)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return self._study.trials()

    def trial_folder(self, trial: Trial) -> Path:
        """The trial's run folder."""
        return self._study.trial_folder(trial.number)

    def best(self) -> Trial | None:
        """The best finished trial so far."""
        finished = [trial for trial in self.trials if trial.status == "finished" and trial.value is not None]
        sign = -1 if self.sweep.maximize else 1
        return min(finished, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def run(self, count: int) -> None:
        """Run until the folder has `count` trials, or the grid is exhausted.

        Raises:
            InputError: Several trials in a row failed.
        """
        waiting, running = self._study.waiting(count), dict[int, RunningTrial]()
        failures = 0
        try:
            self._fill(running, waiting)
            while running:
                for ended in list(self._poll(running)):
                    failures = failures + 1 if ended.status == "failed" else 0
                    if failures >= _FAILURES_IN_A_ROW:
                        raise InputError(
                            f"{failures} trials in a row failed, the last with: {ended.error} "
                            f"(logs: {self.folder}/trials/*/log.txt)"
                        )
                self._fill(running, waiting)
                time.sleep(_POLL_SECONDS)
        finally:
            stop(list(running.values()))

    def _fill(self, running: dict[int, RunningTrial], waiting: Iterator[Trial]) -> None:
        """Start a trial in every free slot, as far as there are some."""
        for slot, variables in enumerate(self._slots):
            if slot not in running and (trial := next(waiting, None)) is not None:
                running[slot] = self._start(trial, variables)

    def _start(self, trial: Trial, variables: dict[str, str]) -> RunningTrial:
        folder = self.trial_folder(trial)
        shown = " ".join(f"{short_name(name)}={as_text(value)}" for name, value in trial.parameters.items())
        print(f"trial {trial.number:4d}  starts    {shown}", flush=True)
        return start(trial, self._command(trial, folder), folder / "log.txt", variables, self._lock)

    def _poll(self, running: dict[int, RunningTrial]) -> Iterator[Trial]:
        """Look at every running trial: take out and yield those that ended, stop those that fall behind."""
        for slot, one in list(running.items()):
            if one.process.poll() is not None:
                del running[slot]
                yield self._finish(one)
            elif one.terminated is not None:
                one.kill_if_late()
            elif self.sweep.min_iter and self._study.falls_behind(one.trial, self._values(one.trial)):
                one.terminate()

    def _values(self, trial: Trial) -> list[float]:
        return logged_values(self.trial_folder(trial), self.sweep.metric)

    def _finish(self, one: RunningTrial) -> Trial:
        one.log.close()
        stopped, code, values = one.terminated is not None, one.process.returncode, self._values(one.trial)
        self._study.add_seconds(one.trial, time.monotonic() - one.began)
        if not stopped and code in _INTERRUPTED:
            # no failure: left running, it is resumed by the next run of the sweep
            print(f"trial {one.trial.number:4d}  received SIGTERM; the same command resumes it", flush=True)
            return one.trial
        error = ""
        if not stopped and (code or not values):
            error = self._last_line(one.trial) or f"exit code {code}" if code else f"it logged no {self.sweep.metric}"
        trial, best = self._study.finish(one.trial, values, error, stopped), self.best()
        result = f"{self.sweep.metric} {trial.value:.4g}" if trial.value is not None else error
        so_far = f"   best {best.value:.4g} (trial {best.number})" if best else ""
        print(f"trial {trial.number:4d}  {trial.status:8s}  {result}   {trial.seconds:.0f} s{so_far}", flush=True)
        return trial

    def _last_line(self, trial: Trial) -> str:
        log = (self.trial_folder(trial) / "log.txt").read_text(encoding="utf-8", errors="replace")
        return log.strip().rpartition("\n")[2]


def _lock(folder: Path) -> int:
    """Lock the folder; the descriptor, given to a trial, makes it hold the lock as well."""
    try:
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): choose another --out") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InputError(
            f"a sweep, or a trial of one that was stopped, still runs in {folder}: wait for it, or choose another --out"
        ) from None
    return lock
