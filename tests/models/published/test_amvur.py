"""Parts of the released network against recorded values, literal loops and closed forms."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from handlit.hand.layer import HandLayer
from handlit.losses.gaussian import kl_per_coordinate
from handlit.models.published.amvur.cameras import (
    ReferenceOrthographicCamera,
    ReferencePerspectiveCamera,
)
from handlit.models.published.amvur.prior import POINTS, ReferencePrior
from handlit.models.published.amvur.texture import sample_map
from handlit.skeleton import JOINTS, TIP_VERTICES
from tests.hand.synthetic_mano import synthetic_mano

POINT = torch.tensor([[[0.1, 0.2, 0.7]]])
LOG_VARIANCE = torch.tensor([[[-6.0, -5.0, -7.0]]])
INTRINSICS = torch.tensor([[0.45, 0.25, 0.46, 0.24]])


def orthographic() -> ReferenceOrthographicCamera:
    values = torch.tensor([[-4.0, 0.01, 0.02]])
    return ReferenceOrthographicCamera(values, torch.tensor([[2.0, 0.5, -0.5]]))


def perspective() -> ReferencePerspectiveCamera:
    return ReferencePerspectiveCamera(INTRINSICS, torch.zeros(1, 4), torch.ones(1, 1), INTRINSICS)


def gaussian(mean: torch.Tensor, log_variance: float) -> "Independent[Normal]":
    return Independent(Normal(mean, math.exp(log_variance / 2)), 2)


def test_orthographic_camera() -> None:
    camera = orthographic()
    torch.testing.assert_close(camera.project(POINT), torch.tensor([[[0.44, 0.88]]]))
    expected = torch.tensor([[[-3.227411, -2.227411]]])
    torch.testing.assert_close(camera.log_variance(POINT, LOG_VARIANCE), expected)
    # the prior's: log-variances projected as if they were points, 2 (-6 + 0.5) and 2 (-5 - 0.5)
    torch.testing.assert_close(camera.prior_log_variance(POINT, LOG_VARIANCE), torch.tensor([[[-11.0, -11.0]]]))
    torch.testing.assert_close(camera.texture_points(POINT), torch.tensor([[[161.28, 210.56]]]))


def test_perspective_camera() -> None:
    camera = perspective()
    torch.testing.assert_close(camera.project(POINT), torch.tensor([[[0.628571, 0.742857]]]))
    expected = torch.tensor([[[0.024257, 0.028598]]])
    torch.testing.assert_close(camera.log_variance(POINT, LOG_VARIANCE), expected, rtol=1e-4, atol=1e-6)
    intrinsics = 448 * torch.tensor([[0.45, 0, 0.25], [0, 0.46, 0.24], [0, 0, 1 / 448]])
    homogeneous = intrinsics @ POINT[0, 0]
    # an image coordinate of 0 is the crop's edge, half a pixel before the first pixel's centre
    pixels = homogeneous[:2] / homogeneous[2] - 0.5
    torch.testing.assert_close(camera.to_crop(camera.project(POINT), 224)[0, 0], pixels)


@pytest.mark.parametrize("camera", [orthographic(), perspective()])
def test_weak_perspective_view_agrees_with_the_camera_around_the_wrist(
    camera: ReferenceOrthographicCamera | ReferencePerspectiveCamera,
) -> None:
    wrist = POINT[:, 0]
    near = POINT + torch.tensor([[[0.0, 0.0, 0.0], [1e-2, 2e-2, 0.0], [-3e-2, 1e-2, 0.0]]])
    magnification, offset = camera.view(wrist, 224)[:, None].split((1, 2), dim=-1)
    seen = magnification * (near - POINT)[..., :2] + offset
    # the perspective camera's focal lengths differ by 2 %, the weak one has one magnification
    torch.testing.assert_close(seen, camera.to_crop(camera.project(near), 224), atol=0.2, rtol=0)
    torch.testing.assert_close(seen[:, 0], camera.to_crop(camera.project(POINT), 224)[:, 0])


def test_divergences() -> None:
    """The released KL terms are Gaussian divergences, but for vertices, whose distance takes its square's place."""
    posterior = torch.tensor([[[0.0, 0, 0], [0.1, 0.2, 0.3]]])
    prior = torch.tensor([[[0.01, 0, 0], [0.1, 0.1, 0.3]]])

    def divergence(difference: torch.Tensor) -> float:
        zero = torch.zeros_like(difference)
        return float(kl_per_coordinate(gaussian(difference, -2), gaussian(zero, -1)))

    difference = posterior - prior
    assert divergence(difference.abs().sqrt()) == pytest.approx(0.2088573, abs=1e-6)
    assert divergence(difference - difference[:, :1]) == pytest.approx(0.1862276, abs=1e-6)
    standard = kl_per_coordinate(gaussian(torch.zeros(1, 799, 3), -1), gaussian(torch.zeros(1, 799, 3), 0))
    assert float(standard) == pytest.approx(0.1839397, abs=1e-6)
    labelled = torch.tensor([[440, 112, 441, 113]]) / 448
    camera = kl_per_coordinate(gaussian(INTRINSICS[None], 0), gaussian(labelled[None], 1))
    assert float(camera) == pytest.approx(0.2096129, abs=1e-6)


