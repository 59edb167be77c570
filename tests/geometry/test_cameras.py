"""Cameras against hand-computed numbers and round trips."""

import torch

from handlit.geometry.cameras import (
    crop_to_normalised,
    crop_to_view,
    fit_root,
    flip_opengl,
    normalised_to_crop,
    project,
    project_weak,
    view_to_crop,
)

INTRINSICS = torch.tensor([[600.0, 0.0, 320.0], [0.0, 610.0, 240.0], [0.0, 0.0, 1.0]])


def test_project_by_hand() -> None:
    points = torch.tensor([[0.1, -0.2, 0.5], [0.0, 0.0, 1.0]])
    expected = torch.tensor([[600 * 0.2 + 320, 610 * -0.4 + 240], [320.0, 240.0]])
    torch.testing.assert_close(project(points, INTRINSICS), expected)


def test_project_takes_a_batch_of_cameras() -> None:
    points = torch.rand(4, 7, 3) + torch.tensor([0.0, 0.0, 1.0])
    cameras = INTRINSICS * torch.rand(4, 1, 1)
    cameras[:, 2, 2] = 1
    each = torch.stack([project(point, camera) for point, camera in zip(points, cameras, strict=True)])
    torch.testing.assert_close(project(points, cameras), each)


def test_opengl_flip_is_its_own_inverse_and_a_rotation() -> None:
    points = torch.rand(5, 3)
    torch.testing.assert_close(flip_opengl(flip_opengl(points)), points)
    assert torch.linalg.det(flip_opengl(torch.eye(3))) == 1


def test_root_is_found_exactly_where_there_is_one() -> None:
    torch.manual_seed(0)
    points = 0.08 * torch.randn(4, 21, 3, dtype=torch.float64)
    root = torch.tensor([[0.1, -0.05, 0.5], [0, 0, 0.3], [-0.2, 0.1, 1.5], [0.05, 0.0, 0.8]], dtype=torch.float64)
    cameras = INTRINSICS.double().expand(4, 3, 3)
    pixels = project(points + root[:, None], cameras)
    torch.testing.assert_close(fit_root(points, pixels, cameras), root)


def test_root_for_a_weak_projection_shows_the_hand_where_it_was() -> None:
    """A pinhole camera cannot show exactly what a weak-perspective one does, but nearly, and at a sensible depth."""
    torch.manual_seed(1)
    points = 0.05 * torch.randn(1, 21, 3)
    square = torch.tensor([[[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]])
    camera = torch.tensor([[800.0, 350.0, 200.0]])
    pixels = project_weak(points, camera)
    root = fit_root(points, pixels, square)
    assert (project(points + root[:, None], square) - pixels).norm(dim=-1).mean() < 5
    torch.testing.assert_close(root[0, 2], torch.tensor(600 / 800), atol=0.05, rtol=0)


def test_normalised_coordinates_span_the_crop_edge_to_edge() -> None:
    edges = torch.tensor([[-0.5, 127.5], [63.5, 63.5]])
    torch.testing.assert_close(crop_to_normalised(edges, 128), torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))
    points = torch.rand(6, 2) * 128
    torch.testing.assert_close(normalised_to_crop(crop_to_normalised(points, 128), 128), points)


def test_views_of_crops_and_pixels_are_inverse() -> None:
    view, points = torch.tensor([[8.0, 0.2, -0.1]]), torch.randn(1, 5, 3)
    camera = view_to_crop(view, 224)
    expected = normalised_to_crop(project_weak(points, view), 224)
    torch.testing.assert_close(project_weak(points, camera), expected)
    torch.testing.assert_close(crop_to_view(camera, 224), view)
