import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from handlit.render import Fragments, TorchRasterizer, interpolate, point_visibility, scanline
from tests.render import reference, scenes

RASTERISE = TorchRasterizer()
#: Camera with which x and y at z = 1 are pixel coordinates, exactly.
PIXELS = torch.eye(3)[None]


def flat(points: list[list[float]]) -> torch.Tensor:
    return torch.tensor([[*point, 1.0] for point in points])[None]


def test_triangle_covers_its_pixels_half_open() -> None:
    # right-angled, with legs through pixel centres: left and top edge belong to it, the slanted one does not
    fragments = RASTERISE(flat([[1, 2], [5, 2], [1, 6]]), torch.tensor([[0, 1, 2]]), PIXELS, (8, 7))
    expected = torch.zeros(8, 7, dtype=torch.bool)
    for row, columns in {2: 4, 3: 3, 4: 2, 5: 1}.items():
        expected[row, 1 : 1 + columns] = True
    assert torch.equal(fragments.mask[0], expected)
    assert torch.equal(fragments.pix_to_face[0], torch.where(expected, 0, -1))
    torch.testing.assert_close(fragments.barycentric[0, 3, 2], torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(fragments.depth[0], expected.float())


def test_pixel_zero_is_sampled_at_its_centre() -> None:
    small = flat([[-0.1, -0.1], [0.3, -0.1], [-0.1, 0.3]])
    mask = RASTERISE(small, torch.tensor([[0, 1, 2]]), PIXELS, (3, 3)).mask
    assert mask.nonzero().tolist() == [[0, 0, 0]]
    assert not RASTERISE(small + torch.tensor([0.5, 0, 0]), torch.tensor([[0, 1, 2]]), PIXELS, (3, 3)).mask.any()


def test_interpolation_is_perspective_correct() -> None:
    # a slanted triangle: an attribute that is linear in space must be met exactly where the pixel's ray meets it
    vertices = torch.tensor([[[-0.3, -0.2, 0.4], [0.4, -0.3, 1.5], [-0.1, 0.5, 0.8]]], dtype=torch.float64)
    faces, size = torch.tensor([[0, 1, 2]]), (48, 64)
    intrinsics = scenes.camera(50, size).double()
    fragments = RASTERISE(vertices, faces, intrinsics, size)
    points = interpolate(fragments, faces, vertices)[fragments.mask]
    _, row, column = fragments.mask.nonzero().unbind(1)
    pixels = torch.stack([column, row, torch.ones_like(row)], dim=1).double()
    normal = torch.linalg.cross(vertices[0, 1] - vertices[0, 0], vertices[0, 2] - vertices[0, 0])
    rays = pixels @ torch.linalg.inv(intrinsics[0]).T
    depth = (vertices[0, 0] @ normal) / (rays @ normal)
    assert len(points) > 300
    torch.testing.assert_close(fragments.depths, depth)
    torch.testing.assert_close(points, rays * depth[:, None])
    torch.testing.assert_close(fragments.weights.sum(dim=1), torch.ones_like(depth))


@pytest.mark.parametrize(("seed", "num_faces", "reach"), [(0, 40, 0.3), (1, 300, 0.06), (2, 25, 1.0)])
def test_every_pixel_against_exhaustive_search(seed: int, num_faces: int, reach: float) -> None:
    size, batch = (45, 61), 2
    vertices, faces = scenes.triangle_soup(seed, batch, num_faces, reach)
    # a face that reaches too near is left out of both
    near = vertices[:, faces, 2].amin(dim=2) < 0.05
    faces = torch.where(near[..., None], -1, faces)
    intrinsics = scenes.camera(55.3, size, batch).clone()
    intrinsics[:, 0, 1] = 2.5
    fragments = RASTERISE(vertices, faces, intrinsics, size)
    for image in range(batch):
        drawn = (~near[image]).nonzero().squeeze(1).numpy()
        expected = reference.draw(vertices[image].numpy(), faces[image].numpy()[drawn], intrinsics[image].numpy(), size)
        face = np.where(expected.face >= 0, drawn[expected.face], -1)
        certain = expected.certain
        assert certain.mean() > 0.9
        assert len(np.unique(face)) > 0.2 * num_faces
        np.testing.assert_array_equal(fragments.pix_to_face[image].numpy()[certain], face[certain])
        seen = certain & (face >= 0)
        np.testing.assert_allclose(fragments.depth[image].numpy()[seen], expected.depth[seen], rtol=2e-5)
        # weights of faces seen edge-on are not well determined in float32: compare the points they stand for
        corners = vertices[image].numpy()[faces[image].numpy()[face[seen]]]
        found = np.einsum("nk,nkd->nd", fragments.barycentric[image].numpy()[seen], corners)
        wanted = np.einsum("nk,nkd->nd", expected.weights[seen], corners)
        np.testing.assert_allclose(found, wanted, atol=3e-5)


def test_coverage_far_from_the_origin_against_whole_numbers() -> None:
    # corners on a grid of 1/64 pixel, where float32 holds them exactly but not what is computed from them carelessly
    generator = torch.Generator().manual_seed(2)
    count, cell, first, grid = 1000, 12, 20_000, 64
    corners = torch.randint(0, cell * grid, (count, 3, 2), generator=generator)
    place = torch.tensor([1, 0]) * (first + cell * torch.arange(count))[:, None, None]  # side by side
    vertices = torch.cat([corners / grid + place, torch.ones(count, 3, 1)], dim=2).view(1, -1, 3)
    size = (cell, first + cell * count)
    mask = RASTERISE(vertices, torch.arange(3 * count).view(-1, 3), PIXELS, size).mask[0, :, first:]
    mask = mask.view(cell, count, cell).transpose(0, 1)
    centre = torch.arange(cell) * grid
    areas = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        (u_1, v_1), (u_2, v_2) = (corners[:, k, :, None, None].unbind(1) for k in (i, j))
        areas.append((u_2 - u_1) * (centre[:, None] - v_1) - (v_2 - v_1) * (centre - u_1))
    low, high = torch.stack(areas).aminmax(dim=0)
    inside, outside = (low > 0) | (high < 0), (low < 0) & (high > 0)
    assert inside.sum() > 5000
    assert torch.equal(mask & (inside | outside), inside)


@pytest.mark.parametrize("snap", [1.0, 0.5, 1e-3, 0.0])
def test_neighbours_leave_no_hole_and_no_pixel_twice(snap: float) -> None:
    # a triangulated rectangle, each triangle in an image of its own; with corners on pixel centres ties are everywhere
    rng = np.random.default_rng(3)
    points = rng.uniform((2, 3), (30, 27), size=(150, 2))
    if snap:
        points = (points / snap).round() * snap
    outline = [(2, 3), (30, 3), (2, 27), (30, 27)]
    points = np.unique(np.concatenate([points, outline]).astype(np.float32), axis=0)
    faces = torch.from_numpy(Delaunay(points).simplices).long()
    swapped = torch.rand(len(faces), generator=torch.Generator().manual_seed(0)) < 0.5
    faces[swapped] = faces[swapped].flip(1)
    vertices = flat(points.tolist()).expand(len(faces), -1, -1)
    fragments = RASTERISE(vertices, faces[:, None], PIXELS.expand(len(faces), 3, 3), (32, 40))
    expected = torch.zeros(32, 40, dtype=torch.int64)
    expected[3:27, 2:30] = 1
    assert torch.equal(fragments.mask.sum(dim=0), expected)


def test_nearer_mesh_wins_whatever_the_order() -> None:
    size = (40, 40)
    far, near = scenes.square(0.2, 0.8), scenes.square(0.05, 0.5)
    for first, second, near_faces in ((far, near, (2, 3)), (near, far, (0, 1))):
        vertices, faces = scenes.join(first, second)
        fragments = RASTERISE(vertices[None], faces, scenes.camera(80, size), size)
        near_pixels = torch.isin(fragments.pix_to_face, torch.tensor(near_faces))
        assert torch.equal(near_pixels, RASTERISE(near[0][None], near[1], scenes.camera(80, size), size).mask)
        expected = torch.where(near_pixels, 0.5, 0.8) * fragments.mask
        torch.testing.assert_close(fragments.depth, expected)


def test_surfaces_that_cut_each_other_change_at_the_cut() -> None:
    # one plane rises to the right, the other to the left; they meet at x = 0
    left = torch.tensor([[-0.3, -0.3, 0.7], [0.3, -0.3, 1.3], [0.3, 0.3, 1.3], [-0.3, 0.3, 0.7]])
    quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
    vertices, faces = scenes.join((left, quad), (left * torch.tensor([-1, 1, 1]), quad))
    size = (20, 20)
    face = RASTERISE(vertices[None], faces, scenes.camera(40, size), size).pix_to_face[0]
    assert face[:, :10].unique().tolist() == [0, 1]
    assert face[:, 10:].unique().tolist() == [2, 3]


def test_first_of_two_equal_faces_is_seen() -> None:
    vertices, faces = scenes.square(0.1, 0.5)
    fragments = RASTERISE(vertices[None], faces.repeat(3, 1), scenes.camera(50, (30, 30)), (30, 30))
    assert fragments.pix_to_face.unique().tolist() == [-1, 0, 1]


def test_winding_does_not_matter() -> None:
    vertices, faces = scenes.triangle_soup(5, 1, 50)
    intrinsics = scenes.camera(60, (40, 50))
    one = RASTERISE(vertices, faces, intrinsics, (40, 50))
    other = RASTERISE(vertices, faces.flip(1), intrinsics, (40, 50))
    assert torch.equal(one.pix_to_face, other.pix_to_face)
    torch.testing.assert_close(one.barycentric, other.barycentric.flip(-1), atol=1e-4, rtol=1e-4)


def test_batch_equals_its_images_one_by_one() -> None:
    size, batch = (33, 47), 5
    vertices, faces = scenes.triangle_soup(7, batch, 80)
    faces = torch.stack([torch.roll(faces, i, dims=0) for i in range(batch)])
    faces[2, 10:] = -1
    intrinsics = scenes.camera(50, size, batch).clone()
    intrinsics[:, 0, 2] += torch.arange(batch)
    together = RASTERISE(vertices, faces, intrinsics, size)
    for i in range(batch):
        alone = RASTERISE(vertices[i : i + 1], faces[i], intrinsics[i : i + 1], size)
        assert torch.equal(together.pix_to_face[i], alone.pix_to_face[0])
        assert torch.equal(together.depth[i], alone.depth[0])
        assert torch.equal(together.barycentric[i], alone.barycentric[0])


def test_small_memory_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = scenes.triangle_soup(9, 3, 200)
    intrinsics = scenes.camera(60, (50, 60), 3)
    at_once = RASTERISE(vertices, faces, intrinsics, (50, 60))
    monkeypatch.setattr(scanline, "PIXELS_AT_ONCE_CPU", 300)
    in_parts = RASTERISE(vertices, faces, intrinsics, (50, 60))
    assert torch.equal(at_once.pix_to_face, in_parts.pix_to_face)
    assert torch.equal(at_once.depth, in_parts.depth)


def test_faces_that_cannot_be_drawn_change_nothing_and_get_no_gradient() -> None:
    good, _ = scenes.square(0.1, 0.5)
    nan, inf = float("nan"), float("inf")
    bad = torch.tensor(
        [
            [0.0, 0.0, -0.3],  # 4: behind the camera
            [0.0, 0.0, 0.0],  # 5: in it
            [0.02, 0.0, 0.005],  # 6: nearer than the near plane
            [nan, 0.0, 0.5],  # 7
            [0.0, inf, 0.5],  # 8
            [9e3, 1.0, 0.5],  # 9 to 11: far outside the image
            [9e3, 2.0, 0.5],
            [8e3, 1.0, 0.5],
            [1e30, -1e30, 0.02],  # 12: overflows in the image
        ]
    )
    faces = torch.tensor(
        [[0, 1, 4], [0, 2, 1], [1, 2, 5], [0, 3, 6], [7, 1, 2], [0, 8, 2], [9, 10, 11], [0, 0, 1], [3, 3, 3],
         [-1, -1, -1], [0, 3, 2], [0, 1, -1], [0, 12, 7]]
    )  # fmt: skip
    size = (30, 30)
    intrinsics = scenes.camera(60, size)
    vertices = torch.cat([good, bad])[None].requires_grad_()
    fragments = RASTERISE(vertices, faces, intrinsics, size)
    alone = RASTERISE(good[None], faces[[1, 10]], intrinsics, size)
    assert torch.equal(fragments.pix_to_face, torch.tensor([1, 10, -1])[alone.pix_to_face])
    assert torch.equal(fragments.depth, alone.depth)
    (gradient,) = torch.autograd.grad((fragments.weights**2).sum() + fragments.depths.sum(), vertices)
    assert gradient.isfinite().all()
    assert (gradient[0, :4] != 0).any()
    assert (gradient[0, 4:] == 0).all()


def test_broken_camera_spoils_its_own_image_only() -> None:
    vertices, faces = scenes.triangle_soup(19, 3, 30)
    size = (20, 24)
    intrinsics = scenes.camera(30, size, 3).clone()
    expected = RASTERISE(vertices, faces, intrinsics, size)
    intrinsics[1] = float("nan")
    fragments = RASTERISE(vertices, faces, intrinsics, size)
    assert not fragments.mask[1].any()
    assert torch.equal(fragments.depth[[0, 2]], expected.depth[[0, 2]])
    seen = point_visibility(vertices, vertices, faces, intrinsics, size)
    assert not seen[1].any()
    assert seen[[0, 2]].any(dim=1).all()


def test_face_far_larger_than_the_image() -> None:
    vertices = torch.tensor([[[-5e3, -4e3, 1.0], [6e3, -5e3, 1.0], [0.0, 7e3, 1.0]]])
    fragments = RASTERISE(vertices, torch.tensor([[0, 1, 2]]), scenes.camera(200, (31, 33)), (31, 33))
    assert fragments.mask.all()
    torch.testing.assert_close(fragments.depth, torch.ones(1, 31, 33))


def test_slivers_stay_within_their_corners() -> None:
    generator = torch.Generator().manual_seed(0)
    start, end = torch.rand(2, 9000, 3, generator=generator) - 0.5
    side = start.lerp(end, torch.rand(9000, 1, generator=generator)) + 1e-6 * torch.randn(9000, 3, generator=generator)
    vertices = (torch.stack([start, end, side], dim=1).reshape(1, -1, 3) + torch.tensor([0, 0, 1.0])).requires_grad_()
    faces = torch.arange(27000).view(-1, 3)
    fragments = RASTERISE(vertices, faces, scenes.camera(300, (300, 300)), (300, 300))
    assert len(fragments.pixels) > 50
    assert (fragments.weights >= 0).all()
    torch.testing.assert_close(fragments.weights.sum(dim=1), torch.ones(len(fragments.pixels)))
    corner_depths = vertices[0, faces[fragments.faces], 2]
    torch.testing.assert_close(fragments.depths, (fragments.weights * corner_depths).sum(dim=1))
    (gradient,) = torch.autograd.grad(fragments.depths.sum() + fragments.weights.square().sum(), vertices)
    assert gradient.isfinite().all()


def test_gradients_against_finite_differences() -> None:
    vertices, faces = scenes.triangle_soup(11, 2, 6, reach=0.5)
    vertices = vertices.double().requires_grad_()
    size = (9, 11)
    intrinsics = scenes.camera(9.7, size, 2).double()
    intrinsics[:, 0, 1] = 0.3
    intrinsics.requires_grad_()

    def depths_and_weights(vertices: torch.Tensor, intrinsics: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fragments = RASTERISE(vertices, faces, intrinsics, size)
        return fragments.depths, fragments.weights

    assert len(depths_and_weights(vertices, intrinsics)[0]) > 30
    assert torch.autograd.gradcheck(depths_and_weights, (vertices, intrinsics), eps=1e-7)


def test_images_of_covered_values() -> None:
    vertices, faces = scenes.triangle_soup(13, 2, 30)
    size = (20, 24)
    fragments = RASTERISE(vertices, faces, scenes.camera(30, size, 2), size)
    again = Fragments.from_images(fragments.pix_to_face, fragments.depth, fragments.barycentric, len(faces))
    for name in ("pixels", "faces", "depths", "weights"):
        assert torch.equal(getattr(again, name), getattr(fragments, name)), name
    assert fragments.barycentric.shape == (2, 20, 24, 3)
    assert fragments.depth.shape == (2, 20, 24)
    assert torch.equal(fragments.mask, fragments.pix_to_face >= 0)
    assert (fragments.depth[~fragments.mask] == 0).all()
    white = fragments.spread(fragments.weights, background=1.0)
    assert (white[~fragments.mask] == 1).all()
    assert torch.equal(white[fragments.mask], fragments.weights)


def test_nothing_to_see() -> None:
    vertices, faces = scenes.square(0.1, 0.5)
    intrinsics = scenes.camera(50, (6, 8), 2)
    behind = RASTERISE(-vertices.expand(2, -1, -1), faces, intrinsics, (6, 8))
    no_faces = RASTERISE(vertices.expand(2, -1, -1), faces[:0], intrinsics, (6, 8))
    for fragments in (behind, no_faces):
        assert not fragments.mask.any()
        assert interpolate(fragments, faces, vertices.expand(2, -1, -1)).shape == (2, 6, 8, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_to_float32(dtype: torch.dtype) -> None:
    vertices, faces = scenes.triangle_soup(15, 1, 30)
    vertices = vertices.to(dtype)
    size = (20, 24)
    intrinsics = scenes.camera(30, size)
    expected = RASTERISE(vertices.float(), faces, intrinsics, size)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fragments = RASTERISE(vertices, faces, intrinsics, size)
    assert fragments.weights.dtype == torch.float32
    assert torch.equal(fragments.pix_to_face, expected.pix_to_face)
    assert torch.equal(fragments.weights, expected.weights)


def test_camera_needs_a_near_plane() -> None:
    with pytest.raises(ValueError, match="near is 0"):
        TorchRasterizer(near=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_equals_cpu() -> None:
    size, batch = (120, 160), 4
    vertices, faces = scenes.triangle_soup(17, batch, 400)
    intrinsics = scenes.camera(150, size, batch)
    cpu = RASTERISE(vertices, faces, intrinsics, size)
    gpu = RASTERISE(vertices.cuda(), faces.cuda(), intrinsics.cuda(), size)
    same = cpu.pix_to_face == gpu.pix_to_face.cpu()
    assert same.float().mean() > 0.999
    torch.testing.assert_close(cpu.depth[same], gpu.depth.cpu()[same], atol=1e-5, rtol=1e-5)
