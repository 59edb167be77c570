import math

import numpy as np
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.losses.gaussian import correlated_nll, kl_per_coordinate, scale_nll, standard_normal_energy
from handlit.losses.points import l1_distance


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


def test_kl_against_a_recorded_value() -> None:
    # the released code's divergence of two joints about the first one
    mean_q = torch.tensor([[[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]]])
    mean_p = torch.tensor([[[0.0, 0.0, 0.0], [0.09, 0.1, 0.3]]])
    q, p = (
        MeshGaussian.from_log_variance(mean, torch.full((1, 2, 3), log_variance))
        for mean, log_variance in ((mean_q, -2.0), (mean_p, -1.0))
    )
    torch.testing.assert_close(kl_per_coordinate(q, p), torch.tensor([0.1862276]))


def test_the_likelihood_of_points_that_err_together_is_the_whole_gaussians() -> None:
    torch.manual_seed(0)
    root = torch.randn(2, 12, 12)
    covariance = (root @ root.mT).unflatten(1, (4, 3)).unflatten(3, (4, 3))
    mean, target = torch.randn(2, 4, 3, requires_grad=True), torch.randn(2, 4, 3)
    noisy = root @ root.mT + 0.25 * torch.eye(12)
    expected = -MultivariateNormal(mean.flatten(1), noisy).log_prob(target.flatten(1)) / 12
    covariance.requires_grad_()
    found = correlated_nll(mean, covariance, target, 0.5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    found.sum().backward()
    assert mean.grad is None
    assert covariance.grad.abs().sum() > 0
    # without any spread of their own they have that of labels
    zeros = torch.zeros(2, 4, 3, 4, 3)
    torch.testing.assert_close(
        correlated_nll(mean, zeros, target, 0.5), -Normal(mean, 0.5).log_prob(target).mean((1, 2))
    )
