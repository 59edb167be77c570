"""Losses and gradients that are not finite are found, with the batch that they came from."""

import pytest
import torch

from handlit.errors import NonFiniteError
from handlit.methods.loss_watch import MAX_WATCHED, LossWatch
from tests.methods.hands import hand_batch


def test_numbers_are_watched_without_fetching_them_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = LossWatch()
    batches = [hand_batch(1, seed) for seed in range(4)]
    for number, (batch, value) in enumerate(zip(batches[:3], (1.0, float("inf"), float("nan")), strict=True)):
        batch.key = [f"hand {number}"]
        watch.add(batch, 3, number, torch.tensor(value))
    assert len(watch) == 3
    with pytest.raises(NonFiniteError, match=r"training loss .* batch of hand 1") as found:
        watch.check()
    assert found.value.batch is batches[1]
    assert (found.value.epoch, found.value.batch_idx) == (3, 1)
    watch.check()
    watch.add(batches[3], 0, 0, torch.tensor(1.0))
    watch.add_gradient(torch.tensor(float("inf")))
    with pytest.raises(NonFiniteError, match=r"training gradient .* batch of hand/0000\. "):
        watch.check()
    monkeypatch.setattr("handlit.methods.loss_watch.several_processes", lambda: True)
    watch.add(batches[3], 0, 0, torch.tensor(1.0))
    watch.add_gradient(torch.tensor(float("inf")))
    with pytest.raises(NonFiniteError, match=r"batch of hand/0000 or another process's\. "):
        watch.check()


def test_however_many_batches_make_a_step_only_some_are_kept() -> None:
    watch, batch = LossWatch(), hand_batch(1)
    for number in range(3 * MAX_WATCHED):
        watch.add(batch, 0, number, torch.tensor(1.0))
        assert 1 <= len(watch) <= MAX_WATCHED
    # the step that the gradient belongs to is never among those that were checked
    watch.add_gradient(torch.tensor(float("inf")))
    with pytest.raises(NonFiniteError, match="gradient"):
        watch.check()
    for number in range(MAX_WATCHED):
        watch.add(batch, 0, number, torch.tensor(float("nan") if number == 7 else 1.0))
    with pytest.raises(NonFiniteError) as found:
        watch.add(batch, 0, MAX_WATCHED, torch.tensor(1.0))
    assert found.value.batch_idx == 7
