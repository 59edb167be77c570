"""What every flow must be: invertible, with the density of its Jacobian, differentiable, image by image."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from handlit.distributions.flow import ConditionalFlow, ConditionedMLP
from handlit.distributions.joint_flow import JointFlow
from handlit.distributions.realnvp import ConditionalRealNVP
from handlit.distributions.spline_flow import ConditionalSplineFlow
from handlit.errors import InputError

Builder = Callable[..., ConditionalFlow]


def realnvp(features: int = 5) -> ConditionalFlow:
    return ConditionalRealNVP(features, condition_features=4, hidden=(16, 16), steps=2)


def spline(features: int = 5) -> ConditionalFlow:
    """With knots far from the identity, inside a bound that samples cross."""
    flow = ConditionalSplineFlow(features, condition_features=4, hidden=(16, 16), steps=2, bins=5, bound=2.0)
    with torch.no_grad():
        for coupling in flow.couplings:
            assert isinstance(coupling.knots, ConditionedMLP)
            coupling.knots.out.weight.mul_(2)
            coupling.knots.out.bias.normal_(std=0.4)
    return flow


def joint(features: int = 5) -> ConditionalFlow:
    return JointFlow(features, condition_features=4, hidden=16, couplings=3)


@pytest.fixture(params=[realnvp, spline, joint])
def build(request: pytest.FixtureRequest) -> Builder:
    torch.manual_seed(0)
    return lambda **settings: request.param(**settings).double()


def test_the_way_back_is_the_inverse_and_its_log_density_the_same(build: Builder) -> None:
    distribution = build()(torch.randn(3, 4, dtype=torch.float64))
    x, log_prob = distribution.rsample_with_log_prob((7, 2))
    assert x.shape == (7, 2, 3, 5)
    torch.testing.assert_close(distribution.log_prob(x), log_prob, atol=1e-10, rtol=0)


def test_a_condition_in_parts_is_the_same_as_in_one(build: Builder) -> None:
    flow = build()
    image, drawn = torch.randn(3, 1, dtype=torch.float64), torch.randn(7, 3, 3, dtype=torch.float64)
    z = torch.randn(7, 3, 5, dtype=torch.float64)
    parts = flow((image, drawn))
    assert parts.batch_shape == (7, 3)
    for number in range(7):
        whole = flow(torch.cat([image, drawn[number]], 1))
        torch.testing.assert_close(parts.push(z)[0][number], whole.push(z[number])[0])
        torch.testing.assert_close(parts.log_prob(z)[number], whole.log_prob(z[number]))
    assert parts.centre.shape == (7, 3, 5)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_density_is_the_base_and_the_jacobian_of_autograd(build: Builder, temperature: float) -> None:
    flow = build()
    condition = torch.randn(1, 4, dtype=torch.float64)
    distribution = flow(condition).tempered(temperature)
    z = torch.randn(5, dtype=torch.float64)

    def push(base: torch.Tensor) -> torch.Tensor:
        return distribution.push(base[None])[0][0]

    jacobian = torch.autograd.functional.jacobian(push, z)
    base = torch.distributions.Normal(torch.zeros_like(z), temperature).log_prob(z).sum()
    expected = base - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(distribution.log_prob(push(z)[None])[0], expected, atol=1e-10, rtol=0)


def test_the_density_integrates_to_one(build: Builder) -> None:
    distribution = build(features=2)(torch.randn(1, 4, dtype=torch.float64))
    axis = torch.linspace(-10, 10, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        mass = distribution.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(mass.item() - 1) < 1e-3


def test_gradients_reach_every_parameter_and_the_condition(build: Builder) -> None:
    flow = build()
    condition = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    x, log_prob = flow(condition).rsample_with_log_prob((10,))
    (x.square().mean() + log_prob.mean()).backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert (condition.grad.abs().sum(1) > 0).all()


def test_the_condition_is_projected_once_however_many_samples(build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, calls = build(), []
    project = flow.project

    def counted(condition: Tensor) -> list[object]:
        calls.append(condition.shape)
        return project(condition)

    monkeypatch.setattr(flow, "project", counted)
    distribution = flow(torch.randn(3, 4, dtype=torch.float64))
    for _ in range(3):
        distribution.log_prob(distribution.rsample((50,)))
    assert calls == [torch.Size([3, 4])]


def test_images_do_not_mix(build: Builder) -> None:
    flow = build()
    condition = torch.randn(3, 4, dtype=torch.float64)
    value = torch.randn(6, 3, 5, dtype=torch.float64)
    together = flow(condition).log_prob(value)
    for image in range(3):
        alone = flow(condition[image : image + 1]).log_prob(value[:, image : image + 1])
        torch.testing.assert_close(together[:, image], alone[:, 0])


def test_temperature_zero_is_the_centre_and_has_no_density(build: Builder) -> None:
    distribution = build()(torch.randn(2, 4, dtype=torch.float64))
    still = distribution.tempered(0)
    torch.testing.assert_close(still.rsample((3,)), distribution.centre.expand(3, 2, 5))
    with pytest.raises(InputError, match="no density"):
        still.rsample_with_log_prob()
    with pytest.raises(InputError, match="no density"):
        still.log_prob(distribution.centre)
    with pytest.raises(InputError, match="negative"):
        distribution.tempered(-1)
    cooler, warmer = (distribution.tempered(t).sample((4000,)).std(0).mean() for t in (0.5, 1.0))
    assert cooler < 0.7 * warmer


def test_half_precision_around_it_changes_nothing(build: Builder) -> None:
    flow = build().float()
    condition = torch.randn(2, 4)
    value = torch.randn(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = flow(condition).log_prob(value)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, flow(condition).log_prob(value), atol=0, rtol=0)


def test_every_sample_depends_on_its_image(build: Builder) -> None:
    """The condition reaches the samples through every coupling: no coordinate is left as the noise was."""
    flow = build()
    condition = torch.randn(2, 4, dtype=torch.float64)
    noise = torch.randn(1, 5, dtype=torch.float64).expand(2, -1)
    samples, log_determinant = flow(condition).push(noise)
    assert ((samples[0] - samples[1]).abs() > 1e-6).all()
    assert log_determinant[0] != log_determinant[1]


def test_gradients_are_those_of_finite_differences(build: Builder) -> None:
    flow = build(features=3)
    value = 0.5 * torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, c: flow(c).log_prob(v), (value, condition))
    assert torch.autograd.gradcheck(lambda v, c: flow(c).push(v), (value, condition))


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_single_precision_is_good_enough(build: Builder, scale: float) -> None:
    """Far from the base too, where splines have ended; steep splines magnify the rounding of a few samples."""
    flow = build(features=45).float()
    condition = torch.randn(4, 4, requires_grad=True)
    distribution = flow(condition)
    x, log_determinant = distribution.push(scale * torch.randn(500, 4, 45))
    log_prob = distribution.log_prob(x)
    (log_prob.mean() + log_determinant.mean()).backward()
    assert torch.isfinite(condition.grad).all()
    exact = flow.double()(condition.double()).log_prob(x.double())
    assert log_prob.dtype == torch.float32
    assert log_prob.isfinite().all()
    assert (log_prob - exact).abs().median() < 0.01


def test_flows_that_cannot_be_are_refused() -> None:
    for kind in (ConditionalRealNVP, ConditionalSplineFlow):
        with pytest.raises(InputError, match="2 coordinates"):
            kind(features=1)
        with pytest.raises(InputError, match="coupling"):
            kind(steps=0)
        with pytest.raises(InputError, match="hidden layer"):
            kind(hidden=())


def test_other_distributions_are_checked_as_before() -> None:
    """zuko switches every distribution's checks off when it is imported; a process of its own sees that import."""
    program = """
import torch, handlit.models.mhentropy, sys
assert "zuko" not in sys.modules
from handlit.distributions.spline_flow import ConditionalSplineFlow
ConditionalSplineFlow(4, 2, (3,), 1)
assert "zuko" in sys.modules
try:
    torch.distributions.Normal(0.0, -1.0)
except ValueError:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7
