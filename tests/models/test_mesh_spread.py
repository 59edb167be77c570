"""What a hand's uncertainty does at its skin, against hands that are moved."""

from functools import partial
from typing import Any

import pytest
import roma
import torch

from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.amvur import AMVUR
from handlit.methods.supervision import RESOLUTION_M, FullSupervision, WeakSupervision
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.mesh_spread import MeshSpread
from tests.methods.hands import SIZE, hand_batch

COMPONENTS, RANK, FEATURES = 6, 5, 8


@pytest.fixture(scope="module")
def hand() -> HandLayer:
    return HandLayer(load_hand(), pose_space="pca", num_components=COMPONENTS, flat_hand_mean=False)


def spread(hand: HandLayer, mixed: torch.Tensor) -> MeshSpread:
    """One that answers the same to every image."""
    module = MeshSpread(FEATURES, hand, COMPONENTS, RANK, hidden=4)
    last: Any = module.head[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(mixed.flatten())
    return module


def vertices(hand: HandLayer, pose: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
    mesh = hand(pose, betas)
    return mesh.vertices - mesh.joints[..., :1, :]


def test_each_direction_is_what_a_small_change_of_the_hand_does(hand: HandLayer) -> None:
    step = 1e-2
    rotation = roma.random_rotmat(2)
    mean = vertices(hand, torch.zeros(2, COMPONENTS), torch.zeros(2, 10)) @ rotation.mT
    for row in (1, 3, 7, 10):
        mixed = torch.zeros(3 + COMPONENTS + 10, RANK)
        mixed[row, 2] = step
        factor = spread(hand, mixed)(torch.randn(2, FEATURES), mean, rotation)
        assert factor.shape == (2, 778, 3, RANK)
        assert not factor[..., [0, 1, 3, 4]].any()
        changed = step * torch.eye(3 + COMPONENTS + 10)[row]
        turn, pose, betas = changed.split((3, COMPONENTS, 10))
        moved = vertices(hand, pose[None], betas[None]) @ rotation.mT @ roma.rotvec_to_rotmat(turn).mT
        # to first order
        assert (factor[..., 2] - (moved - mean)).norm() < 0.02 * (moved - mean).norm()


def test_it_starts_with_every_direction_by_itself_and_trains_no_mesh(hand: HandLayer) -> None:
    module = MeshSpread(FEATURES, hand, COMPONENTS, RANK, hidden=4)
    mean, rotation = torch.randn(2, 778, 3, requires_grad=True), torch.eye(3).expand(2, 3, 3)
    factor = module(torch.zeros(2, FEATURES), mean, rotation)
    turned = factor[..., :3].square().sum(-1)
    # a hand that is turned about each axis by 0.2 radians
    expected = 0.04 * (mean.square().sum(-1, keepdim=True) - mean.square())
    torch.testing.assert_close(turned, expected, rtol=0.1, atol=1e-3)
    factor.square().sum().backward()
    assert mean.grad is None
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert not [name for name in module.state_dict() if "modes" in name]


def amvur(supervision: Any, **settings: Any) -> AMVUR:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden": (16, 8), "layers": 1, "heads": 2, "head_hidden": 8, **settings}

    def network(asset: Any, tips: Any) -> AMVURNetwork:
        return AMVURNetwork(asset, tips, Backbone("test_resnet"), **sizes)

    return AMVUR(network, supervision, image_size=SIZE)


@pytest.mark.parametrize("supervision", [partial(FullSupervision, nll_joints=1.0), WeakSupervision])
def test_every_parameter_of_a_network_with_it_is_trained(supervision: Any) -> None:
    module = amvur(supervision(), spread_rank=RANK, camera="perspective").train()
    batch = hand_batch()
    module.losses(module.infer(batch.image), batch).total.backward()
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_the_published_method_has_none_of_it() -> None:
    module, batch = amvur(FullSupervision()), hand_batch()
    assert not [name for name in module.state_dict() if "spread" in name]
    output = module.infer(batch.image)
    assert output.posterior.factor is None
    assert "nll_joints" not in module.losses(output, batch).terms


def test_the_likelihood_of_joints_is_that_of_the_drawn_ones_together() -> None:
    module, batch = amvur(FullSupervision(nll_joints=2.0), spread_rank=RANK), hand_batch()
    with torch.no_grad():
        output = module.infer(batch.image)
        term = module.losses(output, batch).terms["nll_joints"]
        factor = output.posterior.factor.flatten(1, 2)
    covariance = torch.diag_embed(output.posterior.own_scale.square().flatten(1)) + factor @ factor.mT
    matrix = module.hand.joint_matrix
    relative = torch.kron(matrix[1:] - matrix[0], torch.eye(3))
    of_joints = relative @ covariance @ relative.mT + RESOLUTION_M**2 * torch.eye(60)
    true = (matrix @ batch.vertices_cam)[:, 1:] - (matrix @ batch.vertices_cam)[:, :1]
    mean = relative @ output.posterior.mean.flatten(1)[..., None]
    known = torch.distributions.MultivariateNormal(mean[..., 0].double(), of_joints.double())
    expected = -known.log_prob(true.double().flatten(1)).mean() / 60
    torch.testing.assert_close(term.double(), expected, rtol=1e-3, atol=1e-3)
