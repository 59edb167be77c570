import pytest
import torch

from handlit.render import TorchRasterizer, point_visibility, visibility
from tests.render import reference, scenes

SIZE = (96, 112)
CAMERA = scenes.camera(150, SIZE)


def test_sphere_shows_exactly_its_front() -> None:
    vertices, faces = scenes.sphere(0.1, (0.03, -0.02, 0.5), subdivisions=3)
    # a vertex of a convex body is seen where one of its faces is turned to the camera
    a, b, c = vertices.double()[faces].unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    facing = (normals * torch.nn.functional.normalize(a, dim=1)).sum(dim=1)
    assert facing.abs().min() > 1e-4
    expected = torch.zeros(len(vertices), dtype=torch.bool)
    expected[faces[facing < 0].unique()] = True
    assert 0.3 < expected.float().mean() < 0.5
    seen = point_visibility(vertices[None], vertices[None], faces, CAMERA, SIZE, tolerance_m=1e-6)
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 7.0])
def test_resolution_does_not_matter(scale: float) -> None:
    vertices, faces = scenes.join(scenes.sphere(0.07, (0.0, 0.0, 0.5), 3), scenes.sphere(0.03, (0.04, 0.01, 0.38), 2))
    vertices = vertices[None]
    intrinsics = CAMERA.clone()
    # pixel centres are whole numbers: the image's corner lies at -0.5
    intrinsics[:, :2, 2] += 0.5
    intrinsics[:, :2] *= scale
    intrinsics[:, :2, 2] -= 0.5
    size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    expected = point_visibility(vertices, vertices, faces, CAMERA, SIZE)
    assert torch.equal(point_visibility(vertices, vertices, faces, intrinsics, size), expected)


def test_points_against_exhaustive_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "PAIRS_AT_ONCE", 1000)
    batch, tolerance = 3, 0.004
    vertices, faces = scenes.triangle_soup(4, batch, 60, reach=0.25)
    faces = torch.stack([torch.roll(faces, i, dims=0) for i in range(batch)])
    faces[1, 30:, 0] = -1
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(batch, 400, 3, generator=generator) * torch.tensor([0.6, 0.5, 0.8]) - torch.tensor(
        [0.3, 0.25, -0.25]
    )
    intrinsics = CAMERA.expand(batch, 3, 3)
    seen = point_visibility(points, vertices, faces, intrinsics, SIZE, tolerance)
    for i in range(batch):
        drawn = faces[i][(faces[i] >= 0).all(dim=1)]
        behind = reference.hidden_by(points[i].numpy(), vertices[i].numpy(), drawn.numpy())
        projected = points[i] @ intrinsics[i].T
        u, v = (projected[:, :2] / projected[:, 2:]).unbind(1)
        inside = (u >= -0.5) & (u <= SIZE[1] - 0.5) & (v >= -0.5) & (v <= SIZE[0] - 0.5)
        expected = inside & torch.from_numpy(behind <= tolerance)
        assert 0.1 < expected.float().mean() < 0.7
        assert torch.equal(seen[i], expected)


def test_occluder_hides_what_lies_behind_it() -> None:
    vertices, faces = scenes.sphere(0.05, (0.0, 0.0, 0.5))
    alone = point_visibility(vertices[None], vertices[None], faces, CAMERA, SIZE)
    for depth, half, expected in ((0.4, 0.1, 0), (0.4, 0.001, None), (0.6, 0.1, "same")):
        scene, scene_faces = scenes.join((vertices, faces), scenes.square(half, depth))
        seen = point_visibility(vertices[None], scene[None], scene_faces, CAMERA, SIZE)
        if expected == 0:
            assert not seen.any()
        elif expected == "same":
            assert torch.equal(seen, alone)
        else:
            assert alone.sum() > seen.sum() > 0


def test_outline_hides_too() -> None:
    # the corners and sides of one square exactly in front of another's: all numbers exact in float32
    near, faces = scenes.square(0.125, 0.5)
    intrinsics = torch.tensor([[[64.0, 0, 48], [0, 64, 48], [0, 0, 1]]])
    x, y = torch.meshgrid(*2 * [torch.tensor([-0.25, 0, 0.25])], indexing="ij")
    far = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, 9, 3)
    assert not point_visibility(far, near[None], faces, intrinsics, SIZE).any()
    assert point_visibility(far * torch.tensor([1.01, 1.01, 1]), near[None], faces, intrinsics, SIZE).sum() == 8


def test_joint_inside_the_flesh_needs_a_tolerance() -> None:
    vertices, faces = scenes.sphere(0.01, (0.01, 0.02, 0.5), subdivisions=3)
    joint = torch.tensor([[[0.01, 0.02, 0.5]]])
    for tolerance, expected in ((0.001, False), (0.009, False), (0.0105, True)):
        seen = point_visibility(joint, vertices[None], faces, CAMERA, SIZE, tolerance)
        assert seen.item() is expected


def test_points_outside_the_view_are_not_seen() -> None:
    vertices, faces = scenes.square(0.1, 0.9)
    half_width, half_height = 0.5 * SIZE[1] / 150 * 0.5, 0.5 * SIZE[0] / 150 * 0.5
    points = torch.tensor(
        [
            [0.999 * half_width, 0.0, 0.5],
            [1.001 * half_width, 0.0, 0.5],
            [-1.001 * half_width, 0.0, 0.5],
            [0.0, 0.999 * half_height, 0.5],
            [0.0, -1.001 * half_height, 0.5],
            [0.0, 0.0, -0.5],
            [0.0, 0.0, 0.0],
            [float("nan"), 0.0, 0.5],
            [0.0, float("inf"), 0.5],
        ]
    )
    seen = point_visibility(points[None], vertices[None], faces, CAMERA, SIZE)
    assert seen[0].tolist() == [True, False, False, True, False, False, False, False, False]


@pytest.mark.parametrize("broken", [(0.0, 0.0, float("nan")), (0.0, 0.0, -0.1), (0.1, 0.1, 0.001)])
def test_faces_that_cannot_be_drawn_hide_nothing(broken: tuple[float, float, float]) -> None:
    vertices, faces = scenes.square(0.1, 0.3)
    points = torch.tensor([[[0.03, -0.01, 0.5], [-0.03, 0.01, 0.5]]])
    assert not point_visibility(points, vertices[None], faces, CAMERA, SIZE).any()
    vertices[1] = torch.tensor(broken)  # a corner of the first face, in front of the first point
    assert point_visibility(points, vertices[None], faces, CAMERA, SIZE).tolist() == [[True, False]]


def test_seen_vertices_agree_with_the_drawn_faces() -> None:
    vertices, faces = scenes.sphere(0.1, (0.0, 0.0, 0.5), subdivisions=3)
    size = (480, 480)
    intrinsics = scenes.camera(900, size)
    fragments = TorchRasterizer()(vertices[None], faces, intrinsics, size)
    seen = point_visibility(vertices[None], vertices[None], faces, intrinsics, size)[0]
    drawn = torch.zeros(len(vertices), dtype=torch.bool)
    drawn[faces[fragments.faces].unique()] = True
    assert (seen == drawn).float().mean() > 0.99


def test_tolerance_must_be_positive() -> None:
    vertices, faces = scenes.square(0.1, 0.5)
    with pytest.raises(ValueError, match="tolerance_m is 0"):
        point_visibility(vertices[None], vertices[None], faces, CAMERA, SIZE, tolerance_m=0)
