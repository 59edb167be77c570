"""The trials of a sweep in Optuna's storage: which comes next, which falls behind, what became of each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from typing_extensions import override

from handlit.errors import InputError, one_line
from handlit.files import write_bytes
from handlit.sweeps.sweep_file import Sweep
from handlit.sweeps.trial import Status, Trial

_STATUS: dict[TrialState, Status] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


class _FolderIsLocked(JournalFileOpenLock):
    """Nobody else writes: a sweep locks its folder. Optuna's own locks would outlive a killed sweep."""

    @override
    def acquire(self) -> bool:
        return True

    @override
    def release(self) -> None:
        pass


class SweepStudy:
    """Trials of a sweep; they survive it in ``journal.log`` of its folder.

    A trial has the folder ``trials/NUMBER``. One whose folder was removed is forgotten: a grid runs its point again.

    Args:
        sweep: What is searched.
        folder: Of the sweep; it must be locked.
        seed: Of the random and the Bayesian search.

    Raises:
        InputError: The folder holds another sweep, or the journal cannot be read.

    References:
        Trials that fall behind are found by asynchronous successive halving, which W&B calls hyperband: Li et al., A
        System for Massively Parallel Hyperparameter Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934, algorithm 2.
    """

    def __init__(self, sweep: Sweep, folder: Path, seed: int) -> None:
        self._sweep, self._folder = sweep, folder
        self._space: dict[str, BaseDistribution] = {
            name: parameter.distribution for name, parameter in sweep.space.items()
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = self._load()
        # a seed of its own for what follows a restart: the first draws are not drawn again
        seed += len(self._study.trials)
        # to the Bayesian search, trials that run count as poor, so that parallel ones differ
        bayes = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study.sampler = bayes if sweep.method == "bayes" else optuna.samplers.RandomSampler(seed=seed)

    def _load(self) -> optuna.Study:
        content, copy, journal = (
            self._sweep.path.read_bytes(),
            self._folder / "sweep.yaml",
            self._folder / "journal.log",
        )
        if copy.exists() and copy.read_bytes() != content:
            raise InputError(f"{self._folder} holds trials of another sweep file: choose another --out or remove it")
        if copy.exists() and not journal.exists():
            raise InputError(f"{journal} is missing, the list of trials: choose another --out or remove {self._folder}")
        halving = optuna.pruners.SuccessiveHalvingPruner(self._sweep.min_iter or 1, self._sweep.eta)
        if journal.exists():
            _drop_torn_line(journal)
        try:
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal), _FolderIsLocked(str(journal)))),
                study_name="sweep",
                direction="maximize" if self._sweep.maximize else "minimize",
                pruner=halving if self._sweep.min_iter else optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        # a damaged journal fails in every way
        except Exception as error:
            raise InputError(
                f"{journal} cannot be read ({one_line(error)}): choose another --out or remove {self._folder}"
            ) from error
        copy.write_bytes(content)
        return study

    def trial_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self._folder / "trials" / f"{number:04d}"

    def trials(self) -> list[Trial]:
        """All trials that have a folder, by number."""
        return [self._shown(trial) for trial in self._known()]

    def _known(self) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if self.trial_folder(trial.number + 1).is_dir()]

    def _shown(self, trial: FrozenTrial) -> Trial:
        return Trial(
            trial.number + 1,
            self._sweep.settings(trial.params),
            _STATUS[trial.state],
            trial.value,
            trial.user_attrs.get("seconds", 0.0),
            trial.user_attrs.get("error", ""),
        )

    def waiting(self, count: int) -> Iterator[Trial]:
        """Interrupted trials, then new ones until there are `count` or the grid is exhausted."""
        yield from [trial for trial in self.trials() if trial.status == "running"]
        grid = self._new_points() if self._sweep.method == "grid" else None
        while len(self._known()) < count:
            if grid is None:
                number = self._study.ask(self._space).number + 1
            else:
                point = next(grid, None)
                if point is None:
                    return
                self._study.add_trial(create_trial(state=TrialState.RUNNING, params=point, distributions=self._space))
                number = len(self._study.get_trials(deepcopy=False))
            self.trial_folder(number).mkdir()
            yield self._shown(self._frozen(number))

    def _new_points(self) -> Iterator[dict[str, object]]:
        taken = {tuple(trial.params[name] for name in self._space) for trial in self._known()}
        return (point for point in self._sweep.grid() if tuple(point.values()) not in taken)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number - 1]

    def _stored(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._frozen(number)._trial_id)

    def falls_behind(self, trial: Trial, values: Sequence[float]) -> bool:
        """Whether a trial should be stopped, by its best value at each rung that it has reached.

        Args:
            trial: One that runs.
            values: All that it has logged so far.
        """
        stored, better = self._stored(trial.number), max if self._sweep.maximize else min
        behind = False
        for count in range((self._frozen(trial.number).last_step or 0) + 1, len(values) + 1):
            stored.report(better(values[:count]), count)
            # remembers the value at a rung, which others are held against
            behind |= stored.should_prune()
        return behind

    def add_seconds(self, trial: Trial, seconds: float) -> None:
        """Count the time of one process of a trial."""
        self._stored(trial.number).set_user_attr("seconds", trial.seconds + seconds)

    def finish(self, trial: Trial, values: Sequence[float], error: str, stopped: bool) -> Trial:
        """Keep what became of a trial.

        Args:
            trial: One that ran.
            values: All that it has logged.
            error: Why it failed; empty if it did not.
            stopped: Whether it was stopped early. The search then knows what it had reached.
        """
        stored, best = self._stored(trial.number), (max if self._sweep.maximize else min)(values, default=None)
        if self._sweep.min_iter:
            self.falls_behind(trial, values)
        if error:
            stored.set_user_attr("error", error)
            self._study.tell(stored, state=TrialState.FAIL)
        elif stopped:
            self._study.tell(stored, state=TrialState.PRUNED)
        else:
            self._study.tell(stored, best)
        return self._shown(self._frozen(trial.number))


def _drop_torn_line(journal: Path) -> None:
    """Drop what was written half, for want of space: Optuna would append to it."""
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_bytes(journal, whole)
