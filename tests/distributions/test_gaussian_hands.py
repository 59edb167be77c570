import math

import pytest
import torch

from handlit.distributions.cameras import WeakPerspectiveCamera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.geometry.cameras import project_weak, view_to_crop
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.types import KnownJointDensity

SIZE = 96


@pytest.fixture(scope="module")
def matrix() -> torch.Tensor:
    return HandLayer(load_hand(None)).joint_matrix


def hands(matrix: torch.Tensor) -> GaussianHands:
    generator = torch.Generator().manual_seed(0)
    mesh = MeshGaussian(0.05 * torch.randn(3, 778, 3, generator=generator), torch.full((3, 778, 3), 0.01))
    view = torch.tensor([[8.0, 0.1, -0.2], [6.0, 0.0, 0.5], [9.0, -0.6, 0.0]])
    return GaussianHands(mesh, matrix, WeakPerspectiveCamera(view), SIZE)


def test_joints_projections_and_density_are_the_drawn_meshs(matrix: torch.Tensor) -> None:
    torch.manual_seed(0)
    distribution = hands(matrix)
    drawn = distribution.hypotheses(5, vertices=True, density=True)
    assert drawn.vertices_root is not None
    assert drawn.log_prob is not None
    assert drawn.vertices_root.shape == (3, 5, 778, 3)
    joints = torch.einsum("jv,bsvc->bsjc", matrix, drawn.vertices_root)
    torch.testing.assert_close(drawn.joints_root, joints - joints[:, :, :1], rtol=0, atol=1e-6)
    camera = view_to_crop(distribution.camera.view, SIZE)
    for s in range(5):
        torch.testing.assert_close(drawn.joints_2d[:, s], project_weak(drawn.joints_root[:, s], camera))
        torch.testing.assert_close(drawn.log_prob[:, s], distribution.log_prob(drawn.vertices_root[:, s]))


def test_no_temperature_is_the_mean_and_the_spread_is_the_stated_one(matrix: torch.Tensor) -> None:
    torch.manual_seed(0)
    distribution = hands(matrix)
    frozen = distribution.hypotheses(2, temperature=0.0, vertices=True)
    torch.testing.assert_close(frozen.vertices_root, distribution.mean[:, None].expand(-1, 2, -1, -1))
    assert distribution.hypotheses(2).vertices_root is None
    assert distribution.hypotheses(2).log_prob is None
    spread = distribution.hypotheses(400, temperature=0.5, vertices=True).vertices_root
    assert spread is not None
    assert (spread.std(1) - 0.005).abs().max() < 6 * 0.005 / math.sqrt(800)


@pytest.mark.parametrize("share", [False, True])
def test_the_density_of_joints_is_that_of_the_drawn_ones(share: bool, matrix: torch.Tensor) -> None:
    torch.manual_seed(0)
    distribution = hands(matrix)
    if share:
        mesh = MeshGaussian(distribution.mean, distribution.stddev, 0.005 * torch.randn(3, 778, 3, 4))
        distribution = GaussianHands(mesh, matrix, distribution.camera, SIZE)
    assert isinstance(distribution, KnownJointDensity)
    for temperature in (1.0, 0.5):
        drawn = distribution.hypotheses(2000, temperature).joints_root[:, :, 1:]
        known = distribution.joint_density(temperature)
        torch.testing.assert_close(drawn.std(1), known.stddev[:, 1:], rtol=0.08, atol=0)
        torch.testing.assert_close(drawn.mean(1), known.mean[:, 1:], rtol=0, atol=5 * 0.01 / math.sqrt(2000))
