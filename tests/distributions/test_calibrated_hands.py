"""A calibrated hand is the method's, turned and widened: with factors of 1 the same one."""

from dataclasses import dataclass, replace

import pytest
import roma
import torch
from torch import Tensor

from handlit.distributions.calibrated_hands import (
    CalibratedHands,
    Differences,
    HandCalibration,
    Widening,
    differences,
    stated_scale,
)
from handlit.distributions.cameras import WeakPerspectiveCamera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.geometry.cameras import normalised_to_crop, view_to_crop
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.types import HandPrediction, Hypotheses

SIZE, BATCH = 96, 2
NO_ERRORS = Differences(torch.zeros(0, 3), torch.zeros(0, 21, 3))
NOTHING = HandCalibration(Widening(1.0), Widening(1.0), torch.ones(21), 0.01, NO_ERRORS)


@pytest.fixture(scope="module")
def hand() -> HandLayer:
    return HandLayer(load_hand())


@pytest.fixture(scope="module")
def prediction(hand: HandLayer) -> HandPrediction:
    generator = torch.Generator().manual_seed(0)
    posed = hand(0.2 * torch.randn(BATCH, 45, generator=generator), torch.zeros(BATCH, 10), torch.rand(BATCH, 3))
    vertices = posed.vertices - (hand.joint_matrix @ posed.vertices)[:, :1]
    mesh = MeshGaussian(vertices, torch.full_like(vertices, 0.01))
    joints = mesh.marginal(hand.joint_matrix, relative_to=0)
    camera = WeakPerspectiveCamera(torch.tensor([[8.0, 0.1, -0.2], [6.0, 0.0, 0.5]]))
    return HandPrediction(
        vertices_root=vertices,
        joints_root=joints.mean,
        joints_2d=normalised_to_crop(camera.project(joints).mean, SIZE),
        vertex_scale=mesh.stddev,
        joint_scale=joints.stddev,
        camera=view_to_crop(camera.view, SIZE),
        distribution=GaussianHands(mesh, hand.joint_matrix, camera, SIZE),
    )


@dataclass(frozen=True)
class TurnedHands:
    """A prediction's hand, turned about its wrist by given angles about x."""

    prediction: HandPrediction
    angles: Tensor

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        turn = roma.rotvec_to_rotmat(temperature * self.angles[:count, None] * torch.tensor([1.0, 0, 0]))
        joints = self.prediction.joints_root[:, None] @ turn.mT
        points = self.prediction.camera[:, None, None, :1] * joints[..., :2]
        return Hypotheses(
            joints,
            points + self.prediction.camera[:, None, None, 1:],
            self.prediction.vertices_root[:, None] @ turn.mT if vertices else None,
        )


def both(prediction: HandPrediction, calibration: HandCalibration, count: int) -> tuple[Hypotheses, Hypotheses]:
    """The method's own draws and what becomes of the same ones."""
    torch.manual_seed(0)
    own = prediction.distribution.hypotheses(count, vertices=True)
    torch.manual_seed(0)
    return own, CalibratedHands(prediction, calibration).hypotheses(count, vertices=True)


def test_a_hand_is_its_turn_and_its_rest(prediction: HandPrediction) -> None:
    generator = torch.Generator().manual_seed(1)
    centre = prediction.joints_root
    joints = centre + 0.01 * torch.randn(5, BATCH, 21, 3, generator=generator)
    turn, rest = differences(joints, centre)
    torch.testing.assert_close((centre + rest) @ roma.rotvec_to_rotmat(turn).mT, joints)
    turned = centre @ roma.rotvec_to_rotmat(torch.tensor([0.1, -0.4, 0.2])).mT
    turn, rest = differences(turned, centre)
    torch.testing.assert_close(turn, torch.tensor([[0.1, -0.4, 0.2]] * BATCH))
    assert rest.abs().max() < 1e-6


def test_factors_of_one_change_nothing(prediction: HandPrediction) -> None:
    own, calibrated = both(prediction, NOTHING, 4)
    torch.testing.assert_close(calibrated.joints_root, own.joints_root, rtol=0, atol=1e-6)
    torch.testing.assert_close(calibrated.joints_2d, own.joints_2d, rtol=0, atol=1e-3)
    torch.testing.assert_close(calibrated.vertices_root, own.vertices_root, rtol=0, atol=1e-6)
    assert calibrated.log_prob is None


