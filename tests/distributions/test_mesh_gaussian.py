import math

import pytest
import scipy.stats
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from handlit.distributions.mesh_gaussian import (
    FIXED_SCALE_M,
    MAX_SCALE_M,
    MIN_SCALE_M,
    MeshGaussian,
)

B, V = 3, 778


def mesh(seed: int) -> MeshGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = 0.1 * torch.randn(B, V, 3, generator=generator)
    return MeshGaussian(mean, 0.001 + 0.01 * torch.rand(B, V, 3, generator=generator))


def regressor() -> torch.Tensor:
    """A matrix like a hand's: rows of a few weights that sum to 1, some of them a single vertex."""
    generator = torch.Generator().manual_seed(5)
    matrix = torch.zeros(21, V)
    for row in range(21):
        columns = torch.randperm(V, generator=generator)[: 1 if row >= 16 else 6]
        matrix[row, columns] = torch.rand(len(columns), generator=generator)
    return matrix / matrix.sum(1, keepdim=True)


def test_log_prob_is_the_sum_of_normal_log_densities() -> None:
    distribution, value = mesh(0), 0.1 * torch.randn(B, V, 3)
    expected = scipy.stats.norm.logpdf(value.double(), distribution.mean.double(), distribution.stddev.double())
    torch.testing.assert_close(
        distribution.log_prob(value).double(), torch.tensor(expected.sum((1, 2))), rtol=1e-4, atol=0
    )


def test_kl_is_the_sum_of_normal_divergences_and_zero_for_itself() -> None:
    q, p = mesh(0), mesh(1)
    by_torch = kl_divergence(Normal(q.mean.double(), q.stddev.double()), Normal(p.mean.double(), p.stddev.double()))
    torch.testing.assert_close(kl_divergence(q, p).double(), by_torch.sum((1, 2)), rtol=1e-4, atol=0)
    assert kl_divergence(q, q).abs().max() < 1e-4


def test_kl_is_the_expected_log_ratio() -> None:
    generator = torch.Generator().manual_seed(2)
    mean = 0.01 * torch.randn(2, 1, V, 3, generator=generator)
    q, p = MeshGaussian(mean[0], torch.full((1, V, 3), 0.02)), MeshGaussian(mean[1], torch.full((1, V, 3), 0.03))
    torch.manual_seed(0)
    samples = q.rsample((2000,))
    estimate = (q.log_prob(samples) - p.log_prob(samples)).double()
    error = estimate.std() / math.sqrt(len(samples))
    assert (estimate.mean() - kl_divergence(q, p)).abs() < 4 * error


def test_draws_are_those_of_the_normal_distribution() -> None:
    mean, scale = 0.1 * torch.randn(B, V, 3), torch.rand(B, V, 3)
    torch.manual_seed(0)
    expected = torch.distributions.Normal(mean, scale).sample((16,))
    torch.manual_seed(0)
    torch.testing.assert_close(MeshGaussian(mean, scale).sample((16,)), expected)


def test_samples_have_the_stated_shape_moments_and_gradients() -> None:
    torch.manual_seed(0)
    mean = (0.1 * torch.randn(B, V, 3)).requires_grad_()
    scale = torch.full((B, V, 3), 0.01, requires_grad=True)
    distribution = MeshGaussian(mean, scale)
    samples = distribution.rsample((400,))
    assert samples.shape == (400, B, V, 3)
    assert distribution.log_prob(samples).shape == (400, B)
    # 7002 coordinates: five standard errors
    assert (samples.mean(0) - mean).abs().max() < 5 * 0.01 / math.sqrt(400)
    assert (samples.std(0) - 0.01).abs().max() < 5 * 0.01 / math.sqrt(800)
    samples.sum().backward()
    torch.testing.assert_close(mean.grad, torch.full_like(mean, 400))
    assert scale.grad is not None
    assert scale.grad.abs().min() > 0


def test_log_variance_is_bounded() -> None:
    log_variance = torch.tensor([-1000.0, 2 * math.log(0.02), 1000.0]).expand(1, V, 3)
    scale = MeshGaussian.from_log_variance(torch.zeros(1, V, 3), log_variance).stddev[0, 0]
    torch.testing.assert_close(scale, torch.tensor([MIN_SCALE_M, 0.02, MAX_SCALE_M]))


@pytest.mark.parametrize("root", [None, 0])
def test_marginal_agrees_with_sampled_joints(root: int | None) -> None:
    distribution, matrix = mesh(3), regressor()
    torch.manual_seed(1)
    joints = matrix @ distribution.rsample((4000,))
    if root is not None:
        joints = joints - joints[:, :, root : root + 1]
    marginal = distribution.marginal(matrix, relative_to=root)
    assert marginal.mean.shape == marginal.stddev.shape == (B, 21, 3)
    assert ((joints.mean(0) - marginal.mean).abs() <= 5 * marginal.stddev / math.sqrt(4000)).all()
    moving = slice(0 if root is None else 1, None)
    torch.testing.assert_close(joints.std(0)[:, moving], marginal.stddev[:, moving], rtol=0.06, atol=0)


def test_the_root_is_fixed_with_finite_density_and_gradient() -> None:
    log_variance = torch.full((B, V, 3), -9.0, requires_grad=True)
    marginal = MeshGaussian.from_log_variance(torch.randn(B, V, 3), log_variance).marginal(regressor(), relative_to=0)
    torch.testing.assert_close(marginal.mean[:, 0], torch.zeros(B, 3))
    torch.testing.assert_close(marginal.stddev[:, 0], torch.full((B, 3), FIXED_SCALE_M))
    marginal.log_prob(marginal.mean.detach()).sum().backward()
    assert log_variance.grad is not None
    assert log_variance.grad.isfinite().all()


