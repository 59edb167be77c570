import math

import pytest
import roma
import torch
from torch import Tensor

from handlit.distributions.lifted_hands import LiftedHands, from_coordinates, to_coordinates
from handlit.geometry.cameras import project
from handlit.geometry.viewing_ray import view_hand
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.models.lift import LiftNetwork

INTRINSICS = torch.tensor([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])


@pytest.fixture(scope="module")
def hands() -> LiftedHands:
    torch.manual_seed(0)
    network = LiftNetwork(width=32, blocks=1, features=16, hidden=16, couplings=4, components=3)
    layer, angles = HandLayer(load_standin(), pose_space="matrix"), JointAngles()
    rotation = roma.random_rotmat(3)
    joints = layer.joints_only(angles.matrices(torch.randn(3, 27)), None, rotation)
    joints = joints - joints[:, :1] + torch.tensor([0.1, 0.05, 0.6])
    intrinsics = INTRINSICS.expand(3, 3, 3)
    view = view_hand(project(joints, intrinsics), torch.ones(3, 21, dtype=torch.bool), intrinsics)
    with torch.no_grad():
        output = network(view, torch.ones(3, 21))
    return LiftedHands(output.rotation, output.hands, output.residual, layer, angles, view)


def coordinates(count: int = 5) -> Tensor:
    return torch.randn(count, 3, 60, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_coordinates_and_parameters_are_the_same_hand(hands: LiftedHands) -> None:
    drawn = coordinates()
    again = to_coordinates(from_coordinates(drawn, hands.view), hands.view)
    torch.testing.assert_close(again, drawn, atol=1e-4, rtol=0)
    assert from_coordinates(100 * drawn, hands.view).root.isfinite().all()


@torch.no_grad()
def test_hypotheses_are_of_one_hand_in_every_field(hands: LiftedHands) -> None:
    torch.manual_seed(0)
    drawn = hands.hypotheses(6, vertices=True)
    assert drawn.joints_root.shape == (3, 6, 21, 3)
    assert drawn.vertices_root.shape == (3, 6, 778, 3)
    assert drawn.log_prob.shape == (3, 6)
    assert (drawn.joints_root[..., 0, :] == 0).all()
    # the pose is that of the mesh, but for proportions and what a joint is said to be
    layer = HandLayer(load_standin())
    posed = layer(drawn.pose[..., 3:], drawn.betas, drawn.pose[..., :3])
    apart = (posed.vertices - posed.joints[..., :1, :] - drawn.vertices_root).norm(dim=-1)
    assert apart.mean() < 0.012


@torch.no_grad()
def test_log_density_is_the_sum_of_the_three_steps(hands: LiftedHands) -> None:
    """Each step's density computed from what was drawn, backwards."""
    torch.manual_seed(4)
    share, turn = torch.rand(5, 3), torch.randn(5, 3, 3)
    noise, offset = torch.randn(5, 3, 60), torch.randn(5, 3, 21, 3)
    drawn = hands._push(share, turn, noise, offset, vertices=False)
    rotation = hands.rotation.push(share, turn)
    flow = hands.flow(rotation)
    drawn_coordinates = flow.push(noise)[0]
    hand = hands.parameters(drawn_coordinates)
    model = hands.model_joints(hand, rotation)
    mean, log_scale = hands.residual_at(model, hand.root)
    beside = hands.view.to_view(drawn.joints_root.transpose(0, 1)) - model
    definition = torch.distributions.Normal(mean, log_scale.exp()).log_prob(beside)[..., 1:, :].sum((-1, -2))
    expected = hands.rotation.log_prob(rotation) + flow.log_prob(drawn_coordinates) + definition
    torch.testing.assert_close(drawn.log_prob, expected.T, atol=0.05, rtol=1e-3)


@torch.no_grad()
def test_at_temperature_zero_every_hypothesis_is_the_point_estimate(hands: LiftedHands) -> None:
    drawn, centre = hands.hypotheses(3, temperature=0.0), hands.centre()
    assert drawn.log_prob is None
    torch.testing.assert_close(drawn.joints_root, centre.joints_root.expand(-1, 3, -1, -1), atol=1e-5, rtol=0)
    narrow, wide = (hands.tempered(t).hypotheses(256).betas.std(1).mean().item() for t in (0.3, 1.0))
    assert narrow < 0.5 * wide


@torch.no_grad()
def test_scales_are_those_of_many_draws_and_the_same_for_any_batch(hands: LiftedHands) -> None:
    vertices, joints = hands.scales()
    assert vertices.shape == (3, 778, 3)
    torch.manual_seed(5)
    many = hands.hypotheses(2000).joints_root.std(1)
    ratio = (joints[:, 1:].norm(dim=-1) / many[:, 1:].norm(dim=-1)).mean().item()
    assert math.isclose(ratio, 1, abs_tol=0.15)
    torch.testing.assert_close(hands.scales()[1], joints)
