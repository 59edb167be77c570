import math
from dataclasses import replace

import pytest
import roma
import torch
from torch import Tensor

from handlit.distributions.flow import FlowDistribution
from handlit.distributions.lifted_hands import (
    BENDS,
    LiftedHands,
    Noise,
    from_build,
    from_place,
    to_build,
    to_place,
)
from handlit.geometry.cameras import project
from handlit.geometry.viewing_ray import view_hand
from handlit.hand.chains import FingerChains
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.models.lift import LiftNetwork

INTRINSICS = torch.tensor([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])


@pytest.fixture(scope="module")
def hands() -> LiftedHands:
    torch.manual_seed(0)
    network = LiftNetwork(width=32, blocks=1, features=16, hidden=16, context=8, couplings=2, components=3)
    layer, angles = HandLayer(load_standin(), pose_space="matrix"), JointAngles()
    rotation = roma.random_rotmat(3)
    joints = layer.joints_only(angles.matrices(torch.randn(3, 27)), None, rotation)
    joints = joints - joints[:, :1] + torch.tensor([0.1, 0.05, 0.6])
    intrinsics = INTRINSICS.expand(3, 3, 3)
    view = view_hand(project(joints, intrinsics), torch.ones(3, 21, dtype=torch.bool), intrinsics)
    with torch.no_grad():
        output = network(view, torch.ones(3, 21))
    return LiftedHands(output, layer, FingerChains(layer), angles)


def noise(count: int) -> Noise:
    torch.manual_seed(4)
    shape = (count, 3)
    return Noise(torch.rand(shape), *(torch.randn(*shape, *size) for size in ((3,), (57,), (3,), (21, 3))))


@torch.no_grad()
def test_coordinates_and_parameters_are_the_same_hand(hands: LiftedHands) -> None:
    drawn, placed = noise(5).hand[..., :30], noise(5).place
    torch.testing.assert_close(to_build(from_build(drawn)), drawn, atol=1e-4, rtol=0)
    torch.testing.assert_close(to_place(from_place(placed, hands.view), hands.view), placed, atol=1e-4, rtol=0)
    assert from_build(1000 * drawn).ratios.isfinite().all()
    assert from_place(1000 * placed, hands.view).isfinite().all()


def test_every_joint_angle_is_drawn_once_and_parents_first() -> None:
    assert sorted(torch.cat(BENDS).tolist()) == list(range(27))
    assert [len(step) for step in BENDS] == [15, 7, 5]


@torch.no_grad()
def test_hypotheses_are_of_one_hand_in_every_field(hands: LiftedHands) -> None:
    torch.manual_seed(0)
    drawn = hands.hypotheses(6, vertices=True, density=True)
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
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_log_density_of_a_draw_is_that_of_the_hand_read_backwards(hands: LiftedHands, temperature: float) -> None:
    hands, numbers = hands.tempered(temperature), noise(5)
    drawn = hands.push(numbers)
    pose = roma.rotvec_to_rotmat(drawn.pose.transpose(0, 1).unflatten(-1, (16, 3)))
    rotation = hands.view.rotation.mT @ pose[..., 0, :, :]
    # draws do not state their proportions: those of the same numbers
    build = hands.steps.build(rotation).tempered(temperature).of_noise(numbers.hand[..., :30])[0]
    hand = from_build(build)._replace(free=hands.angles.free(pose[..., 1:, :, :]))
    root = hands.view.to_view(drawn.root_cam.transpose(0, 1)[..., None, :])[..., 0, :]
    density = hands.log_prob(hand, rotation, root, hands.view.to_view(drawn.joints_root.transpose(0, 1)))
    torch.testing.assert_close(drawn.log_prob, torch.stack(density).sum(0).T, atol=0.05, rtol=1e-3)


