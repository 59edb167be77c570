"""The PyTorch3D backend draws what handlit's own rasteriser draws.

Without PyTorch3D the comparison is made with a stand-in that follows its documented conventions (+X left, +Y up, the
shorter side from -1 to 1, faces of all meshes counted through), which checks the way there and back.
"""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from handlit.errors import InputError
from handlit.render import TorchRasterizer, interpolate
from handlit.render.pytorch3d import PyTorch3DRasterizer
from tests.render import scenes


class Meshes:
    def __init__(self, verts: list[Tensor], faces: list[Tensor]) -> None:
        self.verts, self.faces = verts, faces


def rasterize_meshes(
    meshes: Meshes, image_size: tuple[int, int], blur_radius: float, faces_per_pixel: int, perspective_correct: bool
) -> tuple[Tensor, Tensor, Tensor, None]:
    """Every face against every pixel, on PyTorch3D's screen."""
    assert (blur_radius, faces_per_pixel, perspective_correct) == (0.0, 1, True)
    (height, width), shorter = image_size, min(image_size)
    x = (torch.arange(width - 1, -1, -1) * 2 + 1 - width) / shorter
    y = (torch.arange(height - 1, -1, -1) * 2 + 1 - height) / shorter
    y, x = torch.meshgrid(y, x, indexing="ij")
    faces, depths, weights = [], [], []
    for number, (verts, own) in enumerate(zip(meshes.verts, meshes.faces, strict=True)):
        face, depth = torch.full(image_size, -1), torch.full(image_size, torch.inf)
        weight = torch.full((*image_size, 3), -1.0)
        for row, corners in enumerate(own.tolist()):
            a, b, c = verts[corners]
            area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            if area == 0:
                continue
            w_b = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
            w_c = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
            flat = torch.stack([1 - w_b - w_c, w_b, w_c], dim=-1)
            w = flat / verts[corners, 2]
            w = w / w.sum(-1, keepdim=True)
            z = w @ verts[corners, 2]
            nearer = (flat > 0).all(-1) & (z < depth)
            face = torch.where(nearer, row + number * len(own), face)
            depth, weight = torch.where(nearer, z, depth), torch.where(nearer[..., None], w, weight)
        faces.append(face)
        depths.append(torch.where(face < 0, -1, depth))
        weights.append(weight)
    return torch.stack(faces)[..., None], torch.stack(depths)[..., None], torch.stack(weights)[..., None, :], None


@pytest.fixture(params=["stand-in", "installed"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PyTorch3DRasterizer:
    if request.param == "installed":
        pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed")
        return PyTorch3DRasterizer()
    members: dict[str, dict[str, Any]] = {
        "pytorch3d": {},
        "pytorch3d.renderer": {},
        "pytorch3d.renderer.mesh": {},
        "pytorch3d.renderer.mesh.rasterize_meshes": {"rasterize_meshes": rasterize_meshes},
        "pytorch3d.structures": {"Meshes": Meshes},
    }
    for name, contents in members.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    return PyTorch3DRasterizer()


@pytest.mark.parametrize("size", [(40, 40), (36, 52), (52, 36)])
def test_same_pixels_depths_and_weights(backend: PyTorch3DRasterizer, size: tuple[int, int]) -> None:
    vertices, faces = scenes.triangle_soup(3, 2, 25, reach=0.4)
    faces = torch.stack([faces, torch.roll(faces, 1, dims=0)])
    faces[1, 4:8, 2] = -1  # padding in the middle of the list
    vertices[0, 0, 2] = -0.1  # behind the camera
    vertices[0, 4, 0] = float("nan")
    intrinsics = scenes.camera(60, size, 2).clone()
    intrinsics[:, 0, 1] = 2.0  # skew
    intrinsics[:, 0, 2] += 3.3
    ours, theirs = (draw(vertices, faces, intrinsics, size) for draw in (TorchRasterizer(), backend))
    same = ours.pix_to_face == theirs.pix_to_face
    assert ours.mask.float().mean() > 0.3
    assert same.float().mean() > 0.998
    torch.testing.assert_close(theirs.depth[same], ours.depth[same], rtol=0, atol=1e-5)
    torch.testing.assert_close(theirs.barycentric[same], ours.barycentric[same], rtol=0, atol=1e-3)
    assert theirs.size == ours.size
    assert theirs.num_faces == ours.num_faces


def test_same_gradients(backend: PyTorch3DRasterizer) -> None:
    size = (40, 48)
    vertices, faces = scenes.sphere(0.1, (0.01, -0.02, 0.5), 1)
    generator = torch.Generator().manual_seed(0)
    attributes = torch.rand(1, len(vertices), 3, generator=generator)
    gradients = []
    for draw in (TorchRasterizer(), backend):
        moving = vertices[None].clone().requires_grad_()
        fragments = draw(moving, faces, scenes.camera(90, size), size)
        (interpolate(fragments, faces, attributes).sum() + fragments.depth.sum()).backward()
        gradients.append(moving.grad)
    assert gradients[0].abs().max() > 1
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=0.01 * gradients[0].abs().max().item())


def test_absent_package_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # the very module that is imported: where PyTorch3D is installed, it may have been imported before
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", None)
    with pytest.raises(InputError, match=r"docs/how_to/pytorch3d.md.*TorchRasterizer"):
        PyTorch3DRasterizer()


def test_near_plane_must_be_in_front(backend: PyTorch3DRasterizer) -> None:
    with pytest.raises(ValueError, match="near"):
        PyTorch3DRasterizer(near=0.0)
