import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.distributions import Normal

from handlit.distributions.cameras import PerspectiveCamera, WeakPerspectiveCamera
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import InputError
from handlit.geometry.cameras import normalised_to_crop
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.photometric import photometric_distance
from handlit.models.texture import HandView, TextureDecoder, sample_maps, view_hands
from handlit.render import point_visibility

ASSET = load_hand()
LAYER = HandLayer(ASSET)
SIZE = 96
CHANNELS = (5, 7, 9)
CAMERAS = ["weak_perspective", "perspective"]


def hands(batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    pose, betas, orient = (torch.randn(batch, n, generator=generator) for n in (45, 10, 3))
    with torch.no_grad():
        mesh = LAYER(0.3 * pose, betas, orient)
    return mesh.vertices - mesh.joints[:, :1]


def camera(kind: str, vertices: torch.Tensor) -> WeakPerspectiveCamera | PerspectiveCamera:
    """Puts hands into the middle of a crop of 24 cm."""
    middle = vertices.detach()[..., :2].mean(1)
    view = torch.cat([torch.full((len(vertices), 1), 1 / 0.12), -middle / 0.12], dim=1)
    if kind == "weak_perspective":
        return WeakPerspectiveCamera(view)
    intrinsics = torch.tensor([math.log(4.0), math.log(4.2), 0.1, -0.2]).expand(len(vertices), 4)
    return PerspectiveCamera(view, Normal(intrinsics, torch.ones_like(intrinsics)))


def view(kind: str, vertices: torch.Tensor, **settings: Any) -> HandView:
    mesh = MeshGaussian(vertices, torch.full_like(vertices, 0.01))
    return view_hands(mesh, camera(kind, vertices), LAYER.faces, SIZE, **settings)


def maps(batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, c, SIZE // s, SIZE // s, generator=generator)
        for c, s in zip(CHANNELS, (4, 8, 16), strict=True)
    ]


def decoder(**settings: Any) -> TextureDecoder:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden": 24, "feedforward": 24, "heads": 2, "layers": 2, **settings}
    return TextureDecoder(CHANNELS, ASSET, **sizes)


def test_default_sizes_are_the_papers() -> None:
    texture: Any = TextureDecoder((64, 128, 256), ASSET)
    assert texture.embedding.weight.shape == (216, 448)
    assert texture.position.shape == (778, 216)
    assert len(texture.layers) == 4
    assert texture.layers[0].heads == 12
    assert texture.layers[0].expand.weight.shape == (216, 216)


def test_features_are_read_where_the_points_are() -> None:
    levels, generator = maps(), torch.Generator().manual_seed(2)
    points = 3 * torch.rand(2, 50, 2, generator=generator) - 1.5
    sampled = sample_maps(levels, points)
    first = 0
    for level in levels:
        side = level.shape[-1]
        # [-1, 1] from edge to edge: half a map pixel before its first centre
        u, v = ((points + 1) * side / 2 - 0.5).numpy().transpose(2, 0, 1)
        for i in range(2):
            for c in range(level.shape[1]):
                expected = map_coordinates(level[i, c].numpy(), [v[i], u[i]], order=1, mode="nearest")
                np.testing.assert_allclose(sampled[i, :, first + c].numpy(), expected, atol=1e-4)
        first += level.shape[1]
    assert first == sampled.shape[2]


def test_a_constant_map_is_constant_up_to_and_beyond_the_border() -> None:
    places = torch.tensor([[30.2, 20.7], [0.2, 20], [20, 0.2], [0.2, 0.3], [200, 20], [200, 200], [-5, 200], [0, 0.5]])
    assert torch.equal(sample_maps([torch.ones(1, 1, 56, 56)], (places / 28 - 1)[None]), torch.ones(1, 8, 1))


@pytest.mark.parametrize("kind", CAMERAS)
def test_the_hand_is_drawn_where_the_camera_projects_it(kind: str) -> None:
    vertices = hands()
    result = view(kind, vertices)
    mean = camera(kind, vertices).project(Normal(vertices, torch.ones_like(vertices))).mean
    torch.testing.assert_close(result.points, mean)
    fragments, pixels = result.fragments, normalised_to_crop(mean, SIZE)
    corners = LAYER.faces[fragments.faces % fragments.num_faces]
    image = fragments.pixels // SIZE**2
    centre = (pixels[image[:, None], corners] * fragments.weights[..., None]).sum(1)
    seen_at = torch.stack([fragments.pixels % SIZE, fragments.pixels // SIZE % SIZE], dim=1)
    assert len(seen_at) > 1000
    # interpolated pixel positions are the pixels themselves, up to the perspective within a face
    torch.testing.assert_close(centre, seen_at.float(), rtol=0, atol=0.1)


@pytest.mark.parametrize("kind", CAMERAS)
def test_visible_vertices_are_those_with_a_free_line_of_sight(kind: str) -> None:
    vertices = hands(4)
    result = view(kind, vertices)
    far = 100.0
    magnification = camera(kind, vertices).view
    intrinsics = torch.zeros(4, 3, 3)
    intrinsics[:, 2, 2] = 1
    if kind == "weak_perspective":
        # a pinhole so far away that it is as good as parallel
        intrinsics[:, (0, 1), (0, 1)] = magnification[:, :1] * far * SIZE / 2
        intrinsics[:, :2, 2] = normalised_to_crop(magnification[:, 1:], SIZE)
        points = vertices + torch.tensor([0, 0, far])
    else:
        eye = camera(kind, vertices)
        assert isinstance(eye, PerspectiveCamera)
        focal, centre = eye.pinhole()
        intrinsics[:, (0, 1), (0, 1)] = focal * SIZE / 2
        intrinsics[:, :2, 2] = normalised_to_crop(centre, SIZE)
        points = result.positions
    exact = point_visibility(points, points, LAYER.faces, intrinsics, (SIZE, SIZE))
    assert 0.3 < exact.float().mean() < 0.6
    assert (result.visible == exact).float().mean() > 0.94


@pytest.mark.parametrize("kind", CAMERAS)
def test_hidden_vertices_get_no_photometric_gradient(kind: str) -> None:
    shown = torch.ones(2, SIZE, SIZE, dtype=torch.bool)
    shown[:, : SIZE // 2] = False  # something lies over the upper half
    result = view(kind, hands(), shown=shown)
    colours = torch.full((2, 778, 3), 0.5, requires_grad=True)
    picture, whole = result.render(colours)
    photometric_distance(picture, torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8), whole & shown)[0].sum().backward()
    assert not colours.grad[~result.visible].any()
    assert colours.grad[result.visible].any(-1).float().mean() > 0.6
    # this is no empty statement: hidden vertices do share drawn faces with visible ones
    corners = result.visible[
        result.fragments.pixels[:, None] // SIZE**2, LAYER.faces[result.fragments.faces % result.fragments.num_faces]
    ]
    assert (corners.any(1) & ~corners.all(1)).any()
    # and without the rule they would get a gradient
    colours.grad = None
    picture, _ = result.render(colours)
    photometric_distance(picture, torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8), result.fragments.mask)[
        0
    ].sum().backward()
    gradient: torch.Tensor | None = colours.grad
    assert gradient is not None
    assert gradient[~result.visible].any()


def test_gradient_reaches_mesh_and_camera_through_the_picture() -> None:
    vertices = hands().requires_grad_()
    result = view("perspective", vertices)
    colours = torch.rand(2, 778, 3, generator=torch.Generator().manual_seed(3))
    picture, whole = result.render(colours)
    photometric_distance(picture, torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8), whole)[0].sum().backward()
    assert vertices.grad.isfinite().all()
    assert vertices.grad.any(-1).float().mean() > 0.3


def test_what_hides_a_vertex_does_not_colour_it() -> None:
    texture, levels = decoder().eval(), maps()
    result = view("weak_perspective", hands())
    assert 0.2 < result.visible.float().mean() < 0.8
    colours = texture(levels, result.points, result.visible)
    # other image content where hidden vertices are projected, and only they
    moved = torch.where(result.visible[..., None], result.points, -result.points)
    assert torch.equal(texture(levels, moved, result.visible), colours)
    moved = torch.where(result.visible[..., None], -result.points, result.points)
    # hidden vertices are completed from visible ones
    change = (texture(levels, moved, result.visible) - colours).abs()
    assert (change[~result.visible] > 1e-6).any(-1).all()


def test_colours_are_bounded_and_hidden_features_have_no_gradient() -> None:
    texture = decoder().eval()
    levels = [(1e4 * level).requires_grad_() for level in maps()]
    points = torch.zeros(2, 778, 2)
    visible = torch.zeros(2, 778, dtype=torch.bool)
    colours = texture(levels, points, visible)
    colours.sum().backward()
    assert not any(level.grad.any() for level in levels)
    visible[0] = True
    colours = texture(levels, points, visible)
    assert ((colours >= 0) & (colours <= 1)).all()


def test_patches_are_hidden_in_training_only() -> None:
    texture, levels = decoder(dropout=0.0, hide_radius_m=0.2), maps()
    points, visible = torch.zeros(2, 778, 2), torch.ones(2, 778, dtype=torch.bool)
    fixed = texture.eval()(levels, points, visible)
    assert torch.equal(texture(levels, points, visible), fixed)
    assert not torch.equal(texture.train()(levels, points, visible), fixed)
    shares = torch.stack([texture._patch(64).float().mean(1) for _ in range(4)])
    assert shares.min() < 0.05
    assert shares.max() > 0.7
    # a patch is a vertex and what is nearer to it than everything else
    patch = next(patch for patch in texture._patch(64) if 1 < patch.sum() < 700)
    distance = torch.cdist(texture.template[patch], texture.template)
    assert (distance[:, patch].amax(1) < distance[:, ~patch].amin(1)).any()


@pytest.mark.parametrize("visible", [0.0, 0.5, 1.0])
def test_every_parameter_gets_a_finite_gradient(visible: float) -> None:
    texture, levels = decoder(), maps()
    seen = torch.rand(2, 778, generator=torch.Generator().manual_seed(0)) < visible
    texture(levels, torch.zeros(2, 778, 2), seen).square().sum().backward()
    for name, parameter in texture.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


BAD = ["degenerate", "behind", "half behind", "outside", "huge", "flat"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", CAMERAS)
def test_bad_geometry_has_finite_loss_and_gradients(bad: str, kind: str) -> None:
    vertices = hands()
    eye = camera(kind, vertices)
    if bad == "degenerate":
        vertices[:, LAYER.faces[:200, 1]] = vertices[:, LAYER.faces[:200, 0]]
    elif bad == "flat":
        vertices[..., 0] = 0.01
    elif bad == "behind":
        vertices[..., 2] -= 20.0
    elif bad == "half behind":
        vertices[..., 2] -= 0.48 if kind == "perspective" else 10.0
    elif bad == "outside":
        vertices[..., 0] += 5.0
    elif bad == "huge":
        vertices *= 1e6
    vertices.requires_grad_()
    mesh = MeshGaussian(vertices, torch.full_like(vertices, 0.01))
    result = view_hands(mesh, eye, LAYER.faces, SIZE)
    texture, levels = decoder(), [level.requires_grad_() for level in maps()]
    picture, whole = result.render(texture(levels, result.points, result.visible))
    distance, compared = photometric_distance(picture, torch.full((2, 3, SIZE, SIZE), 77, dtype=torch.uint8), whole)
    distance.sum().backward()
    assert distance.isfinite().all()
    assert vertices.grad.isfinite().all()
    assert all(level.grad.isfinite().all() for level in levels)
    assert all(parameter.grad.isfinite().all() for parameter in texture.parameters())
    if bad in ("behind", "outside"):
        assert not result.visible.any()
        assert not compared.any()
        assert not distance.any()


def test_an_all_hidden_hand_has_zero_loss_and_zero_gradient() -> None:
    nothing = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    vertices = hands().requires_grad_()
    result = view("perspective", vertices, shown=nothing)
    assert not result.visible.any()
    texture = decoder()
    picture, whole = result.render(texture(maps(), result.points, result.visible))
    assert not whole.any()
    distance, _ = photometric_distance(picture, torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8), whole)
    distance.sum().backward()
    assert not distance.any()
    assert not vertices.grad.any()
    assert not any(parameter.grad.any() for parameter in texture.parameters())


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match="maps: true"):
        TextureDecoder((), ASSET)
    with pytest.raises(InputError, match="24 is not a multiple of its 5 heads"):
        decoder(heads=5)
