"""Weights against the exact posterior of a Gaussian prior, an effective size by hand, and missing joints."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.distributions.importance import POOL, ReweightedHands, effective_sample_size, log_weights
from handlit.errors import InputError
from handlit.types import Hypotheses

BOX, PRIOR, NOISE = 100.0, 8.0, 0.05
GIVEN = torch.tensor([6.0, -4.0])
MISSING = torch.nan


def layout() -> Tensor:
    """(21, 2) joints of a hand whose box is `BOX` wide."""
    points = torch.rand(21, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([BOX, BOX / 2])
    points[:2, 0] = torch.tensor([0.0, BOX])
    return points


def detections(known: int) -> tuple[Tensor, Tensor]:
    """The hand shifted by `GIVEN`, of which only the first joints are found."""
    detected, confidence = layout()[None] + GIVEN, torch.zeros(1, 21)
    confidence[:, :known] = 1
    detected[:, known:] = MISSING
    return detected, confidence


class ShiftedHands:
    """The layout, shifted by a Gaussian with standard deviation `PRIOR` along each axis."""

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        shift = temperature * PRIOR * torch.randn(1, count, 1, 2)
        log_prob = Normal(0.0, temperature * PRIOR).log_prob(shift).sum((-1, -2))
        in_space = torch.nn.functional.pad(shift, (0, 1)).expand(-1, -1, 21, -1)
        mesh = in_space[:, :, :1].expand(-1, -1, 778, -1) if vertices else None
        return Hypotheses(in_space, layout() + shift, mesh, log_prob)


def exact(known: int) -> tuple[Tensor, float]:
    """Mean (2,) and variance of the shift, given the known joints."""
    precision = known / (NOISE * BOX) ** 2
    return GIVEN * precision / (precision + PRIOR**-2), 1 / (precision + PRIOR**-2)


@pytest.mark.parametrize("known", [1, 3])
def test_weighted_hypotheses_have_the_posterior_of_a_gaussian(known: int) -> None:
    torch.manual_seed(1)
    drawn = ShiftedHands().hypotheses(20_000)
    weights = log_weights(drawn.joints_2d, *detections(known), noise=NOISE, outliers=0).exp()[0]
    shift, (mean, variance) = drawn.joints_root[0, :, 0, :2], exact(known)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(weights @ shift, mean, atol=0.1, rtol=0)
    torch.testing.assert_close(weights @ (shift - mean) ** 2, torch.full((2,), variance), atol=0, rtol=0.05)


def test_an_outlier_lies_anywhere_in_the_box() -> None:
    torch.manual_seed(2)
    drawn = ShiftedHands().hypotheses(20_000)
    detected, confidence = detections(1)
    weights = log_weights(drawn.joints_2d, detected, 0.8 * confidence, NOISE, outliers=0.3).exp()[0]
    inlier, evidence = 0.8 * 0.7, Normal(0.0, (PRIOR**2 + (NOISE * BOX) ** 2) ** 0.5).log_prob(GIVEN).sum().exp()
    share = inlier * evidence / (inlier * evidence + (1 - inlier) / BOX**2)
    assert 0.3 < share < 0.97
    torch.testing.assert_close(weights @ drawn.joints_root[0, :, 0, :2], share * exact(1)[0], atol=0.12, rtol=0)


def test_a_joint_far_off_does_not_outweigh_the_others() -> None:
    hypotheses = torch.stack([layout(), layout() + 2])[None]
    detected = layout()[None].clone()
    # nearer to the second hypothesis than to the first, and far from both
    detected[:, 20] += 60
    assert log_weights(hypotheses, detected, torch.ones(1, 21), NOISE).exp()[0, 0] > 0.9
    assert log_weights(hypotheses, detected, torch.ones(1, 21), NOISE, outliers=0).exp()[0, 0] < 0.5


def test_missing_joints_change_nothing() -> None:
    hypotheses = layout() + torch.randn(3, 8, 21, 2, generator=torch.Generator().manual_seed(3))
    detected, confidence = layout().repeat(3, 1, 1), torch.full((3, 21), 0.9)
    confidence[0, 4:] = 0
    unknown, without = detected.clone(), confidence.clone()
    unknown[0, 4:] = MISSING
    # no number, whatever the confidence says, is no joint
    unknown[1, 7], without[1, 7] = torch.inf, 0
    weights = log_weights(hypotheses, detected, without)
    assert torch.equal(log_weights(hypotheses, unknown, confidence), weights)
    assert effective_sample_size(weights)[0] > effective_sample_size(weights)[2]
    nothing = log_weights(hypotheses, torch.full_like(detected, MISSING), torch.zeros(3, 21))
    torch.testing.assert_close(nothing, torch.full((3, 8), -math.log(8)))


@pytest.mark.parametrize("outliers", [0.0, 0.05])
def test_numbers_stay_finite_however_far_the_joints_are(outliers: float) -> None:
    hypotheses = torch.stack([layout(), layout() + 1e5, torch.zeros(21, 2)])[None]
    weights = log_weights(hypotheses, layout()[None] + 1e6, torch.ones(1, 21), outliers=outliers)
    assert torch.isfinite(weights).all()
    assert torch.isfinite(log_weights(torch.zeros(1, 4, 21, 2), layout()[None], torch.ones(1, 21))).all()


def test_noise_is_a_share_of_the_box() -> None:
    hypotheses = layout() + torch.randn(1, 8, 1, 2, generator=torch.Generator().manual_seed(3))
    args = layout()[None], torch.full((1, 21), 0.5)
    torch.testing.assert_close(
        log_weights(hypotheses, *args, NOISE), log_weights(7 * hypotheses, 7 * args[0], args[1], NOISE)
    )


def test_the_effective_size_counts_equal_weights() -> None:
    rows = torch.full((3, 10), -torch.inf)
    rows[0], rows[1, 4], rows[2, :5] = -300.0, 20.0, 1.0
    torch.testing.assert_close(effective_sample_size(rows), torch.tensor([10.0, 1.0, 5.0]))
    weights = torch.tensor([[0.5, 0.25, 0.25]])
    torch.testing.assert_close(effective_sample_size(weights.log()), torch.tensor([1 / 0.375]))


def test_resampled_hands_have_the_posterior_and_stay_whole() -> None:
    torch.manual_seed(4)
    detected, confidence = detections(1)
    drawn = ReweightedHands(ShiftedHands(), detected, confidence, NOISE).hypotheses(4000, vertices=True, density=True)
    shift = drawn.joints_root[0, :, 0, :2]
    assert drawn.joints_2d.shape == (1, 4000, 21, 2)
    torch.testing.assert_close(drawn.joints_2d[0] - layout(), shift[:, None].expand(-1, 21, -1), atol=1e-4, rtol=0)
    assert drawn.vertices_root is not None
    assert torch.equal(drawn.vertices_root[0, :, 0, :2], shift)
    assert drawn.pose is None
    # five in a hundred joints are outliers
    mean, variance = exact(1)
    torch.testing.assert_close(shift.mean(0), mean, atol=0.4, rtol=0)
    torch.testing.assert_close(shift.var(0), torch.full((2,), variance), atol=0, rtol=0.15)
    assert drawn.log_prob is not None
    density = Normal(mean, variance**0.5).log_prob(shift).sum(-1)
    near = (shift - mean).norm(dim=-1) < 5
    torch.testing.assert_close(drawn.log_prob[0][near], density[near], atol=0.25, rtol=0)
    # the order is that of chance: the first ones are as good as any
    assert (shift[:-1] == shift[1:]).all(-1).float().mean() < 10 / POOL / 4000 + 0.01


@pytest.mark.parametrize(("settings", "word"), [({"noise": 0.0}, "noise"), ({"outliers": 1.0}, "outliers")])
def test_settings_out_of_range_are_refused(settings: dict[str, float], word: str) -> None:
    with pytest.raises(InputError, match=word):
        log_weights(layout()[None, None], layout()[None], torch.ones(1, 21), **settings)
