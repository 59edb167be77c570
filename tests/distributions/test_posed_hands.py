"""Hands drawn from a flow: the published chain's recorded numbers, one camera, rigid palms."""

import math

import pytest
import torch

from handlit.distributions.posed_hands import HandParameters, PosedHands, scale_noise
from handlit.distributions.realnvp import ConditionalRealNVP
from handlit.geometry.cameras import project_weak
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS, reorder
from tests.hand.synthetic_mano import synthetic_mano

PALM = [JOINTS.index(name) for name in ("wrist", "thumb_1", "index_1", "middle_1", "ring_1", "pinky_1")]


def sines(count: int, a: float, b: float) -> torch.Tensor:
    return torch.sin(a * torch.arange(count) + b)


def hands(images: int = 3, features: int = 45, size: int = 256) -> PosedHands:
    torch.manual_seed(0)
    flow = ConditionalRealNVP(features, condition_features=8, hidden=(16,), steps=2)
    return PosedHands(
        flow=flow(torch.randn(images, 8)).tempered(0.3),
        hand=HandLayer(load_hand(), pose_space="pca", flat_hand_mean=False),
        orient=torch.randn(images, 3),
        betas=0.3 * torch.randn(images, 10),
        view=torch.tensor([[0.3, 0.1, -0.2]]).expand(images, 3),
        image_size=size,
    )


def test_recorded_numbers_of_the_published_chain() -> None:
    layer = HandLayer(synthetic_mano(), pose_space="pca", flat_hand_mean=False, tips="manopth")
    view = torch.tensor([[0.3, 0.05, -0.1]])
    posed = PosedHands(hands(1).flow, layer, 1.2 * sines(3, 1.1, 0.2)[None], 0.5 * sines(10, 0.8, 0.1)[None], view, 256)
    joints = posed.joints(HandParameters(0.8 * sines(45, 0.6, 0.9)[None], posed.orient, posed.betas))
    points = (posed.project(joints)[0] + 1) / 2 * 256
    points = points[reorder("handlit", "rhd")]
    expected = {0: (132.3285, 124.2493), 1: (134.6235, 115.8004), 12: (134.4, 115.2)}
    for joint, uv in expected.items():
        torch.testing.assert_close(points[joint], torch.tensor(uv), atol=2e-3, rtol=0)
    middle = joints[0] - joints[0, JOINTS.index("middle_1")]
    for joint, mm in {
        0: (-11.4218, 49.8949, -31.6787),
        4: (1.2322, 3.3107, 30.2286),
        20: (53.736, 83.7419, 47.9315),
    }.items():
        torch.testing.assert_close(1000 * middle[joint], torch.tensor(mm), atol=2e-3, rtol=0)


def test_one_camera_shows_every_hypothesis_with_the_wrist_at_the_origin() -> None:
    posed = hands()
    with torch.no_grad():
        drawn = posed.hypotheses(7)
        camera = posed.camera(posed.joints(posed.parameters(posed.flow.centre)))
    assert drawn.joints_root.shape == (3, 7, 21, 3)
    assert drawn.joints_root[:, :, 0].abs().max() == 0
    projected = project_weak(drawn.joints_root, camera[:, None])
    torch.testing.assert_close(projected, drawn.joints_2d, atol=1e-3, rtol=0)


def test_the_palm_keeps_still_unless_the_flow_moves_it() -> None:
    with torch.no_grad():
        published, whole = (hands(features=features).hypotheses(20) for features in (45, 58))
    spread = [drawn.joints_root.std(1).norm(dim=-1) for drawn in (published, whole)]
    assert spread[0][:, PALM].max() < 1e-6
    fingers = [joint for joint in range(21) if joint not in PALM]
    assert spread[0][:, fingers].min() > 1e-3
    assert spread[1][:, PALM[1:]].min() > 1e-3
    assert published.betas is not None
    assert published.betas.std(1).max() == 0


@pytest.mark.parametrize("features", [45, 58])
def test_poses_and_meshes_are_those_of_the_joints(features: int) -> None:
    posed = hands(features=features)
    with torch.no_grad():
        drawn = posed.hypotheses(4, vertices=True, density=True)
        assert drawn.pose is not None
        assert drawn.vertices_root is not None
        assert drawn.log_prob is not None
        layer = HandLayer(load_hand(), flat_hand_mean=True)
        again = layer(drawn.pose[..., 3:], drawn.betas, drawn.pose[..., :3])
    wrist = again.joints[..., :1, :]
    torch.testing.assert_close(again.joints - wrist, drawn.joints_root, atol=1e-5, rtol=0)
    torch.testing.assert_close(again.vertices - wrist, drawn.vertices_root, atol=1e-5, rtol=0)
    assert drawn.log_prob.shape == (3, 4)


def test_without_meshes_the_same_hands_are_drawn() -> None:
    posed = hands()
    results = []
    for vertices in (False, True):
        torch.manual_seed(1)
        with torch.no_grad():
            results.append(posed.hypotheses(5, vertices=vertices, density=True))
    assert results[0].vertices_root is None
    torch.testing.assert_close(results[0].joints_root, results[1].joints_root, atol=1e-6, rtol=0)
    assert torch.equal(results[0].log_prob, results[1].log_prob)


def test_log_densities_belong_to_their_hypotheses() -> None:
    posed = hands()
    with torch.no_grad():
        drawn = posed.hypotheses(6, density=True)
        layer = posed.hand
        assert drawn.pose is not None
        components = layer._components
        fingers = (drawn.pose[..., 3:] - layer._mean) @ torch.linalg.inv(components)
        again = posed.flow.log_prob(fingers.transpose(0, 1)).T
    torch.testing.assert_close(drawn.log_prob, again, atol=2e-2, rtol=0)


def test_scales_are_the_spread_of_many_draws_and_repeat() -> None:
    posed = hands()
    with torch.no_grad():
        vertex_scale, joint_scale = posed.scales(scale_noise(posed.flow.event_shape[0]))
        many = posed.hypotheses(1500, vertices=True)
        assert many.vertices_root is not None
        torch.testing.assert_close(joint_scale.mean(), many.joints_root.std(1).mean(), rtol=0.1, atol=0)
        torch.testing.assert_close(vertex_scale.mean(), many.vertices_root.std(1).mean(), rtol=0.1, atol=0)
        assert torch.equal(posed.scales(scale_noise(posed.flow.event_shape[0]))[0], vertex_scale)


def test_temperature_zero_gives_the_point_estimate() -> None:
    posed = hands()
    with torch.no_grad():
        still, centre = posed.hypotheses(3, temperature=0.0, density=True), posed.centre()
    torch.testing.assert_close(still.joints_root, centre.joints_root.expand(-1, 3, -1, -1))
    assert still.log_prob is None
    with torch.no_grad():
        spread = [posed.hypotheses(300, temperature).joints_root.std(1).mean() for temperature in (0.5, 1.0)]
    assert spread[0] < 0.75 * spread[1]
    assert math.isfinite(spread[1])
