"""Scores of uncertainty where the answer is known: Gaussians of right and wrong width."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.distributions import Normal

from handlit.metrics import calibration
from handlit.metrics.calibration import LEVELS

STANDARD = Normal(torch.zeros(()).double(), torch.ones(()).double())


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_crps_of_a_gaussian() -> None:
    samples = STANDARD.sample((1, 400000)) * 2 + 1
    for value in (-3.0, 1.0, 2.5):
        z = torch.tensor((value - 1) / 2).double()
        closed = 2 * (z * (2 * STANDARD.cdf(z) - 1) + 2 * STANDARD.log_prob(z).exp() - 1 / math.sqrt(math.pi))
        score = calibration.crps(samples, torch.tensor([value]).double())
        assert score.item() == pytest.approx(closed.item(), abs=0.015)


@pytest.mark.parametrize("count", [2, 7, 8])
def test_crps_is_the_mean_over_literal_pairs(count: int) -> None:
    samples, target = torch.randn(2, count, 3).double(), torch.randn(2, 3).double()
    error = (samples - target[:, None]).abs().mean(1)
    pairs = (samples[:, :, None] - samples[:, None]).abs().sum((1, 2)) / (count * (count - 1))
    torch.testing.assert_close(calibration.crps(samples, target), error - pairs / 2)
    torch.testing.assert_close(calibration.crps(samples, target, samples.sort(dim=1).values), error - pairs / 2)


@pytest.mark.parametrize("count", [2, 7, 8])
def test_energy_score_is_the_mean_over_literal_pairs_and_in_one_dimension_the_crps(count: int) -> None:
    samples, target = torch.randn(2, count, 4, 3).double(), torch.randn(2, 4, 3).double()
    error = (samples - target[:, None]).norm(dim=-1).mean(1)
    pairs = (samples[:, :, None] - samples[:, None]).norm(dim=-1).sum((1, 2)) / (count * (count - 1))
    torch.testing.assert_close(calibration.energy_score(samples, target), error - pairs / 2)
    torch.testing.assert_close(
        calibration.energy_score(samples[..., :1], target[..., :1]), calibration.crps(samples, target)[..., 0]
    )


@pytest.mark.parametrize("score", [calibration.crps, calibration.energy_score])
def test_scores_do_not_depend_on_the_number_of_samples_and_favour_the_truth(score: Callable[..., torch.Tensor]) -> None:
    target = torch.randn(3000, 1, 3)
    expected = [score(torch.randn(3000, count, 1, 3), target).mean().item() for count in (5, 80)]
    assert expected[0] == pytest.approx(expected[1], rel=0.05)
    for factor in (0.5, 2.0):
        assert score(factor * torch.randn(3000, 80, 1, 3), target).mean() > expected[1] * 1.02
    one = torch.randn(5, 1, 1, 3)
    torch.testing.assert_close(score(one, one[:, 0]), torch.zeros_like(score(one, one[:, 0])))


def test_ranks_count_the_samples_that_are_closer_to_their_median() -> None:
    samples, target = torch.randn(2, 8, 4, 3), torch.randn(2, 4, 3)
    centre = samples.quantile(0.5, dim=1)
    closer = (samples - centre[:, None]).norm(dim=-1) < (target - centre).norm(dim=-1)[:, None]
    for ordered in (None, samples.sort(dim=1).values):
        assert torch.equal(calibration.radial_rank(samples, target, ordered), closer.float().mean(1))


def ranks_of(scale: float, dimensions: int) -> torch.Tensor:
    """Ranks of standard normal points among samples of another width."""
    count = 6000
    return calibration.radial_rank(scale * torch.randn(count, 200, 1, dimensions), torch.randn(count, 1, dimensions))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_gaussian_of_the_right_width_is_calibrated(dimensions: int) -> None:
    ranks = ranks_of(1.0, dimensions)
    covered = calibration.coverage(ranks.flatten())
    torch.testing.assert_close(covered, torch.tensor(LEVELS), atol=0.02, rtol=0)
    assert calibration.calibration_error(ranks.flatten()) < 0.01


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_gaussian_of_the_wrong_width_covers_what_it_must(scale: float) -> None:
    """In one dimension the central region of N(0, s^2) of mass p holds 2 Phi(s z_p) - 1 of N(0, 1)."""
    covered = calibration.coverage(ranks_of(scale, 1).flatten())
    bounds = STANDARD.icdf((torch.tensor(LEVELS).double() + 1) / 2)
    torch.testing.assert_close(covered, (2 * STANDARD.cdf(scale * bounds) - 1).float(), atol=0.025, rtol=0)
    assert calibration.calibration_error(ranks_of(scale, 1).flatten()) > 0.1


def test_the_calibration_error_of_a_method_that_is_always_surprised() -> None:
    surprised, never = torch.ones(100), torch.zeros(100)
    assert calibration.calibration_error(surprised).item() == pytest.approx(9.5 / 21)
    assert calibration.calibration_error(never).item() == pytest.approx(9.5 / 21)


def test_nll_is_torch_distributions() -> None:
    mean, scale, target = torch.randn(4, 3), torch.rand(4, 3) + 0.1, torch.randn(4, 3)
    expected = -Normal(mean, scale).log_prob(target).mean(-1)
    torch.testing.assert_close(calibration.gaussian_nll(mean, scale, target), expected)


def test_sparsification_by_the_errors_themselves_is_the_best() -> None:
    errors = torch.rand(1000)
    assert calibration.ause(errors, errors).abs().item() == 0
    assert calibration.ause(errors, 3 * errors.square()).abs().item() == pytest.approx(0, abs=1e-6)
    random, reverse = calibration.ause(errors, torch.rand(1000)), calibration.ause(errors, -errors)
    assert 0 < random < reverse
    # of uniform errors in [0, 1] the best keep a mean of (1 - f) / 2 and a random order keeps 1 / 2
    assert random.item() == pytest.approx(0.5, abs=0.05)
    curve = calibration.sparsification(errors, errors, steps=4)
    ordered = errors.sort().values
    torch.testing.assert_close(curve, torch.stack([ordered[:n].mean() for n in (1000, 750, 500, 250)]))


def test_rank_correlation_sees_order_alone() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    first, second = torch.randn(200), torch.randn(200)
    mixed = first + second
    expected = scipy_stats.spearmanr(first, mixed).statistic
    assert calibration.rank_correlation(first, mixed).item() == pytest.approx(expected, abs=1e-9)
    assert calibration.rank_correlation(first, first.exp()).item() == pytest.approx(1)


def test_many_samples_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    samples, target = torch.randn(2, 50, 3, 3), torch.randn(2, 3, 3)
    whole = calibration.energy_score(samples, target)
    for pairs in (70, 130, 4000):
        monkeypatch.setattr(calibration, "_PAIRS", pairs)
        torch.testing.assert_close(calibration.energy_score(samples, target), whole)
    # more numbers than torch.quantile takes
    many = torch.zeros(1, 90_000, 63, 3)
    assert (calibration.radial_rank(many, torch.ones(1, 63, 3)) == 1).all()
