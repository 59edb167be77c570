"""Cameras against hand-computed numbers and round trips."""

import torch

from handlit.geometry.cameras import (
    crop_to_normalised,
    flip_opengl,
    normalised_to_crop,
    project,
    project_weak,
    root_from_weak,
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


def test_weak_camera_places_the_root_where_the_pinhole_shows_it() -> None:
    camera = torch.tensor([[900.0, 100.0, 80.0], [500.0, 30.0, 60.0]])
    root = root_from_weak(camera, INTRINSICS.expand(2, 3, 3))
    torch.testing.assert_close(project(root[:, None], INTRINSICS.expand(2, 3, 3))[:, 0], camera[:, 1:])
    torch.testing.assert_close(root[:, 2], torch.tensor([605 / 900, 605 / 500]))


def test_weak_projection_approaches_the_pinhole_for_a_flat_far_hand() -> None:
    points = torch.cat([0.1 * torch.randn(1, 9, 2), torch.zeros(1, 9, 1)], dim=-1)
    square = torch.tensor([[[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]])
    camera = torch.tensor([[400.0, 350.0, 200.0]])
    placed = points + root_from_weak(camera, square)[:, None]
    torch.testing.assert_close(project(placed, square), project_weak(points, camera), rtol=1e-4, atol=1e-2)


def test_normalised_coordinates_span_the_crop_edge_to_edge() -> None:
    edges = torch.tensor([[-0.5, 127.5], [63.5, 63.5]])
    torch.testing.assert_close(crop_to_normalised(edges, 128), torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))
    points = torch.rand(6, 2) * 128
    torch.testing.assert_close(normalised_to_crop(crop_to_normalised(points, 128), 128), points)