def test_temperature_scales_the_spread_only() -> None:
    distribution = mesh(4)
    cold = distribution.tempered(0.5)
    torch.testing.assert_close(cold.stddev, distribution.stddev / 2)
    torch.testing.assert_close(cold.mean, distribution.mean)
    frozen = distribution.tempered(0).rsample((2,))
    assert torch.equal(frozen, distribution.mean.expand(2, B, V, 3))


def test_autocast_does_not_lower_the_precision() -> None:
    mean, log_variance = 0.1 * torch.randn(B, V, 3), torch.full((B, V, 3), -8.0)
    outside = MeshGaussian.from_log_variance(mean, log_variance).marginal(regressor(), relative_to=0)
    with torch.autocast("cpu", torch.bfloat16):
        distribution = MeshGaussian.from_log_variance(mean, log_variance.bfloat16())
        inside = distribution.marginal(regressor(), relative_to=0)
    assert distribution.stddev.dtype == inside.mean.dtype == torch.float32
    torch.testing.assert_close(inside.mean, outside.mean)
    torch.testing.assert_close(inside.stddev, outside.stddev)


def test_expanding_repeats_the_distribution() -> None:
    one = MeshGaussian(torch.randn(V, 3), torch.rand(V, 3) + 0.1)
    many = one.expand((4,))
    assert many.batch_shape == (4,)
    value = torch.randn(V, 3)
    torch.testing.assert_close(many.log_prob(value), one.log_prob(value).expand(4))


def correlated(vertices: int = 6, rank: int = 4) -> MeshGaussian:
    generator = torch.Generator().manual_seed(7)
    mean, scale = 0.1 * torch.randn(2, vertices, 3, generator=generator), torch.full((2, vertices, 3), 0.002)
    return MeshGaussian(mean, scale, 0.01 * torch.randn(2, vertices, 3, rank, generator=generator))


def dense(mesh: MeshGaussian) -> MultivariateNormal:
    """The same Gaussian, with its whole covariance."""
    factor = mesh.factor.double().flatten(1, 2)
    covariance = torch.diag_embed(mesh.own_scale.double().square().flatten(1)) + factor @ factor.mT
    return MultivariateNormal(mesh.mean.double().flatten(1), covariance)


def test_density_and_entropy_of_what_vertices_share_are_those_of_the_whole_covariance() -> None:
    torch.manual_seed(0)
    mesh = correlated()
    value = mesh.rsample((5,))
    expected = dense(mesh).log_prob(value.double().flatten(2))
    torch.testing.assert_close(mesh.log_prob(value).double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(mesh.entropy().double(), dense(mesh).entropy(), rtol=1e-5, atol=1e-3)
    # a factor of nothing changes nothing
    alone = MeshGaussian(mesh.mean, mesh.own_scale)
    without = MeshGaussian(mesh.mean, mesh.own_scale, torch.zeros_like(mesh.factor))
    torch.testing.assert_close(without.log_prob(value), alone.log_prob(value))
    torch.testing.assert_close(without.entropy(), alone.entropy())


def test_samples_have_the_stated_covariance() -> None:
    torch.manual_seed(0)
    mesh = correlated()
    for temperature in (1.0, 0.5):
        drawn = mesh.tempered(temperature).sample((60_000,)).double().flatten(2)
        beside = drawn - drawn.mean(0)
        found = torch.einsum("sbm,sbn->bmn", beside, beside) / len(drawn)
        expected = temperature**2 * dense(mesh).covariance_matrix
        assert (found - expected).abs().max() < 0.03 * expected.abs().max()
    torch.testing.assert_close(mesh.stddev.double().square().flatten(1), dense(mesh).variance, rtol=1e-5, atol=0)
    assert torch.equal(mesh.tempered(0).rsample((2,)), mesh.mean.expand(2, -1, -1, -1))
    wide = mesh.expand((4, 2))
    assert wide.sample((3,)).shape == (3, 4, 2, 6, 3)
    torch.testing.assert_close(wide.log_prob(mesh.mean), mesh.log_prob(mesh.mean).expand(4, 2))


def test_joints_have_the_scale_that_the_vertices_covariance_gives_them() -> None:
    """Exactly: ``(A - A_0) C (A - A_0)^T`` of the whole covariance C; independent vertices would average it away."""
    mesh = correlated(vertices=V)
    matrix = regressor()
    relative = (matrix - matrix[0]).double()
    covariance = dense(mesh).covariance_matrix.unflatten(1, (V, 3)).unflatten(3, (V, 3))
    expected = torch.einsum("jv,bvcwd,kw->bjckd", relative, covariance, relative)
    found = mesh.covariance(matrix, relative_to=0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-9)
    variance = torch.einsum("bjcjc->bjc", expected)
    scale = mesh.marginal(matrix, relative_to=0).stddev
    torch.testing.assert_close(scale[:, 1:].double().square(), variance[:, 1:], rtol=1e-4, atol=0)
    alone = MeshGaussian(mesh.mean, mesh.stddev)
    torch.testing.assert_close(
        torch.einsum("bjcjc->bjc", alone.covariance(matrix, 0))[:, 1:].sqrt(), alone.marginal(matrix, 0).stddev[:, 1:]
    )
    # joints of several vertices, which all have the same part
    same = MeshGaussian(mesh.mean, mesh.own_scale, torch.full_like(mesh.factor, 0.01))
    assert (same.marginal(matrix).stddev > 0.02).all()
    assert (MeshGaussian(same.mean, same.stddev).marginal(matrix).stddev[:, :16] < 0.015).all()
