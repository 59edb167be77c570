"""The likelihood of samples where the density is known: Gaussians, two modes, what has none, and joints of a mesh."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal, Normal

from handlit.metrics import likelihood
from handlit.metrics.likelihood import sample_nll

IMAGES = 600


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def normal(mean: float, scale: float) -> Normal:
    return Normal(torch.tensor(mean), torch.tensor(scale))


def modes(share: float, apart: float, scale: float) -> Distribution:
    places = Normal(torch.tensor([-apart / 2, apart / 2]), torch.tensor([scale, scale]))
    return MixtureSameFamily(Categorical(torch.tensor([share, 1 - share])), places)


def estimated(drawn: Distribution, truth: Distribution, count: int = 200) -> tuple[float, float]:
    """Means over many images: estimated, and by the density itself."""
    target = truth.sample((IMAGES,))
    found = sample_nll(drawn.sample((IMAGES, count)), target, 0.01)
    return found.mean().item(), -drawn.log_prob(target).mean().item()


@pytest.mark.parametrize(
    ("drawn", "most"),
    [(normal(3.0, 10.0), 0.02), (normal(0.0, 0.5), 0.02), (modes(0.5, 80, 6), 0.05), (modes(0.2, 60, 5), 0.05)],
)
def test_of_the_truths_own_distribution_it_is_the_entropy(drawn: Distribution, most: float) -> None:
    found, exact = estimated(drawn, drawn)
    assert -0.01 < found - exact < most


def test_the_unit_and_the_entropy_of_a_gaussian() -> None:
    found, _ = estimated(normal(0.0, 10.0), normal(0.0, 10.0))
    assert found == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 100), abs=0.06)
    samples, target = torch.randn(4, 50, 2), torch.randn(4, 2)
    scaled = sample_nll(10 * samples, 10 * target, 0.1)
    torch.testing.assert_close(scaled, sample_nll(samples, target, 0.01) + math.log(10), rtol=1e-4, atol=1e-4)


def test_two_modes_are_no_wide_gaussian() -> None:
    drawn = modes(0.5, 80, 6)
    found, _ = estimated(drawn, drawn)
    one, _ = estimated(normal(0.0, math.hypot(40, 6)), drawn)
    assert found < one - 1
    # between them, where a Gaussian is highest, there is little
    between = sample_nll(drawn.sample((50, 200)), torch.zeros(50), 0.01)
    assert between.min() > 6


@pytest.mark.parametrize("make", [lambda scale: normal(0.0, scale), lambda scale: modes(0.5, 60, scale)])
def test_the_right_width_has_the_best_score(make: Callable[[float], Distribution]) -> None:
    truth = make(8.0)
    right, narrow, wide = (estimated(make(scale), truth)[0] for scale in (8.0, 4.0, 16.0))
    assert right < narrow - 0.1
    assert right < wide - 0.1


def test_far_from_the_samples_it_falls_as_a_gaussian() -> None:
    samples = torch.randn(200, 200)
    for value in (4.0, 6.0, 10.0):
        found = sample_nll(samples, torch.full((200,), value), 0.01)
        exact = 0.5 * value**2 + 0.5 * math.log(2 * math.pi)
        # of a hundredth of the standard deviation that 200 samples leave open, and of the Gaussian's share
        assert found.median().item() == pytest.approx(exact, rel=0.1, abs=1.5)


def test_samples_that_are_all_the_same_have_the_least_width() -> None:
    samples, target = torch.full((1, 200, 3), 5.0), torch.tensor([[5.0, 6.0, 25.0]])
    expected = -Normal(5.0, 1.0).log_prob(target)
    torch.testing.assert_close(sample_nll(samples, target, 1.0), expected)
    for count in (1, 2):
        torch.testing.assert_close(sample_nll(samples[:, :count], target, 1.0), expected)
    # as does what is narrower
    narrow = sample_nll(5 + 0.1 * torch.randn(1, 200, 3), target, 1.0)
    torch.testing.assert_close(narrow, expected, rtol=0.01, atol=0.02)


def test_repeated_draws_make_no_spikes() -> None:
    samples, target = 10 * torch.randn(IMAGES, 40), 10 * torch.randn(IMAGES)
    once, often = (sample_nll(points, target, 0.01).mean() for points in (samples, samples.repeat(1, 5)))
    assert abs(often - once) < 0.03


def test_every_coordinate_is_scored_by_itself() -> None:
    """Of dependent coordinates it is the marginals' likelihood, whatever their correlation."""
    covariance = torch.tensor([[100.0, 95.0], [95.0, 100.0]])
    drawn = MultivariateNormal(torch.zeros(2), covariance)
    target = drawn.sample((IMAGES,))
    found = sample_nll(drawn.sample((IMAGES, 200)), target, 0.01)
    exact = -Normal(0.0, 10.0).log_prob(target)
    torch.testing.assert_close(found.mean(0), exact.mean(0), rtol=0, atol=0.02)
    assert found.shape == (IMAGES, 2)


def test_it_does_not_depend_on_what_is_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, target = torch.randn(3, 30, 21, 3), torch.randn(3, 21, 3)
    whole = sample_nll(samples, target, 0.1)
    kept: tuple[Tensor, Tensor] = samples.clone(), target.clone()
    monkeypatch.setattr(likelihood, "_PAIRS", 1000)
    torch.testing.assert_close(sample_nll(samples, target, 0.1), whole)
    assert torch.equal(samples, kept[0])
    assert torch.equal(target, kept[1])
