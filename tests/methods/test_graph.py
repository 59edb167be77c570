"""Methods as tensors in and out: the stated names and shapes, and the stated way to draw hypotheses."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from handlit.hand.asset import HandAsset
from handlit.methods.amvur import AMVUR
from handlit.methods.deterministic import Deterministic
from handlit.methods.graph import PREDICTED, HandGraph
from handlit.methods.lift import Lift
from handlit.methods.mean_hand import MeanHand
from handlit.methods.mhentropy import MHEntropy
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.lift import LiftNetwork
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.skeleton import TipConvention
from handlit.types import HandPrediction
from tests.models.test_lift import SMALL

SIZE = 32


def _network(asset: HandAsset, tips: TipConvention, camera: Any = "weak_perspective") -> AMVURNetwork:
    return AMVURNetwork(
        asset, tips, Backbone("test_resnet"), camera=camera, hidden=(16, 8), layers=1, heads=2, head_hidden=8
    )


def _spread(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
    sizes: dict[str, Any] = {"hidden": (16, 8), "layers": 1, "heads": 2, "head_hidden": 8}
    return AMVURNetwork(asset, tips, Backbone("test_resnet"), spread_rank=4, **sizes)


def _mhentropy(**settings: Any) -> MHEntropy:
    return MHEntropy(MHEntropyNetwork(Backbone("test_resnet"), 16, hidden=(8,), steps=1, **settings), image_size=SIZE)


#: Small networks of every method.
METHODS: dict[str, Any] = {
    "AMVUR": partial(AMVUR, partial(_network, camera="perspective"), image_size=SIZE),
    "AMVUR, spread": partial(AMVUR, _spread, image_size=SIZE),
    "Deterministic": partial(Deterministic, _network, image_size=SIZE),
    "MeanHand": partial(MeanHand, image_size=SIZE),
    "MHEntropy": _mhentropy,
    "MHEntropy, splines, all drawn": partial(_mhentropy, flow="spline", stochastic="all"),
}


def run(name: str, batch: int = 3, draws: int = 5) -> tuple[Any, HandGraph, tuple[Tensor, ...], dict[str, Tensor]]:
    """A method, its graph, inputs and outputs by name."""
    torch.manual_seed(0)
    method = METHODS[name]().eval()
    graph = method.graph().eval()
    inputs = graph.example(batch, draws)
    with torch.no_grad():
        outputs = graph(*inputs)
    return method, graph, inputs, dict(zip((port.name for port in graph.outputs), outputs, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_tensors_are_as_stated_and_those_of_the_prediction(name: str) -> None:
    method, graph, inputs, outputs = run(name)
    sizes = {"batch": 3, "hypotheses": 5}
    for port, value in [*zip(graph.inputs, inputs, strict=True), *zip(graph.outputs, outputs.values(), strict=True)]:
        assert value.shape == tuple(sizes.get(str(size), size) for size in port.shape), port.name
    with torch.no_grad():
        prediction: HandPrediction = method(inputs[0])
    for port in PREDICTED:
        expected = getattr(prediction, port.name)
        assert (port.name in outputs) == (expected is not None)
        if expected is not None:
            torch.testing.assert_close(outputs[port.name], expected)


def test_lift_draws_what_its_distribution_draws() -> None:
    torch.manual_seed(0)
    method = Lift(LiftNetwork(**SMALL)).eval()
    graph = method.graph()
    inputs = graph.example(3, 400)
    with torch.no_grad():
        outputs = dict(zip((port.name for port in graph.outputs), graph(*inputs), strict=True))
        prediction = method.lift(*inputs[:3])
        drawn = prediction.distribution.hypotheses(400)
    for port in graph.outputs:
        assert outputs[port.name].shape == tuple({"batch": 3, "hypotheses": 400}.get(str(n), n) for n in port.shape)
    torch.testing.assert_close(outputs["joints_root"], prediction.joints_root)
    torch.testing.assert_close(outputs["vertex_scale"], prediction.vertex_scale)
    found, expected = outputs["hypotheses_joints_root"], drawn.joints_root
    # means of 400 draws differ by their standard errors
    error = expected.std(1) * (2 / 400) ** 0.5
    assert ((found.mean(1) - expected.mean(1)).abs() <= 6 * error + 1e-6).all()
    assert (found.std(1) - expected.std(1)).norm() < 0.15 * expected.std(1).norm()
    assert not torch.equal(outputs["hypotheses_joints_2d"][:, 0], outputs["hypotheses_joints_2d"][:, 1])


@pytest.mark.parametrize("name", ["AMVUR", "Deterministic", "MeanHand"])
def test_vertices_and_scales_draw_what_the_distribution_draws(name: str) -> None:
    method, _, inputs, outputs = run(name)
    noise = torch.randn(3, 778, 3, generator=torch.Generator().manual_seed(1))
    vertices = outputs["vertices_root"] + outputs["vertex_scale"] * noise
    joints = outputs["joint_matrix"] @ vertices
    distribution: Any = method(inputs[0]).distribution
    torch.testing.assert_close(
        distribution.log_prob(vertices),
        -(noise.square() / 2 + outputs["vertex_scale"].log() + 0.9189385).flatten(1).sum(1),
    )
    torch.testing.assert_close(joints, distribution.joint_matrix @ vertices)


def test_shared_spread_draws_what_the_distribution_draws() -> None:
    method, _, inputs, outputs = run("AMVUR, spread")
    generator = torch.Generator().manual_seed(1)
    noise, shared = torch.randn(3, 778, 3, generator=generator), torch.randn(3, 4, generator=generator)
    own, factor = outputs["vertex_own_scale"], outputs["vertex_factor"]
    vertices = outputs["vertices_root"] + own * noise + torch.einsum("bvcr,br->bvc", factor, shared)
    distribution: Any = method(inputs[0]).distribution
    wide = torch.distributions.LowRankMultivariateNormal(
        distribution.mean.double().flatten(1), factor.double().flatten(1, 2), own.double().square().flatten(1)
    )
    expected = wide.log_prob(vertices.double().flatten(1))
    torch.testing.assert_close(distribution.log_prob(vertices).double(), expected, rtol=1e-4, atol=0.1)
    torch.testing.assert_close(outputs["vertex_scale"].square(), own.square() + factor.square().sum(-1))


@pytest.mark.parametrize("name", ["MHEntropy", "MHEntropy, splines, all drawn"])
def test_noise_gives_the_hypotheses_of_the_distribution(name: str) -> None:
    method, graph, (image, noise), outputs = run(name)
    with torch.no_grad():
        hands = method.infer(image)
        drawn, log_prob = hands.flow.of_noise(noise.transpose(0, 1))
        torch.testing.assert_close(outputs["hypotheses_log_prob"], log_prob.T)
        torch.testing.assert_close(hands.flow.log_prob(drawn), log_prob, rtol=1e-3, atol=1e-2)
        joints = hands.joints(hands.parameters(drawn)).transpose(0, 1)
        centre = graph(image, torch.zeros_like(noise))
    torch.testing.assert_close(outputs["hypotheses_joints_root"], joints - joints[:, :, :1])
    by_name = dict(zip(outputs, centre, strict=True))
    for what in ("joints_root", "joints_2d"):
        expected = by_name[what][:, None].expand_as(by_name[f"hypotheses_{what}"])
        torch.testing.assert_close(by_name[f"hypotheses_{what}"], expected, rtol=1e-4, atol=1e-4)
