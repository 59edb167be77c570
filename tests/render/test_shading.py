import math

import torch

from handlit.render import TorchRasterizer, interpolate, lambert, render_lambert, vertex_normals
from handlit.render.rasterizer import Fragments
from handlit.render.shading import interpolate_covered
from tests.render import scenes


def drawn(batch: int = 2, size: tuple[int, int] = (14, 18)) -> tuple[torch.Tensor, torch.Tensor, Fragments]:
    vertices, faces = scenes.triangle_soup(1, batch, 12, reach=0.3)
    vertices = vertices.double()
    intrinsics = scenes.camera(15, size, batch).double()
    return vertices, faces, TorchRasterizer()(vertices, faces, intrinsics, size)


def test_interpolate_mixes_the_corners_of_the_seen_face() -> None:
    vertices, faces, fragments = drawn()
    attributes = torch.randn(2, vertices.shape[1], 5, dtype=torch.float64)
    image = interpolate(fragments, faces, attributes)
    assert image.shape == (2, 14, 18, 5)
    assert fragments.mask.sum() > 50
    assert (image[~fragments.mask] == 0).all()
    for b, row, column in fragments.mask.nonzero()[::7].tolist():
        corners = faces[fragments.pix_to_face[b, row, column]]
        expected = fragments.barycentric[b, row, column] @ attributes[b, corners]
        torch.testing.assert_close(image[b, row, column], expected)
    per_image = faces.expand(2, -1, -1)
    assert torch.equal(interpolate(fragments, per_image, attributes), image)
    assert torch.equal(interpolate_covered(fragments, faces, attributes), image[fragments.mask])


def test_interpolate_gradients_against_finite_differences() -> None:
    vertices, faces, _ = drawn(1, (6, 8))
    intrinsics = scenes.camera(6, (6, 8)).double()
    attributes = torch.randn(1, vertices.shape[1], 2, dtype=torch.float64, requires_grad=True)

    def image(vertices: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        fragments = TorchRasterizer()(vertices, faces, intrinsics, (6, 8))
        return interpolate(fragments, faces, attributes)

    assert torch.autograd.gradcheck(image, (vertices.requires_grad_(), attributes), eps=1e-7)


def test_normals_of_a_sphere_point_outwards() -> None:
    vertices, faces = scenes.sphere(0.05, (0.0, 0.0, 0.5), subdivisions=3)
    normals = vertex_normals(vertices[None], faces)[0]
    outwards = torch.nn.functional.normalize(vertices - torch.tensor([0, 0, 0.5]), dim=1)
    assert (normals * outwards).sum(dim=1).min() > 0.999
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(vertices)))


def test_normals_are_weighted_by_area() -> None:
    # faces of area 1/2 in the plane z = 0 and of area 1 in the plane y = 0 meet at the origin; padding adds nothing
    vertices = torch.tensor([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2.0], [5, 5, 5]]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [-1, -1, -1], [-1, 1, 3], [4, 4, 4]])
    normals = vertex_normals(vertices, faces)[0]
    torch.testing.assert_close(normals[0], torch.tensor([0, 2, 1]) / math.sqrt(5))
    torch.testing.assert_close(normals[2], torch.tensor([0, 0, 1.0]))
    torch.testing.assert_close(normals[3], torch.tensor([0, 1.0, 0]))
    assert (normals[4] == 0).all()
    # the size of the mesh does not matter, not even where areas are tiny
    torch.testing.assert_close(vertex_normals(vertices * 1e-5, faces)[0], normals)


def test_normals_gradients_against_finite_differences() -> None:
    vertices, faces = scenes.sphere(1.0, (0.0, 0.0, 0.0), subdivisions=0)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2, *vertices.shape, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces), ((vertices + noise).requires_grad_(),))


def test_lambert_follows_its_formula() -> None:
    colours = torch.tensor([[0.2, 0.4, 1.0]])
    normal = torch.tensor([[0.0, 0.0, -3.0]])
    for degrees in (0, 30, 60, 89, 120, 180):
        angle = math.radians(degrees)
        to_light = 0.7 * torch.tensor([math.sin(angle), 0.0, -math.cos(angle)])
        expected = colours * (0.4 + 0.5 * max(0.0, math.cos(angle)))
        torch.testing.assert_close(lambert(colours, normal, to_light, ambient=0.4, diffuse=0.5), expected)
    no_normal = torch.zeros(1, 3, requires_grad=True)
    dark = lambert(colours, no_normal, to_light)
    torch.testing.assert_close(dark, colours * 0.5)
    dark.sum().backward()
    assert no_normal.grad.isfinite().all()


def test_rendered_square_under_the_point_light() -> None:
    # facing the camera at 0.5 m with the light 2 m behind it: the cosine follows from the pixel's ray alone
    (vertices, faces), size = scenes.square(0.2, 0.5), (30, 40)
    intrinsics = scenes.camera(60, size)
    fragments = TorchRasterizer()(vertices[None], faces, intrinsics, size)
    colours = torch.tensor([0.3, 0.6, 0.9]).expand(1, 4, 3)
    image = render_lambert(fragments, faces, vertices[None], colours)
    assert fragments.mask.sum() > 500
    assert (image[~fragments.mask] == 0).all()
    for _, row, column in fragments.mask.nonzero()[::29].tolist():
        x, y = 0.5 * (column - 19.5) / 60, 0.5 * (row - 14.5) / 60
        cosine = 2.5 / math.sqrt(x * x + y * y + 2.5 * 2.5)
        torch.testing.assert_close(image[0, row, column], colours[0, 0] * (0.5 + 0.3 * cosine))


def test_rendered_picture_gives_gradients_to_colours_and_vertices() -> None:
    (vertices, faces), size = scenes.sphere(0.1, (0.02, 0.0, 0.5)), (40, 40)
    vertices = vertices[None].requires_grad_()
    colours = torch.rand(vertices.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    fragments = TorchRasterizer()(vertices, faces, scenes.camera(90, size), size)
    picture = render_lambert(fragments, faces, vertices, colours)
    to_vertices, to_colours = torch.autograd.grad(picture.square().sum(), (vertices, colours))
    seen = torch.zeros(vertices.shape[1], dtype=torch.bool)
    seen[faces[fragments.faces].unique()] = True
    assert to_vertices.isfinite().all()
    assert (to_colours[0, seen] > 0).all()
    assert (to_colours[0, ~seen] == 0).all()
    assert (to_vertices[0, seen] != 0).any(dim=1).all()