@torch.no_grad()
def test_the_density_of_a_place_is_of_its_own_coordinates_and_of_definitions_torch_s(hands: LiftedHands) -> None:
    torch.manual_seed(1)
    hand = from_build(torch.randn(3, 30))._replace(free=torch.randn(3, 27))
    rotation, root, joints = roma.random_rotmat(3), torch.tensor([0.0, 0.0, 0.5]).expand(3, 3), torch.randn(3, 21, 3)
    density, model = hands.log_prob(hand, rotation, root, joints), hands.model_joints(hand, rotation)
    best = to_place(hands.view.fit_root(model), hands.view)
    gap = hands.view.points - hands.view.project(model + hands.view.fit_root(model)[:, None])
    beside = hands.steps.place(gap.clamp(-1, 1)).log_prob((to_place(root, hands.view) - best) / 0.02)
    torch.testing.assert_close(density.place, beside - 3 * math.log(0.02))
    defined = hands.defined(model, root)
    expected = torch.distributions.Normal(defined.mean, defined.log_scale.exp()).log_prob(joints)[:, 1:].sum((1, 2))
    torch.testing.assert_close(density.definition, expected)


@torch.no_grad()
def test_later_joints_do_not_change_the_density_of_earlier_ones(hands: LiftedHands) -> None:
    """What is unexplained when a joint is drawn must not know the angles that are still to come."""
    seen: list[Tensor] = []

    class Recorded:
        view, rotation = hands.steps.view, hands.steps.rotation
        build, place, definition = hands.steps.build, hands.steps.place, hands.steps.definition

        def bend(self, step: int, unexplained: Tensor) -> FlowDistribution:
            seen.append(unexplained)
            return hands.steps.bend(step, unexplained)

    torch.manual_seed(2)
    recorded = replace(hands, steps=Recorded())
    hand = from_build(torch.randn(3, 30))._replace(free=torch.randn(3, 27))
    rest = (roma.random_rotmat(3), torch.tensor([0.0, 0.0, 0.5]).expand(3, 3), torch.randn(3, 21, 3))
    recorded.log_prob(hand, *rest)
    other = hand.free.clone()
    other[:, BENDS[2]] += 1
    recorded.log_prob(hand._replace(free=other), *rest)
    assert len(seen) == 6
    for step in range(3):
        torch.testing.assert_close(seen[step], seen[3 + step])
    other[:, BENDS[1]] += 1
    recorded.log_prob(hand._replace(free=other), *rest)
    torch.testing.assert_close(seen[7], seen[1])
    assert (seen[8] - seen[2]).abs().max() > 0.1


@torch.no_grad()
def test_hypotheses_stand_where_they_look_like_what_was_seen(hands: LiftedHands) -> None:
    """Any hand, moved to where its joints fit best, and then by the little that its place is uncertain."""
    drawn = hands.tempered(0.0).push(noise(8))
    centre = drawn.joints_2d.mean((1, 2))
    seen = project(hands.view.to_camera(_rays(hands)), hands.view.intrinsics).mean(1)
    size = hands.view.size * hands.view.intrinsics[:, 0, 0]
    assert ((centre - seen).norm(dim=-1) / size).max() < 0.3


def _rays(hands: LiftedHands) -> Tensor:
    """Points (B, 21, 3) along the rays of the joints that were seen."""
    return hands.view.unproject(hands.view.points.transpose(0, 1), torch.ones(21, 3)).transpose(0, 1)


@torch.no_grad()
def test_at_temperature_zero_every_hypothesis_is_the_point_estimate(hands: LiftedHands) -> None:
    drawn, centre = hands.hypotheses(3, temperature=0.0, density=True), hands.centre()
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


@torch.no_grad()
def test_single_precision_is_kept_under_autocast(hands: LiftedHands) -> None:
    drawn = hands.push(noise(4), vertices=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = hands.push(noise(4), vertices=True)
    for name in ("joints_root", "vertices_root", "log_prob", "pose"):
        torch.testing.assert_close(getattr(again, name), getattr(drawn, name))