def test_sampling_of_ones_doubles_at_the_low_borders() -> None:
    points = [(30.2, 20.7), (0.2, 20), (20, 0.2), (0.2, 0.3), (200, 20), (200, 200), (-5, 200), (0, 0.5)]
    points += [(55.8, 3), (56.5, 3)]
    sampled = sample_map(torch.ones(1, 2, 56, 56), torch.tensor([points]))
    expected = torch.tensor([1.0, 2, 2, 4, 1, 1, 2, 2, 1, 1])[None, :, None].expand(1, -1, 2)
    torch.testing.assert_close(sampled, expected, atol=2e-3, rtol=0)


def test_sampling_is_bilinear_elsewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 3, 5, 8, generator=generator)
    points = torch.rand(2, 20, 2, generator=generator) * torch.tensor([10.0, 7.0]) + 0.5
    grid = 2 * points / torch.tensor([8.0, 5.0]) - 1
    expected = torch.nn.functional.grid_sample(features, grid[:, :, None], padding_mode="border", align_corners=False)
    torch.testing.assert_close(sample_map(features, points), expected[..., 0].mT, atol=1e-5, rtol=1e-5)
    assert sample_map(features, torch.full((2, 1, 2), 1e30)).shape == (2, 1, 3)


@torch.no_grad()
def test_prior_against_the_hand_layer() -> None:
    torch.manual_seed(0)
    prior = ReferencePrior(synthetic_mano(), in_features=8).eval()
    feature = torch.randn(2, 8)
    output = prior(feature)
    hand = HandLayer(synthetic_mano(), pose_space="pca", num_components=30, flat_hand_mean=False, tips="freihand")
    mean, variance = prior.pose_head(feature).split(30, dim=1)
    rotation = torch.linalg.matrix_exp(_cross(prior.rotation_head(feature)))
    scale, translation = prior.scale_head(feature)[..., None], prior.translation_head(feature)[:, None]
    half_turn = torch.tensor([math.pi, 0, 0])
    vertices = hand(mean, global_orient=half_turn).vertices @ rotation.mT
    torch.testing.assert_close(output.points[:, 21:], scale.abs() * vertices + translation)
    second = hand(variance, global_orient=half_turn)
    torch.testing.assert_close(output.log_variance[:, 21:], scale.square().log() + second.vertices @ rotation.mT)
    # each tip after its finger, and a vertex itself
    for tip, vertex in zip(
        ("thumb_4", "index_4", "middle_4", "ring_4", "pinky_4"), TIP_VERTICES["freihand"], strict=True
    ):
        point = output.points[:, POINTS.index(tip)]
        torch.testing.assert_close(point, output.points[:, 21 + vertex])
    assert POINTS.index("pinky_1") == 9
    middle = output.log_variance[:, POINTS.index("middle_2")] - scale.square().log()[:, 0]
    torch.testing.assert_close(middle[..., None], rotation @ second.joints[:, JOINTS.index("middle_2"), :, None])
    # the answered pose moves the hand layer to the same mesh, up to a translation
    pose = HandLayer(synthetic_mano())(output.pose[:, 3:], None, output.pose[:, :3]).vertices
    shape = (output.points[:, 21:] - translation) / scale.abs()
    torch.testing.assert_close(pose - pose[:, :1], shape - shape[:, :1], atol=1e-5, rtol=1e-4)


def _cross(vectors: torch.Tensor) -> torch.Tensor:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
