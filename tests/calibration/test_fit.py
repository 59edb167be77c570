"""Wrong spreads are mended and right ones left alone, where the truth is known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from handlit.calibration.fit import EnergyScore, ValidationHands, fit_calibration
from handlit.distributions.calibrated_hands import Differences, HandCalibration
from handlit.errors import InputError
from handlit.metrics.calibration import calibration_error, coverage, crps, energy_score, radial_rank
from tests.calibration.hands import gaussian_hands

IMAGES, FRESH = 300, 1000


def widened(calibration: HandCalibration, hands: ValidationHands) -> Differences:
    """What becomes of drawn differences."""
    generator = torch.Generator().manual_seed(9)
    shape = hands.drawn.turn.shape[:2]
    index = torch.randint(len(calibration.errors.turn), shape, generator=generator)
    sign = 2.0 * torch.randint(2, shape, generator=generator) - 1
    relative = (hands.scale / calibration.usual_scale)[:, None]
    turn, rest = (sign * part.added * relative**part.exponent for part in (calibration.turn, calibration.rest))
    return Differences(
        calibration.turn.own * hands.drawn.turn + turn[..., None] * calibration.errors.turn[index],
        calibration.joints[:, None]
        * (calibration.rest.own * hands.drawn.rest + rest[..., None, None] * calibration.errors.rest[index]),
    )


def honesty(drawn: Tensor, true: Tensor) -> tuple[float, float, float]:
    """Coverage of the 90 % region, quantile calibration error, CRPS."""
    ranks = radial_rank(drawn, true).flatten()
    return float(coverage(ranks, [0.9])), float(calibration_error(ranks)), float(crps(drawn, true).mean())


@pytest.mark.parametrize("own", [0.25, 1.0, 3.0])
def test_wrong_spreads_are_mended_and_a_right_one_stays(own: float) -> None:
    calibration = fit_calibration(gaussian_hands(IMAGES, 50, own))
    if own == 1:
        assert calibration.turn.own == pytest.approx(1, abs=0.1)
        assert calibration.rest.own == pytest.approx(1, abs=0.1)
        assert calibration.turn.added == calibration.rest.added == 0
        assert (calibration.joints - 1).abs().max() < 0.1
    fresh = gaussian_hands(FRESH, 100, own, seed=1)
    after = widened(calibration, fresh)
    for before, mended, true in (
        (fresh.drawn.turn[:, :, None], after.turn[:, :, None], fresh.true.turn[:, None]),
        (fresh.drawn.rest[:, :, 1:], after.rest[:, :, 1:], fresh.true.rest[:, 1:]),
    ):
        covered, error, score = honesty(mended, true)
        assert 0.86 < covered < 0.94
        assert error < 0.06
        assert score < (1.005 if own == 1 else 0.95) * honesty(before, true)[2]


def test_a_few_videos_are_fewer_than_their_frames() -> None:
    """Ten videos whose hands are each easier or harder than stated: a factor that these may have by chance is nearer 1
    than if the same images were as many independent ones."""
    together, apart = [], []
    for seed in (3, 4, 5):
        hands = gaussian_hands(IMAGES, 20, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        harder = (0.3 * torch.randn(10, generator=generator)).exp().repeat_interleave(IMAGES // 10)
        turn = harder[:, None] * hands.true.turn
        hands = replace(hands, true=Differences(turn, harder[:, None, None] * hands.true.rest))
        mixed = torch.randperm(IMAGES, generator=generator)
        shuffled = ValidationHands(
            Differences(*(part[mixed] for part in hands.true)),
            Differences(*(part[mixed] for part in hands.drawn)),
            hands.scale[mixed],
            hands.distances[mixed],
        )
        together.append(abs(math.log(fit_calibration(hands).rest.own)))
        apart.append(abs(math.log(fit_calibration(shuffled).rest.own)))
    assert max(apart) > 0.1
    assert sum(together) < 0.7 * sum(apart)
    assert all(near <= far + 1e-6 for near, far in zip(together, apart, strict=True))


@pytest.mark.parametrize(("own", "rest"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_part_without_spread_gets_that_of_validation_errors(own: float, rest: float) -> None:
    calibration = fit_calibration(gaussian_hands(IMAGES, 50, own, rest))
    assert (calibration.turn.added > 0) == (own == 0)
    assert (calibration.rest.added > 0) == (rest == 0)
    fresh = gaussian_hands(FRESH, 100, own, rest, seed=1)
    after = widened(calibration, fresh)
    for drawn, true in (
        (after.turn[:, :, None], fresh.true.turn[:, None]),
        (after.rest[:, :, 1:], fresh.true.rest[:, 1:]),
    ):
        covered, error, _ = honesty(drawn, true)
        assert 0.86 < covered < 0.94
        assert error < 0.06
    # what is added grows with the stated scale, which the errors do here
    for part in (calibration.turn, calibration.rest):
        assert part.exponent == (pytest.approx(1, abs=0.25) if part.added else 0)


def test_a_joint_that_is_wrong_by_itself_has_its_factor() -> None:
    hands = gaussian_hands(IMAGES, 50)
    hands.drawn.rest[:, :, 7] *= 0.5
    factors = fit_calibration(hands).joints
    assert float(factors[7]) == pytest.approx(2, rel=0.15)
    others = torch.cat([factors[:7], factors[8:]])
    assert (others - 1).abs().max() < 0.15


def test_the_score_is_the_energy_score_of_the_weighted_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    true, *parts = (torch.randn(200, *shape, generator=generator) for shape in ((2, 3), (60, 2, 3), (60, 2, 3)))
    score = EnergyScore(true, *parts)(0.7, torch.tensor([0.2, 1.3]))
    expected = energy_score(0.7 * parts[0] + torch.tensor([0.2, 1.3])[:, None] * parts[1], true)
    assert score.shape == expected.shape == (200, 2)
    torch.testing.assert_close(score.mean(0), expected.mean(0), rtol=0.02, atol=0)


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(InputError, match="has 5 images with 3D joints, and a calibration needs 50"):
        fit_calibration(gaussian_hands(5, 10))
    same = replace(gaussian_hands(60, 10), distances=torch.full((60, 21), 0.01))
    with pytest.raises(InputError, match="errors of all validation images are the same"):
        fit_calibration(same)
