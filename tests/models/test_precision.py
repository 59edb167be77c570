"""bf16-mixed lowers the image networks alone: what has units stays float32."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from handlit.hand.layer import HandLayer, PoseSpace
from handlit.hand.loading import load_hand
from handlit.methods.method import HandMethod, Losses
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.models.prior_net import RegressionHead
from handlit.models.texture import sample_maps
from handlit.types import HandPrediction
from tests.methods import test_amvur_texture, test_mhentropy
from tests.methods.test_mhentropy import batch_with_visibility

bf16 = partial(torch.autocast, "cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize("space", ["pca", "axis_angle"])
def test_hand_layer_is_bit_equal_under_autocast(space: PoseSpace) -> None:
    torch.manual_seed(0)
    layer = HandLayer(load_hand(None), pose_space=space)
    pose, betas, orient = torch.randn(3, 45), torch.randn(3, 10), torch.randn(3, 3)
    expected = layer(pose, betas, orient)
    with bf16():
        found = layer(pose, betas, orient)
        joints = layer.joints_only(pose, betas, orient)
    assert torch.equal(found.vertices, expected.vertices)
    assert torch.equal(found.joints, expected.joints)
    assert torch.equal(joints, layer.joints_only(pose, betas, orient))


@pytest.mark.parametrize("flow", ["realnvp", "spline"])
def test_flow_is_bit_equal_under_autocast(flow: str) -> None:
    network = test_mhentropy.method(flow=flow).network.flow
    condition, noise = torch.randn(3, 32), torch.randn(5, 3, 45)
    expected = network(condition)
    with bf16():
        found = network(condition)
        pushed, log_det = found.push(noise)
        log_prob = found.log_prob(noise)
    assert all(map(torch.equal, (pushed, log_det), expected.push(noise)))
    assert torch.equal(log_prob, expected.log_prob(noise))


def test_heads_answer_in_float32() -> None:
    torch.manual_seed(0)
    head, feature = RegressionHead(16, 8, [2.1, 0.3]), torch.randn(4, 16)
    with bf16():
        found = head(feature)
    assert torch.equal(found, head(feature))


def test_mhentropy_reads_camera_and_condition_from_the_feature_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    network: MHEntropyNetwork = test_mhentropy.method().network.eval()
    images = torch.randn(2, 3, 64, 64)
    features = network.backbone(images)
    monkeypatch.setattr(network.backbone, "forward", lambda _: features)
    expected = network(images)
    with bf16():
        found = network(images)
    assert torch.equal(found.view, expected.view)
    assert torch.equal(found.flow.condition, expected.flow.condition)


def test_maps_of_half_precision_are_read_where_the_points_are() -> None:
    ramp = torch.linspace(-1, 1, 128).expand(1, 1, 128, 128)
    points = torch.tensor([[[0.7031, 0.0], [0.7049, 0.0]]])
    half = sample_maps([(64 * ramp).bfloat16()], points)
    assert half.dtype == torch.float32
    # in steps of 2^-8 both points are the same
    assert half[0, 0, 0] < half[0, 1, 0]


def step(module: HandMethod[Any], mixed: bool) -> tuple[Losses, HandPrediction]:
    batch = batch_with_visibility()
    module.zero_grad()
    with bf16(enabled=mixed):
        torch.manual_seed(1)
        output = module.infer(batch.image)
        losses = module.losses(output, batch)
        prediction = module.predict(output)
    losses.total.backward()
    return losses, prediction


# seen: AMVUR 0.01 %, MHEntropy 0.2 % of the total
@pytest.mark.parametrize("build", [partial(test_amvur_texture.method, photometric=1e-3), test_mhentropy.method])
def test_a_mixed_step_is_close_to_the_float32_step(build: Callable[[], HandMethod[Any]]) -> None:
    full, _ = step(build(), mixed=False)
    module = build()
    mixed, prediction = step(module, mixed=True)
    torch.testing.assert_close(mixed.total, full.total, rtol=0.01, atol=0)
    assert all(term.dtype == torch.float32 for term in mixed.terms.values())
    for name in ("vertices_root", "joints_root", "joints_2d", "vertex_scale", "joint_scale", "camera", "pose", "betas"):
        assert getattr(prediction, name).dtype == torch.float32, name
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)
