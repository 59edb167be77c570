import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.losses.gaussian import kl_per_coordinate, scale_nll, standard_normal_energy
from handlit.losses.joint_limits import JointLimits
from handlit.losses.points import l1_distance
from handlit.losses.reduction import masked_mean, mean_of_points


def test_masked_mean_divides_by_the_valid_items() -> None:
    values = torch.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([True, False, True]))
    assert mean.item() == 2
    mean.backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.5, 0.0, 0.5]))


def test_masked_mean_of_nothing_is_zero_with_zero_gradient() -> None:
    values = torch.tensor([1.0, float("inf")], requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, dtype=torch.bool))
    assert mean.item() == 0
    mean.backward()
    torch.testing.assert_close(values.grad, torch.zeros(2))


def test_masked_mean_refuses_a_mask_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match="validity"):
        masked_mean(torch.ones(3, 1), torch.ones(3, dtype=torch.bool))


def test_l1_distance_against_numpy() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 4, 21, 3))
    expected = np.abs(a - b).mean((1, 2))
    np.testing.assert_allclose(l1_distance(torch.tensor(a), torch.tensor(b)), expected)


def test_mean_of_points_against_a_loop_and_without_points() -> None:
    generator = torch.Generator().manual_seed(0)
    values, valid = torch.randn(5, 7, 2, generator=generator), torch.rand(5, 7, generator=generator) < 0.5
    valid[3] = False
    expected = [
        value[flag].mean() if flag.any() else torch.tensor(0.0) for value, flag in zip(values, valid, strict=True)
    ]
    values[~valid] = float("nan")
    values.requires_grad_()
    mean = mean_of_points(values, valid)
    torch.testing.assert_close(mean, torch.stack(expected))
    mean.sum().backward()
    assert values.grad.isfinite().all()
    assert not values.grad[~valid].any()
    with pytest.raises(ValueError, match="validity"):
        mean_of_points(torch.ones(2, 7, 3), torch.ones(2, 1, dtype=torch.bool))


def test_points_that_do_not_count_are_left_out_of_distance_and_likelihood() -> None:
    distribution, target = gaussian(0, n=6), torch.randn(2, 6, 3)
    valid = torch.tensor([True, False, True, True, False, False]).expand(2, 6)
    few = Independent(Normal(distribution.mean[:, (0, 2, 3)], distribution.stddev[:, (0, 2, 3)]), 2)
    torch.testing.assert_close(scale_nll(distribution, target, valid), scale_nll(few, target[:, (0, 2, 3)]))
    torch.testing.assert_close(
        l1_distance(distribution.mean, target, valid), l1_distance(few.mean, target[:, (0, 2, 3)])
    )


def test_standard_normal_energy_is_the_log_density_without_its_constant() -> None:
    values = torch.randn(3, 10)
    expected = -Normal(0, 1).log_prob(values).mean(1) - math.log(2 * math.pi) / 2
    torch.testing.assert_close(standard_normal_energy(values), expected)


def gaussian(seed: int, n: int = 778) -> MeshGaussian:
    generator = torch.Generator().manual_seed(seed)
    return MeshGaussian(torch.randn(2, n, 3, generator=generator), 0.5 + torch.rand(2, n, 3, generator=generator))


def test_scale_nll_has_the_value_of_the_log_density_per_coordinate() -> None:
    distribution, target = gaussian(0), torch.randn(2, 778, 3)
    expected = -distribution.log_prob(target) / (778 * 3)
    torch.testing.assert_close(scale_nll(distribution, target), expected, rtol=1e-5, atol=1e-6)


def test_scale_nll_trains_the_scale_to_the_error_and_not_the_mean() -> None:
    mean, target = torch.zeros(1, 50, 3, requires_grad=True), 0.004 * torch.ones(1, 50, 3)
    log_scale = torch.full((1, 50, 3), math.log(0.02), requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_scale], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        scale_nll(MeshGaussian(mean, log_scale.exp()), target).sum().backward()
        optimizer.step()
    torch.testing.assert_close(log_scale.exp(), torch.full_like(log_scale, 0.004), rtol=0.01, atol=0)
    assert not mean.any()


def test_kl_per_coordinate_against_the_formula_in_float64() -> None:
    q, p = gaussian(1), gaussian(2)
    mean_q, scale_q, mean_p, scale_p = (x.double().numpy() for x in (q.mean, q.stddev, p.mean, p.stddev))
    expected = np.log(scale_p / scale_q) + (scale_q**2 + (mean_q - mean_p) ** 2) / (2 * scale_p**2) - 0.5
    np.testing.assert_allclose(kl_per_coordinate(q, p), expected.mean((1, 2)), rtol=1e-5)


#: (joint of a MANO pose, axis, degrees) and how far that is outside the limits, in degrees
EXCESSES = [
    ((0, 2, 110), 10),  # index, first joint, bent too far
    ((0, 2, -14), 4),
    ((0, 1, 12), 2),
    ((1, 1, 12), 7),  # second joints do not splay
    ((6, 1, 25), 5),  # pinky: MANO has it before the ring finger
    ((6, 0, -25), 5),
    ((9, 1, 25), 15),  # ring
    ((12, 0, -10), 10),  # thumb
    ((12, 1, 40), 6.25),
    ((13, 2, 30), 7.5),
    ((14, 2, -25), 5),
    ((14, 2, 90), 0),
    ((12, 0, 85), 0),
]


@pytest.mark.parametrize(("rotation", "excess"), EXCESSES)
def test_joint_limits(rotation: tuple[int, int, float], excess: float) -> None:
    joint, axis, degrees = rotation
    pose = torch.zeros(2, 15, 3)
    pose[1, joint, axis] = math.radians(degrees)
    weight = 2 if axis == 2 else 1
    expected = torch.tensor([0, weight * math.radians(excess) / 45])
    torch.testing.assert_close(JointLimits()(pose.flatten(1)), expected)


def test_kl_against_a_recorded_value() -> None:
    # the released code's divergence of two joints about the first one
    mean_q = torch.tensor([[[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]]])
    mean_p = torch.tensor([[[0.0, 0.0, 0.0], [0.09, 0.1, 0.3]]])
    q, p = (
        MeshGaussian.from_log_variance(mean, torch.full((1, 2, 3), log_variance))
        for mean, log_variance in ((mean_q, -2.0), (mean_p, -1.0))
    )
    torch.testing.assert_close(kl_per_coordinate(q, p), torch.tensor([0.1862276]))
