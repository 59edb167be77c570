"""Runs the trials of a sweep on this machine, one to a GPU or several processes on the CPU."""

import fcntl
import itertools
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna

from handlit.errors import InputError
from handlit.sweeps.process import Running, start, stop
from handlit.sweeps.sweep_file import Sweep, as_text, short_name
from handlit.sweeps.trial import Trial, values_of

_FAILURES_IN_A_ROW = 3
_POLL_SECONDS = 0.2
#: Of a trial that someone else told to stop, before or after it could write a checkpoint.
_INTERRUPTED = (os.EX_TEMPFAIL, -signal.SIGTERM)


class LocalSweep:
    """A sweep and its folder: ``sweep.yaml`` and ``trials/0001`` with ``trial.json``, ``log.txt`` and the run.

    A stopped sweep goes on: finished and failed trials stay, those that were running run again in the folder that they
    left. Trials end with their sweep, however it ends, and no other sweep runs in the folder before they have.

    Used by ``with``, which locks the folder and then reads it.

    Args:
        sweep: What is searched.
        folder: Where everything is written.
        slots: Environment variables of each place that runs one trial at a time.
        extra: What is added to the command of the trial with this folder.
        seed: Of the random and the Bayesian search.

    Raises:
        InputError: The folder is in use, holds another sweep, or cannot be written.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        slots: Sequence[dict[str, str]],
        extra: Callable[[Path], list[str]],
        seed: int = 0,
    ) -> None:
        self.sweep, self.folder, self.slots, self.extra, self.seed = sweep, folder, slots, extra, seed
        self.trials: list[Trial] = []

    def __enter__(self) -> "LocalSweep":
        self._lock = _lock(self.folder)
        try:
            self._load()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def _load(self) -> None:
        content, copy = self.sweep.path.read_bytes(), self.folder / "sweep.yaml"
        if copy.exists() and copy.read_bytes() != content:
            raise InputError(f"{self.folder} holds trials of another sweep file: choose another --out or remove it")
        copy.write_bytes(content)
        self.trials = [Trial.load(path.parent) for path in sorted(self.folder.glob("trials/*/trial.json"))]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # a seed of its own for what follows a restart: the first draws are not drawn again
        seed = self.seed + len(self.trials)
        # to the Bayesian search, trials that run count as poor, so that parallel ones differ
        bayes = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        sampler = bayes if self.sweep.method == "bayes" else optuna.samplers.RandomSampler(seed=seed)
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if self.sweep.maximize else "minimize")
        self._space = {name: parameter.distribution for name, parameter in self.sweep.space.items()}
        self._asked: dict[int, optuna.trial.Trial] = {}
        for trial in self.trials:
            if trial.status != "running":
                self._tell(trial)

    def trial_folder(self, trial: Trial) -> Path:
        """The trial's run folder."""
        return self.folder / "trials" / f"{trial.number:04d}"

    def best(self) -> Trial | None:
        """The best finished trial so far."""
        done = [trial for trial in self.trials if trial.status == "finished" and trial.value is not None]
        sign = -1 if self.sweep.maximize else 1
        return min(done, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def run(self, count: int) -> None:
        """Run until the folder has `count` trials, or the grid is exhausted.

        Raises:
            InputError: Several trials in a row failed.
        """
        waiting, running = self._waiting(count), dict[int, Running]()
        failures, exhausted = 0, False
        try:
            while running or not exhausted:
                for slot in range(len(self.slots)):
                    if slot not in running and not exhausted:
                        trial = next(waiting, None)
                        if trial is None:
                            exhausted = True
                        else:
                            running[slot] = self._start(trial, self.slots[slot])
                for slot, one in list(running.items()):
                    if one.process.poll() is not None:
                        del running[slot]
                        self._finish(one)
                        failures = failures + 1 if one.trial.status == "failed" else 0
                    elif one.told is None and self._falls_behind(one):
                        one.tell()
                    else:
                        one.kill_if_late()
                if failures >= _FAILURES_IN_A_ROW:
                    raise InputError(
                        f"{failures} trials in a row failed, the last with: {one.trial.error}\n"
                        f"logs: {self.folder}/trials/*/log.txt"
                    )
                time.sleep(_POLL_SECONDS)
        finally:
            stop(list(running.values()))

    def _waiting(self, count: int) -> Iterator[Trial]:
        """Interrupted trials, then new ones with the numbers that are free."""
        yield from [trial for trial in self.trials if trial.status == "running"]
        taken = {trial.number for trial in self.trials}
        points = self.sweep.grid() if self.sweep.method == "grid" else itertools.repeat(None)
        for number, point in enumerate(points, start=1):
            if len(self.trials) >= count:
                return
            if number not in taken:
                trial = Trial(number, point) if point is not None else self._ask(number)
                self.trials.append(trial)
                yield trial

    def _ask(self, number: int) -> Trial:
        asked = self._asked[number] = self._study.ask(self._space)
        parameters = {name: self.sweep.space[name].value(drawn) for name, drawn in asked.params.items()}
        return Trial(number, parameters, drawn=asked.params)

    def _tell(self, trial: Trial) -> None:
        if self.sweep.method == "grid":
            return
        # a trial that was stopped counts with what it had reached
        value = None if trial.status == "failed" else trial.value
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        asked = self._asked.pop(trial.number, None)
        if asked is not None:
            self._study.tell(asked, value, state=state)
            return
        known = optuna.trial.create_trial(state=state, value=value, params=trial.drawn, distributions=self._space)
        self._study.add_trial(known)

    def _start(self, trial: Trial, slot: dict[str, str]) -> Running:
        folder = self.trial_folder(trial)
        trial.save(folder)
        command = [*self.sweep.expand(trial.parameters, sys.executable), *self.extra(folder)]
        shown = " ".join(f"{short_name(name)}={as_text(value)}" for name, value in trial.parameters.items())
        print(f"trial {trial.number:4d}  starts    {shown}", flush=True)
        return start(trial, command, folder / "log.txt", slot, self._lock)

    def _falls_behind(self, one: Running) -> bool:
        """Asynchronous successive halving (Li et al., MLSys 2020), which W&B calls hyperband."""
        if not self.sweep.rungs:
            return False
        better, name = max if self.sweep.maximize else min, self.sweep.metric
        values = values_of(self.trial_folder(one.trial), name)
        rung = max((rung for rung in self.sweep.rungs if one.rung < rung <= len(values)), default=0)
        if not rung:
            return False
        one.rung = rung
        runs = [values_of(self.trial_folder(trial), name)[:rung] for trial in self.trials]
        at_rung = sorted((better(run) for run in runs if len(run) == rung), reverse=self.sweep.maximize)
        last_kept = at_rung[math.ceil(len(at_rung) / self.sweep.eta) - 1]
        own = better(values[:rung])
        return better(own, last_kept) != own

    def _finish(self, one: Running) -> None:
        one.log.close()
        trial, folder = one.trial, self.trial_folder(one.trial)
        trial.seconds += time.monotonic() - one.began
        if one.told is None and one.process.returncode in _INTERRUPTED:
            # no failure: left running, it goes on with the next run of the sweep
            trial.save(folder)
            print(f"trial {trial.number:4d}  was told to stop; the next run of the sweep goes on with it", flush=True)
            return
        trial.value = (max if self.sweep.maximize else min)(values_of(folder, self.sweep.metric), default=None)
        trial.status = "finished" if one.told is None else "stopped"
        if one.told is None and (one.process.returncode or trial.value is None):
            trial.status = "failed"
            lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            missing = f"it logged no {self.sweep.metric}"
            trial.error = (lines or [f"exit code {one.process.returncode}"])[-1] if one.process.returncode else missing
        trial.save(folder)
        self._tell(trial)
        best = self.best()
        result = trial.error if trial.value is None else f"{self.sweep.metric} {trial.value:.4g}"
        so_far = f"   best {best.value:.4g} (trial {best.number})" if best else ""
        print(f"trial {trial.number:4d}  {trial.status:8s}  {result}   {trial.seconds:.0f} s{so_far}", flush=True)


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
