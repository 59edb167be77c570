import pytest
import torch

from handlit.seeding import run_seed, seed_step


def draw(*place: int) -> torch.Tensor:
    seed_step(*place)
    return torch.rand(4)


def test_noise_is_a_function_of_the_place_in_the_run() -> None:
    first = draw(1, 2, 3, 0)
    torch.rand(17)
    assert torch.equal(draw(1, 2, 3, 0), first)


@pytest.mark.parametrize("place", [(0, 2, 3, 0), (1, 0, 3, 0), (1, 2, 0, 0), (1, 2, 3, 1), (1, 3, 2, 0)])
def test_seed_epoch_batch_and_rank_each_change_it(place: tuple[int, int, int, int]) -> None:
    assert not torch.equal(draw(*place), draw(1, 2, 3, 0))


def test_the_run_s_seed_is_lightning_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert run_seed() == 7
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert run_seed() == 0
