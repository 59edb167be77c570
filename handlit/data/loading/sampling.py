"""Which samples come when: the order of training depends on the seed alone, not on workers or processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.distributed
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from handlit.errors import InputError
from handlit.seeding import run_seed


@dataclass(frozen=True, slots=True)
class SeededIndex:
    """A sample of a training epoch.

    Attributes:
        index: Position in the dataset.
        seed: Of everything random about this sample, so that it is the same whichever worker makes it.
    """

    index: int
    seed: int


def _rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class TrainingSampler(DistributedSampler[SeededIndex]):
    """Shuffled samples of one or several datasets, dealt out to the processes in turn.

    With W processes and batches of B, the processes' batches of a step are together the same W B samples that one
    process with batches of W B would take. Up to W - 1 samples at the end of an epoch are left out, so that all
    processes take as many steps.

    Several datasets are mixed by their weights. Each is read in shuffled passes of its own, which do not stop
    at an epoch's end: no sample comes a second time before every other one of its dataset has come once.

    It is a `DistributedSampler` so that Lightning leaves it alone.

    Args:
        lengths: Samples of each dataset; indices count through all of them in this order.
        weights: Share of each dataset in an epoch; None for their lengths.
        epoch_samples: Samples of an epoch; None for all of them.
        seed: Of the order and of the samples' seeds; None for the run's.

    Raises:
        InputError: A dataset is empty, or weights do not fit.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        weights: Sequence[float] | None = None,
        epoch_samples: int | None = None,
        seed: int | None = None,
    ) -> None:
        if not lengths or min(lengths) < 1:
            raise InputError(f"training needs datasets with at least one sample each, got {list(lengths)}")
        if weights is not None and (len(weights) != len(lengths) or min(weights) < 0 or sum(weights) <= 0):
            raise InputError(f"{len(lengths)} datasets need as many weights of at least 0, got {list(weights)}")
        self.lengths = list(lengths)
        self.seed = run_seed() if seed is None else seed
        self.epoch = 0
        self.first = 0
        self.counts = _shares(weights or lengths, epoch_samples or sum(lengths))

    def __len__(self) -> int:
        return sum(self.counts) // _rank_and_world_size()[1]

    def __iter__(self) -> Iterator[SeededIndex]:
        rank, world = _rank_and_world_size()
        offsets = np.cumsum([0, *self.lengths[:-1]])
        parts = [offset + self._pass(dataset) for dataset, offset in enumerate(offsets)]
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(np.concatenate(parts))
        seeds = rng.integers(2**62, size=len(order))
        first, self.first = self.first, 0
        mine = slice(rank + first * world, len(self) * world, world)
        return (SeededIndex(int(index), int(seed)) for index, seed in zip(order[mine], seeds[mine], strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; Lightning calls it."""
        self.epoch = epoch

    def skip(self, samples: int) -> None:
        """Let the next iteration begin after that many samples of this process."""
        self.first = samples

    def _pass(self, dataset: int) -> np.ndarray:
        """This epoch's indices of one dataset, from its endless row of shuffled passes."""
        length, count = self.lengths[dataset], self.counts[dataset]
        start = self.epoch * count
        passes = range(start // length, -(-(start + count) // length))
        rows = [np.random.default_rng([self.seed, dataset, number]).permutation(length) for number in passes]
        if not rows:
            return np.zeros(0, dtype=np.int64)
        skipped = start - passes[0] * length
        return np.concatenate(rows)[skipped : skipped + count]


def _shares(weights: Sequence[float], total: int) -> list[int]:
    """Whole numbers in proportion to weights, which add up to the total (largest remainders)."""
    exact = np.asarray(weights, dtype=np.float64) / sum(weights) * total
    counts = np.floor(exact).astype(int)
    for position in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[position] += 1
    return counts.tolist()


class EvaluationSampler(DistributedSampler[int]):
    """Every sample exactly once, in order, dealt out to the processes in turn: none is repeated to even them out.

    Args:
        length: Samples of the dataset.
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return len(self._mine())

    def __iter__(self) -> Iterator[int]:
        return iter(self._mine())

    def set_epoch(self, epoch: int) -> None:
        """Every epoch has the same order."""

    def _mine(self) -> range:
        rank, world = _rank_and_world_size()
        return range(rank, self.length, world)


class ResumableLoader(DataLoader[Any]):
    """A loader over a `TrainingSampler` that resumes within an epoch where a checkpoint was written.

    Lightning saves and restores its state with the checkpoint. Batches that workers have prepared but the training has
    not seen do not count.
    """

    batch_size: int
    _batches = 0
    _start: dict[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        start, self._start = self._start, None
        self._batches = 0
        # a state of an epoch's end is of the epoch before
        if start is not None and isinstance(self.sampler, TrainingSampler) and start["epoch"] == self.sampler.epoch:
            if start["together"] != self._together():
                raise InputError(
                    f"the run was stopped within an epoch, where it took {start['together']} samples a step, and is to "
                    f"resume with {self._together()}: keep batch size and number of processes"
                )
            self._batches = start["batches"]
            self.sampler.skip(self._batches * self.batch_size)
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def _together(self) -> int:
        """Samples of a step of all processes."""
        return self.batch_size * _rank_and_world_size()[1]

    def state_dict(self) -> dict[str, int]:
        """How many batches of which epoch have been taken, and how many samples all processes take at a time."""
        # for overfit_batches Lightning puts another sampler in, whose epochs are all the same
        epoch = self.sampler.epoch if isinstance(self.sampler, TrainingSampler) else 0
        return {"epoch": epoch, "batches": self._batches, "together": self._together()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after these batches if the next iteration is of their epoch.

        Raises:
            InputError: The state is of an earlier handlit, which kept less; or, by the next iteration, it is of that
                epoch and a step's samples are not as many.
        """
        if not isinstance(state, dict) or not all(isinstance(count, int) and count >= 0 for count in state.values()):
            raise InputError("the checkpoint is damaged: its state of the data is no counts by name")
        if missing := self.state_dict().keys() - state.keys():
            raise InputError(
                f"an earlier handlit wrote the checkpoint without {' and '.join(sorted(missing))} of its data: resume "
                "with that version (RUN/environment.json names it), or start anew"
            )
        self._start = state
