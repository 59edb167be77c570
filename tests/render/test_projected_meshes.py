"""Meshes on the screen: drawing, hiding, and which pixels a loss over colours may use."""

import pytest
import torch

from handlit.geometry.cameras import project
from handlit.render import (
    TorchRasterizer,
    depth_test,
    faces_seen_whole,
    point_visibility,
    rasterize_screen,
    shown_at,
)
from tests.render import scenes

SIZE = (96, 112)
CAMERA = scenes.camera(150, SIZE)


def two_spheres() -> tuple[torch.Tensor, torch.Tensor]:
    vertices, faces = scenes.join(scenes.sphere(0.07, (0.0, 0.0, 0.5), 4), scenes.sphere(0.03, (0.04, 0.01, 0.38), 3))
    return vertices[None], faces


def test_projected_points_are_drawn_as_the_pinhole_camera_draws_them() -> None:
    vertices, faces = two_spheres()
    expected = TorchRasterizer()(vertices, faces, CAMERA, SIZE)
    points = project(vertices, CAMERA)
    result = rasterize_screen(TorchRasterizer(), points, vertices[..., 2], faces, SIZE)
    assert (result.pix_to_face == expected.pix_to_face).float().mean() > 0.999
    same = result.pix_to_face == expected.pix_to_face
    torch.testing.assert_close(result.depth[same], expected.depth[same], rtol=0, atol=1e-5)
    torch.testing.assert_close(result.barycentric[same], expected.barycentric[same], rtol=0, atol=2e-3)


def test_parallel_projection_is_exact_in_the_image_and_nearly_linear_in_a_face() -> None:
    # one triangle, corners at whole pixels, far apart in depth
    points = torch.tensor([[[10.0, 10.0], [70.0, 12.0], [30.0, 80.0]]])
    depths = torch.tensor([[10.0, 10.1, 9.9]])
    result = rasterize_screen(TorchRasterizer(), points, depths, torch.tensor([[0, 1, 2]]), SIZE)
    v, u = result.mask[0].nonzero().double().unbind(1)
    matrix = torch.cat([points[0].double(), torch.ones(3, 1, dtype=torch.float64)], dim=1)
    weights = torch.stack([u, v, torch.ones_like(u)], dim=1) @ torch.linalg.inv(matrix)
    assert len(u) > 1500
    torch.testing.assert_close(result.weights.double(), weights, rtol=0, atol=0.01)


def test_depth_test_against_exact_visibility() -> None:
    vertices, faces = two_spheres()
    size = (480, 560)
    camera = scenes.camera(750, size)
    points = project(vertices, camera)
    fragments = TorchRasterizer()(vertices, faces, camera, size)
    seen = depth_test(fragments, points, vertices[..., 2])
    exact = point_visibility(vertices, vertices, faces, camera, size)
    assert 0.2 < exact.float().mean() < 0.6
    assert (seen == exact).float().mean() > 0.97
    # the big sphere's vertices behind the small one, of which the image shows no face
    behind = (vertices[..., 2] < 0.5) & (points - project(torch.tensor([[[0.04, 0.01, 0.38]]]), camera)).norm(
        dim=-1
    ).lt(45)
    behind[:, 2562:] = False
    assert behind.sum() > 30
    assert not seen[behind].any()


def test_points_outside_or_not_finite_are_not_seen() -> None:
    vertices, faces = two_spheres()
    fragments = TorchRasterizer()(vertices, faces, CAMERA, SIZE)
    nan, inf = float("nan"), float("inf")
    points = torch.tensor(
        [[[-0.6, 5.0], [-0.4, 5.0], [111.4, 95.4], [111.6, 5.0], [nan, 5.0], [5.0, inf], [5.0, 5.0], [6.0, 5.0]]]
    )
    depths = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, nan, -0.5]])
    expected = [False, True, True, False, False, False, False, False]
    assert depth_test(fragments, points, depths)[0].tolist() == expected
    everything = torch.ones(1, *SIZE, dtype=torch.bool)
    assert shown_at(everything, points)[0].tolist() == [False, True, True, False, False, False, True, True]


def test_mask_is_read_at_the_nearest_pixel() -> None:
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[0, 20, 30] = True
    points = torch.tensor([[[30.4, 19.6], [30.6, 20.0], [29.6, 20.4], [30.0, 21.0], [20.0, 30.0]]])
    assert shown_at(mask, points)[0].tolist() == [True, False, True, False, False]


@pytest.mark.parametrize("hidden", [0, 1, 2, 3])
def test_pixels_of_faces_without_a_hidden_corner(hidden: int) -> None:
    vertices, faces = scenes.square(0.1, 0.5)
    vertices, faces = torch.stack([vertices, vertices]), torch.stack([faces, faces.flip(0)])
    fragments = TorchRasterizer()(vertices, faces, CAMERA.expand(2, 3, 3), SIZE)
    visible = torch.ones(2, 4, dtype=torch.bool)
    visible[1, hidden] = False
    whole = faces_seen_whole(fragments, faces, visible)
    assert torch.equal(whole[0], fragments.mask[0])
    for pixel in fragments.mask[1].nonzero().tolist():
        corners = faces[1, fragments.pix_to_face[1][tuple(pixel)]].tolist()
        assert whole[1][tuple(pixel)].item() == (hidden not in corners)
    assert not (whole & ~fragments.mask).any()