def test_turns_are_multiplied_and_points_and_meshes_follow(prediction: HandPrediction) -> None:
    turned = replace(prediction, distribution=TurnedHands(prediction, torch.tensor([0.1, -0.2])))
    expected = TurnedHands(prediction, torch.tensor([0.3, -0.6])).hypotheses(2, vertices=True)
    calibrated = CalibratedHands(turned, replace(NOTHING, turn=Widening(3.0))).hypotheses(2, vertices=True)
    torch.testing.assert_close(calibrated.joints_root, expected.joints_root, rtol=0, atol=1e-5)
    torch.testing.assert_close(calibrated.joints_2d, expected.joints_2d, rtol=0, atol=1e-2)
    torch.testing.assert_close(calibrated.vertices_root, expected.vertices_root, rtol=0, atol=1e-5)


def test_joints_of_a_widened_mesh_are_its_joints(prediction: HandPrediction, hand: HandLayer) -> None:
    _, calibrated = both(prediction, replace(NOTHING, turn=Widening(0.0), rest=Widening(2.5)), 6)
    joints = hand.joint_matrix @ calibrated.vertices_root
    torch.testing.assert_close(calibrated.joints_root, joints - joints[:, :, :1], rtol=0, atol=1e-5)


def test_a_joints_factor_is_its_own(prediction: HandPrediction) -> None:
    factors = torch.ones(21)
    factors[8] = 3.0
    own, calibrated = both(prediction, replace(NOTHING, joints=factors), 6)
    own_rest = differences(own.joints_root, prediction.joints_root[:, None]).rest
    turn = roma.rotvec_to_rotmat(differences(own.joints_root, prediction.joints_root[:, None]).turn)
    rest = calibrated.joints_root @ turn - prediction.joints_root[:, None]
    torch.testing.assert_close(rest, own_rest * factors[:, None], rtol=0, atol=1e-6)
    moved = (calibrated.vertices_root - own.vertices_root).norm(dim=-1)
    nearest = torch.cdist(prediction.vertices_root, prediction.joints_root).argmin(-1)
    by_joint = torch.stack([moved[0, :, nearest[0] == joint].mean() for joint in (8, 4, 17)])
    assert by_joint[0] > 20 * by_joint[1:].max()


def test_errors_are_added_with_either_sign_by_the_stated_scale(prediction: HandPrediction) -> None:
    errors = Differences(torch.tensor([[0.2, 0.0, 0.0]]), torch.zeros(1, 21, 3))
    errors.rest[:, 5] = 0.004
    usual = float(stated_scale(prediction.joint_scale)[0]) / 2
    still = replace(prediction, distribution=TurnedHands(prediction, torch.zeros(400)))
    added = HandCalibration(Widening(1, 0.5, 1.0), Widening(1, 1.5), torch.ones(21), usual, errors)
    torch.manual_seed(0)
    drawn = CalibratedHands(still, added).hypotheses(400).joints_root
    turn, _ = differences(drawn, prediction.joints_root[:, None])
    assert float(turn[0, :, 0].abs().mean()) == pytest.approx(0.5 * 2 * 0.2, rel=0.02)
    assert 120 < int((turn[0, :, 0] > 0).sum()) < 280
    cold = CalibratedHands(still, added).hypotheses(3, temperature=0.0).joints_root
    torch.testing.assert_close(cold, prediction.joints_root[:, None].expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


def test_the_point_estimate_stays_and_scales_are_of_the_draws(prediction: HandPrediction) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    calibration = replace(NOTHING, turn=Widening(2.0), rest=Widening(2.0))
    wide = calibration.apply(prediction)
    assert torch.equal(torch.rand(1), expected)
    assert wide.joints_root is prediction.joints_root
    assert wide.vertices_root is prediction.vertices_root
    assert float((wide.vertex_scale / prediction.vertex_scale).mean()) == pytest.approx(2.0, rel=0.05)
    assert float((wide.joint_scale / prediction.joint_scale)[:, 1:].mean()) == pytest.approx(2.0, rel=0.05)
    assert torch.equal(wide.joint_scale, calibration.apply(prediction).joint_scale)
