import math

import pytest
import roma
import torch
from torch import Tensor

from handlit.distributions.rotations import RotationMixture

HAAR_VOLUME = 8 * math.pi**2


def mixture(scale: float, components: int = 2, temperature: float = 1.0) -> RotationMixture:
    generator = torch.Generator().manual_seed(1)
    below = 0.3 * scale * torch.randn(1, components, 3, 3, generator=generator, dtype=torch.float64)
    factor = scale * torch.eye(3, dtype=torch.float64) + torch.tril(below, -1)
    vectors = 2 * torch.rand(1, components, 3, generator=generator, dtype=torch.float64)
    logits = torch.linspace(0, 1, components, dtype=torch.float64)[None]
    return RotationMixture(logits, roma.rotvec_to_rotmat(vectors), factor, temperature)


def uniform(count: int) -> Tensor:
    torch.manual_seed(0)
    return roma.unitquat_to_rotmat(torch.nn.functional.normalize(torch.randn(count, 1, 4, dtype=torch.float64), dim=-1))


@pytest.mark.parametrize(("scale", "temperature"), [(0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, 0.5)])
def test_the_density_integrates_to_one_over_all_rotations(scale: float, temperature: float) -> None:
    density = mixture(scale, temperature=temperature).log_prob(uniform(200_000)).exp() * HAAR_VOLUME
    assert density.mean().item() == pytest.approx(1, abs=5 * density.std().item() / 200_000**0.5)


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_samples_follow_the_density(scale: float) -> None:
    distribution = mixture(scale)
    torch.manual_seed(3)
    drawn = distribution.sample((50_000,))
    everywhere = uniform(200_000)
    weight = distribution.log_prob(everywhere).exp() * HAAR_VOLUME
    # the mean of any function: here how far from some rotation, and the density itself
    far = roma.rotmat_geodesic_distance(drawn, roma.rotvec_to_rotmat(torch.ones(3, dtype=torch.float64)))
    expected = weight * roma.rotmat_geodesic_distance(
        everywhere, roma.rotvec_to_rotmat(torch.ones(3, dtype=torch.float64))
    )
    assert far.mean().item() == pytest.approx(expected.mean().item(), abs=0.02)
    entropy = -(weight * distribution.log_prob(everywhere)).mean().item()
    assert -distribution.log_prob(drawn).mean().item() == pytest.approx(entropy, abs=0.03)


def test_a_narrow_component_is_a_gaussian_in_the_tangent_space() -> None:
    distribution = mixture(0.01, components=1)
    tangent = 0.01 * torch.randn(20, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gaussian = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), scale_tril=distribution.scale_tril[0, 0]
    )
    turned = distribution.means[0] @ roma.rotvec_to_rotmat(tangent)
    torch.testing.assert_close(distribution.log_prob(turned), gaussian.log_prob(tangent), atol=1e-3, rtol=0)


def test_the_centre_is_the_heaviest_peak_and_all_that_is_drawn_at_temperature_zero() -> None:
    distribution = mixture(0.2, components=3)
    torch.testing.assert_close(distribution.centre, distribution.means[:, 2])
    torch.testing.assert_close(distribution.tempered(0).sample((4,)), distribution.centre.expand(4, 1, 3, 3))


def test_components_are_chosen_by_their_weights() -> None:
    distribution = mixture(0.01, components=3)
    share = (torch.arange(1000, dtype=torch.float64)[:, None] + 0.5) / 1000
    drawn = distribution.push(share, torch.zeros(1000, 1, 3, dtype=torch.float64))
    nearest = roma.rotmat_geodesic_distance(drawn[:, :, None], distribution.means).argmin(-1)
    counts = torch.bincount(nearest[:, 0], minlength=3) / 1000
    torch.testing.assert_close(counts.double(), distribution.logits.softmax(-1)[0], atol=2e-3, rtol=0)


def test_gradients_are_finite_at_a_components_own_mean() -> None:
    distribution = mixture(0.5)
    distribution.means.requires_grad_()
    distribution.scale_tril.requires_grad_()
    distribution.log_prob(distribution.means.detach()[:, 0]).sum().backward()
    assert distribution.means.grad.isfinite().all()
    assert distribution.scale_tril.grad.isfinite().all()
