"""The RealNVP against recorded numbers of the published one; its properties are in test_flow.py."""

import math

import pytest
import torch

from handlit.distributions.realnvp import ConditionalRealNVP


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


def test_parameters_of_the_published_size() -> None:
    flow = ConditionalRealNVP()
    count = sum(parameter.numel() for parameter in flow.parameters())
    # the published networks are as wide as the whole vector; half of their first and last layers is never used
    published = 2 * 10_015_260
    unused_inputs, unused_outputs = 24 * 512 * 45 // 2, 24 * 513 * 45 // 2
    assert count == published - unused_inputs - unused_outputs
