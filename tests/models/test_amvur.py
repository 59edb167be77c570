import math
from inspect import signature
from typing import Any

import pytest
import torch
from torch.distributions import kl_divergence

from handlit.models.amvur import (
    INITIAL_INTRINSICS_SCALE,
    INITIAL_MAGNIFICATION,
    INTRINSICS_SCALE_BOUNDS,
    AMVURNetwork,
    CameraHead,
)
from handlit.models.backbones import Backbone
from handlit.skeleton import TIP_VERTICES
from tests.hand.synthetic_mano import synthetic_mano


def network(**settings: Any) -> AMVURNetwork:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden": (32, 16, 8), "layers": 1, "head_hidden": 32}
    return AMVURNetwork(synthetic_mano(), "freihand", Backbone("mobilenetv3_small_050"), **{**sizes, **settings})


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_outputs(images: torch.Tensor) -> None:
    module = network().eval()
    output = module(module.backbone.normalise(images))
    for distribution in (output.posterior, output.prior.distribution):
        assert distribution.batch_shape == (2,)
        assert distribution.event_shape == (778, 3)
    assert output.camera.view.shape == (2, 3)
    assert kl_divergence(output.posterior, output.prior.distribution).isfinite().all()


@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
def test_every_parameter_gets_a_gradient(images: torch.Tensor, camera: str) -> None:
    module = network(camera=camera).train()
    output = module(module.backbone.normalise(images))
    loss = -output.posterior.log_prob(torch.randn(2, 778, 3)).sum() + output.camera.view.square().sum()
    if output.camera.intrinsics is not None:
        loss = loss + output.camera.rsample().root_cam.square().sum()
    (loss + kl_divergence(output.posterior, output.prior.distribution).sum()).backward()
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_defaults_are_the_papers_network() -> None:
    settings = {name: parameter.default for name, parameter in signature(AMVURNetwork).parameters.items()}
    published = {"hidden": (1024, 256, 64), "layers": 4, "heads": 4, "camera": "weak_perspective", "dropout": 0.1}
    assert {name: settings[name] for name in published} == published


def test_tokens_are_the_template_joints_and_coarse_vertices_about_the_wrist() -> None:
    module = network()
    tokens = module.decoder.tokens[0]
    rest = module.hand(torch.zeros(30))
    assert tokens.shape == (216, 3)
    torch.testing.assert_close(tokens[:21], rest.joints - rest.joints[0])
    assert not tokens[0].any()
    tips = rest.vertices[list(TIP_VERTICES["freihand"])] - rest.joints[0]
    torch.testing.assert_close(tokens[[4, 8, 12, 16, 20]], tips)


def test_hand_model_is_not_in_the_checkpoint() -> None:
    names = network().state_dict()
    assert not [name for name in names if "hand." in name or "tokens" in name]


def test_camera_starts_with_a_hand_inside_the_crop_and_stays_positive() -> None:
    head: Any = CameraHead(24)
    torch.testing.assert_close(
        head(torch.randn(2, 24)).view, torch.tensor([[INITIAL_MAGNIFICATION, 0, 0]] * 2), rtol=0.05, atol=0.05
    )
    with torch.no_grad():
        head.head[-1].bias.copy_(torch.tensor([-3.0, 0.5, -0.5]))
        camera = head(torch.randn(2, 24)).view
    torch.testing.assert_close(camera[:, 0], torch.full((2,), math.exp(-3)), rtol=0.05, atol=0)


def test_perspective_camera_starts_at_arms_length_and_its_uncertainty_is_bounded() -> None:
    head: Any = CameraHead(24, "perspective")
    camera = head(torch.randn(2, 24))
    torch.testing.assert_close(camera.root_cam, torch.tensor([[0.0, 0.0, 0.6]] * 2), rtol=0.05, atol=0.02)
    torch.testing.assert_close(camera.intrinsics.stddev, torch.tensor([INITIAL_INTRINSICS_SCALE] * 2), rtol=0.1, atol=0)
    for bias, bound in ((-50.0, INTRINSICS_SCALE_BOUNDS[0]), (50.0, INTRINSICS_SCALE_BOUNDS[1])):
        with torch.no_grad():
            head.intrinsics_head[-1].bias[4:] = bias
        torch.testing.assert_close(head(torch.randn(2, 24)).intrinsics.stddev, torch.full((2, 4), bound))
