"""The flow against recorded numbers of the published one, autograd, and closed forms."""

import math

import pytest
import torch

from handlit.distributions.realnvp import ConditionalRealNVP, ConditionedMLP
from handlit.types import InputError


def published_flow() -> ConditionalRealNVP:
    """The published network's size with weights by formula: masked full-width layers cut to what they compute."""
    flow = ConditionalRealNVP().double()
    values = {}
    shapes = {"l.0": (512, 45), "l.1": (512, 512), "l.2": (45, 512), "c.0": (512, 512), "c.1": (512, 512)}
    number = 0
    for kind in ("t", "s"):
        for coupling in range(12):
            for layer, shape in shapes.items():
                for part, size in (("weight", shape), ("bias", shape[:1])):
                    amplitude = 0.3 if layer == "l.0" else 0.05
                    k = torch.arange(math.prod(size), dtype=torch.float64)
                    values[kind, coupling, layer, part] = amplitude * torch.sin(0.7 * number + 0.013 * k).view(size)
                    number += 1
    assert number == 240
    with torch.no_grad():
        for index, coupling in enumerate(flow.couplings):
            kept, moved = slice(22, 45), slice(0, 22)
            if index % 2:
                kept, moved = moved, kept
            for kind, network in (("t", coupling.shift), ("s", coupling.log_scale)):
                for layer, module in (("l.0", network.layers[0]), ("l.1", network.layers[1]), ("l.2", network.out)):
                    weight, bias = values[kind, index, layer, "weight"], values[kind, index, layer, "bias"]
                    if layer == "l.0":
                        weight = weight[:, kept]
                    if layer == "l.2":
                        weight, bias = weight[moved], bias[moved]
                    module.weight.copy_(weight)
                    module.bias.copy_(bias)
                for position in (0, 1):
                    network.conditions[position].weight.copy_(values[kind, index, f"c.{position}", "weight"])
                    network.conditions[position].bias.copy_(values[kind, index, f"c.{position}", "bias"])
    return flow


def close(actual: torch.Tensor, expected: list[float] | float, atol: float = 1e-9) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), atol=atol, rtol=0)


def test_recorded_numbers_of_the_published_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = published_flow()
    condition = torch.sin(0.11 * torch.arange(512, dtype=torch.float64))[None]
    noise = torch.cos(0.31 * torch.arange(45, dtype=torch.float64))[None]
    monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: noise)
    with torch.no_grad():
        distribution = flow(condition)
        x, log_prob = distribution.rsample_with_log_prob()
        close(x[0, :3], [-0.4984876526, -1.7577350409, -2.8483242370])
        close(x[0, 3:6], [-3.7213125268, -4.2725263423, -4.4437388819])
        close(x[0, 22:26], [-1.6032946577, -0.7567924159, 0.5805285702, 2.4683625667])
        close(x.sum(), 15.4324097495)
        close(x.norm(), 25.8340974805, atol=1e-6)  # recorded with fewer digits than the others
        close(log_prob[0], -50.2148619180)
        close(distribution.log_prob(x)[0], -50.2148619180)
        close(distribution.tempered(0.8).rsample()[0, :3], [-0.5018509833, -1.8052629570, -3.0166059554])
        y = torch.sin(0.5 * torch.arange(45, dtype=torch.float64))[None]
        close(distribution.log_prob(y)[0], -569.5891457512)


def small_flow(features: int = 5) -> ConditionalRealNVP:
    torch.manual_seed(0)
    return ConditionalRealNVP(features, condition_features=4, hidden=(16, 16), steps=2).double()


def test_the_way_back_is_the_inverse_and_its_log_density_the_same() -> None:
    distribution = small_flow()(torch.randn(3, 4, dtype=torch.float64))
    x, log_prob = distribution.rsample_with_log_prob((7, 2))
    assert x.shape == (7, 2, 3, 5)
    torch.testing.assert_close(distribution.log_prob(x), log_prob, atol=1e-10, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_density_is_the_base_and_the_jacobian_of_autograd(temperature: float) -> None:
    flow = small_flow()
    condition = torch.randn(1, 4, dtype=torch.float64)
    distribution = flow(condition).tempered(temperature)
    z = torch.randn(5, dtype=torch.float64)

    def push(base: torch.Tensor) -> torch.Tensor:
        return distribution._to_data(base[None])[0][0]

    jacobian = torch.autograd.functional.jacobian(push, z)
    base = torch.distributions.Normal(torch.zeros_like(z), temperature).log_prob(z).sum()
    expected = base - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(distribution.log_prob(push(z)[None])[0], expected, atol=1e-10, rtol=0)


def test_the_density_integrates_to_one() -> None:
    distribution = small_flow(features=2)(torch.randn(1, 4, dtype=torch.float64))
    axis = torch.linspace(-15, 15, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        mass = distribution.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(mass.item() - 1) < 1e-3


def test_gradients_reach_every_parameter_and_the_condition() -> None:
    flow = small_flow()
    condition = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    x, log_prob = flow(condition).rsample_with_log_prob((10,))
    (x.square().mean() + log_prob.mean()).backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert (condition.grad.abs().sum(1) > 0).all()


def test_the_condition_is_projected_once_however_many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    project = ConditionedMLP.project
    monkeypatch.setattr(ConditionedMLP, "project", lambda self, c: (calls.append(c.shape), project(self, c))[1])
    distribution = small_flow()(torch.randn(3, 4, dtype=torch.float64))
    for _ in range(3):
        distribution.log_prob(distribution.rsample((50,)))
    assert calls == [torch.Size([3, 4])] * 8


def test_images_do_not_mix() -> None:
    flow = small_flow()
    condition = torch.randn(3, 4, dtype=torch.float64)
    value = torch.randn(6, 3, 5, dtype=torch.float64)
    together = flow(condition).log_prob(value)
    for image in range(3):
        alone = flow(condition[image : image + 1]).log_prob(value[:, image : image + 1])
        torch.testing.assert_close(together[:, image], alone[:, 0])


def test_temperature_zero_is_the_centre_and_has_no_density() -> None:
    distribution = small_flow()(torch.randn(2, 4, dtype=torch.float64))
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


def test_half_precision_around_it_changes_nothing() -> None:
    flow = small_flow().float()
    condition = torch.randn(2, 4)
    value = torch.randn(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = flow(condition).log_prob(value)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, flow(condition).log_prob(value), atol=0, rtol=0)


def test_parameters_of_the_published_size() -> None:
    flow = ConditionalRealNVP()
    count = sum(parameter.numel() for parameter in flow.parameters())
    # the published networks are as wide as the whole vector; half of their first and last layers is never used
    published = 2 * 10_015_260
    unused_inputs, unused_outputs = 24 * 512 * 45 // 2, 24 * 513 * 45 // 2
    assert count == published - unused_inputs - unused_outputs
