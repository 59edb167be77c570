"""The RealNVP against recorded numbers of the published one; its properties are in test_flow.py."""

import pytest
import torch

from handlit.distributions.realnvp import ConditionalRealNVP
from handlit.models.published.mhentropy_weights import mhentropy_source
from tests.models.published.released_mhentropy import flow_weights


def published_flow() -> ConditionalRealNVP:
    """The published network with weights by formula, cut to what it computes as released weights are."""
    flow = ConditionalRealNVP().double()
    weights = flow_weights()
    assert len(weights) == 240
    flow.load_state_dict({key: mhentropy_source(f"flow.{key}").read(weights) for key in flow.state_dict()})
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
