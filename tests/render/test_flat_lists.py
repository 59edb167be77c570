import pytest
import torch

from handlit.render.flat_lists import expand, runs


@pytest.mark.parametrize("counts", [[], [0], [3], [0, 0, 2, 0, 5, 1, 0], [0, 1, 0, 0]])
def test_expand_counts_every_list_out(counts: list[int]) -> None:
    owner, place = expand(torch.tensor(counts, dtype=torch.int64))
    assert owner.tolist() == [i for i, count in enumerate(counts) for _ in range(count)]
    assert place.tolist() == [j for count in counts for j in range(count)]


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
def test_runs_cover_everything_in_order_within_the_limit(limit: int) -> None:
    cost = torch.tensor([0, 2, 1, 7, 0, 3, 3, 1, 0])
    cuts = runs(cost, limit)
    assert [i for cut in cuts for i in range(cut.start, cut.stop)] == list(range(len(cost)))
    assert all(cost[cut].sum() <= limit + cost.max() for cut in cuts)
    assert len(cuts) <= cost.sum() / limit + 1
    assert runs(cost[:0], limit) == [slice(0, 0)]
