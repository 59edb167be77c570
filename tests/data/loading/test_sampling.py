"""The order of samples: complete, reproducible, and independent of workers and processes."""

from collections import Counter
from collections.abc import Callable
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from handlit.data.loading import sampling
from handlit.data.loading.sampling import EvaluationSampler, ResumableLoader, SeededIndex, TrainingSampler
from handlit.errors import InputError


def seeded_indices(sampler: TrainingSampler, epoch: int = 0) -> list[SeededIndex]:
    sampler.set_epoch(epoch)
    return list(sampler)


def on_ranks(monkeypatch: pytest.MonkeyPatch, world: int, make: Callable[[], Any]) -> list[list[SeededIndex]]:
    """What every rank of a number of processes gets."""
    parts = []
    for rank in range(world):
        monkeypatch.setattr(sampling, "_rank_and_world_size", lambda rank=rank: (rank, world))
        parts.append(list(make()))
    return parts


def test_every_sample_once_an_epoch_in_another_order_each_time() -> None:
    sampler = TrainingSampler([50], seed=3)
    epochs = [seeded_indices(sampler, epoch) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(item.index for item in epoch) == list(range(50))
    assert len({tuple(item.index for item in epoch) for epoch in epochs}) == 3
    assert len({item.seed for epoch in epochs for item in epoch}) == 150
    assert seeded_indices(TrainingSampler([50], seed=3), 1) == epochs[1]
    assert seeded_indices(TrainingSampler([50], seed=4), 1) != epochs[1]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_batches_of_one(monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    alone = seeded_indices(TrainingSampler([50], seed=0))
    parts = on_ranks(monkeypatch, world, lambda: TrainingSampler([50], seed=0))
    assert {len(part) for part in parts} == {50 // world}
    dealt = list(chain.from_iterable(zip(*parts, strict=True)))
    assert dealt == alone[: len(dealt)]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [1, 6, 20])
def test_evaluation_neither_repeats_nor_drops(monkeypatch: pytest.MonkeyPatch, world: int, length: int) -> None:
    parts: list[list[Any]] = on_ranks(monkeypatch, world, lambda: EvaluationSampler(length))
    assert sorted(chain.from_iterable(parts)) == list(range(length))
    assert all(part == sorted(part) for part in parts)


def test_weights_decide_the_share_and_no_sample_is_favoured() -> None:
    sampler = TrainingSampler([1000, 10, 30], weights=[0.5, 0.25, 0.25], epoch_samples=40, seed=1)
    assert sampler.counts == [20, 10, 10]
    drawn: Counter[int] = Counter()
    for epoch in range(6):
        indices = [item.index for item in seeded_indices(sampler, epoch)]
        assert len(indices) == len(sampler) == 40
        assert sum(index < 1000 for index in indices) == 20
        drawn.update(indices)
    assert {drawn[index] for index in range(1000, 1010)} == {6}
    assert {drawn[index] for index in range(1010, 1040)} == {2}
    assert max(drawn[index] for index in range(1000)) == 1


def test_shares_add_up() -> None:
    for weights in ([1, 1, 1], [0.3, 0.3, 0.4], [5, 0, 2]):
        sampler = TrainingSampler([100, 100, 100], weights, epoch_samples=100, seed=0)
        np.testing.assert_allclose(sampler.counts, np.array(weights) / sum(weights) * 100, atol=1)
        assert sum(sampler.counts) == 100


@pytest.mark.parametrize(
    ("lengths", "weights"), [([], None), ([3, 0], None), ([3, 3], [1.0]), ([3], [-1.0]), ([3, 3], [0.0, 0.0])]
)
def test_impossible_mixtures_are_refused(lengths: list[int], weights: list[float] | None) -> None:
    with pytest.raises(InputError, match="datasets"):
        TrainingSampler(lengths, weights)


class Echo(Dataset[torch.Tensor]):
    """Answers what it is asked for."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, item: SeededIndex) -> torch.Tensor:
        return torch.tensor([item.index, item.seed])


def loader(workers: int = 0) -> ResumableLoader:
    sampler = TrainingSampler([23], seed=0)
    return ResumableLoader(Echo(), batch_size=4, sampler=sampler, drop_last=True, num_workers=workers)


def epoch_of(source: ResumableLoader, epoch: int) -> list[list[list[int]]]:
    sampler: Any = source.sampler
    sampler.set_epoch(epoch)
    return [batch.tolist() for batch in source]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_loader_goes_on_where_it_stopped(workers: int) -> None:
    whole = loader(workers)
    batches = [epoch_of(whole, epoch) for epoch in range(2)]
    assert [len(epoch) for epoch in batches] == [5, 5]

    stopped = loader(workers)
    sampler: Any = stopped.sampler
    sampler.set_epoch(0)
    assert [batch.tolist() for batch in islice(iter(stopped), 2)] == batches[0][:2]
    state = stopped.state_dict()

    resumed = loader(workers)
    resumed.load_state_dict(state)
    assert len(resumed) == 5
    assert epoch_of(resumed, 0) == batches[0][2:]
    assert epoch_of(resumed, 1) == batches[1]


def test_a_checkpoint_at_an_epochs_end_resumes_with_the_next() -> None:
    whole = loader()
    epoch_of(whole, 0)
    resumed = loader()
    resumed.load_state_dict(whole.state_dict())
    assert epoch_of(resumed, 1) == epoch_of(loader(), 1)


def test_an_epoch_that_was_cut_short_is_not_gone_on_with() -> None:
    """As with ``trainer.limit_train_batches``."""
    limited = loader()
    assert len(list(islice(iter(limited), 2))) == 2
    resumed = loader()
    resumed.load_state_dict(limited.state_dict())
    assert epoch_of(resumed, 1) == epoch_of(loader(), 1)


def test_another_number_of_samples_a_step_cannot_go_on_within_an_epoch() -> None:
    stopped = loader()
    assert len(list(islice(iter(stopped), 2))) == 2
    resumed = ResumableLoader(Echo(), batch_size=2, sampler=TrainingSampler([23], seed=0))
    resumed.load_state_dict(stopped.state_dict())
    with pytest.raises(InputError, match=r"took 4 samples a step.* with 2"):
        epoch_of(resumed, 0)


def test_the_state_of_an_earlier_version_is_refused() -> None:
    with pytest.raises(InputError, match="without epoch and together"):
        loader().load_state_dict({"batches": 3})
