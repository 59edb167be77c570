"""The renderer's light, shade and textures, by hand."""

import math

import pytest
import torch

from handlit.data.synthesis.renderer import (
    GLOSS,
    HAND,
    OBJECT,
    SKIN_WRAP,
    SceneRenderer,
    _box_mean,
    _facing,
    _halfway,
    _look_up,
    _openness,
    _power_22,
)
from handlit.render import Fragments


@pytest.mark.parametrize(("part", "wrap", "gloss"), [(HAND, SKIN_WRAP[0], GLOSS[0]), (OBJECT, 0.05, GLOSS[2])])
def test_shading_of_one_pixel(renderer: SceneRenderer, part: int, wrap: float, gloss: float) -> None:
    normal = torch.tensor([[0.0], [-0.6], [-0.8]])
    to_light, halfway = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([0.0, -0.6, -0.8])
    lamp, sky, ground = torch.tensor([0.7, 0.6, 0.5]), torch.tensor([0.4, 0.4, 0.4]), torch.tensor([0.2, 0.2, 0.2])
    light = torch.cat([to_light, lamp, sky, ground, halfway])[:, None]
    found = renderer._shade(2 * normal, torch.full((3, 1), 0.5), light, torch.tensor([part - 1]))
    ambient = 0.2 + 0.2 * 0.8
    diffuse = (0.8 + wrap) / (1 + wrap)
    assert found[0].item() == pytest.approx(0.5 * (ambient + 0.7 * diffuse) + 0.7 * gloss, rel=1e-5)


def test_what_faces_away_from_the_lamp_has_no_highlight(renderer: SceneRenderer) -> None:
    light = torch.tensor([0.0, 0, -1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1])[:, None]
    found = renderer._shade(torch.tensor([[0.0], [0.0], [1.0]]), torch.ones(3, 1), light, torch.tensor([2]))
    assert found.flatten().tolist() == [0.0, 0.0, 0.0]


def test_curve_is_srgb_s_power_law(renderer: SceneRenderer) -> None:
    linear = torch.linspace(0, 1, 1000)
    step = (linear.sqrt() * (len(renderer.curve) - 1) + 0.5).long()
    # within a tenth of a grey level
    torch.testing.assert_close(renderer.curve[step], linear ** (1 / 2.2), atol=0.1 / 255, rtol=0)


def test_power() -> None:
    values = torch.tensor([0.0, 0.5, 0.9, 1.0])
    torch.testing.assert_close(_power_22(values), values**22)


def test_halfway_bisects_the_directions() -> None:
    vertices = torch.tensor([[[0.0, 0.0, 0.5], [0.0, 0.0, 1.5]]])
    found = _halfway(vertices, torch.tensor([[0.0, -1.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, -math.sqrt(0.5), -math.sqrt(0.5)]]))


def test_box_mean_is_that_of_the_square() -> None:
    images = torch.rand(2, 12, 15, generator=torch.Generator().manual_seed(0))
    found = _box_mean(images, 2)
    torch.testing.assert_close(found[:, 2:-2, 2:-2], images.unfold(1, 5, 1).unfold(2, 5, 1).mean(dim=(-1, -2)))
    torch.testing.assert_close(_box_mean(torch.ones(1, 4, 5), 3), torch.ones(1, 4, 5))


def test_a_step_casts_its_shade_on_what_lies_behind() -> None:
    depth = torch.full((1, 32, 32), 0.5)
    depth[:, :, 16:] = 0.53
    face = torch.zeros(1, 32, 32, dtype=torch.long)
    fragments = Fragments.from_images(face, depth, torch.full((1, 32, 32, 3), 1 / 3), 1)
    open_ = _openness(fragments, (2, 6)).view(32, 32)
    assert open_[16, :15].min() > 0.999
    assert open_[16, 16] < 0.75
    # and none farther away
    assert open_[16, 26] > 0.999


def test_faces_that_show_their_back_are_left_out() -> None:
    vertices = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]])
    faces = torch.tensor([[[0, 1, 2], [0, 2, 1]]])
    assert _facing(vertices, faces).tolist() == [[[0, 1, 2], [-1, -1, -1]]]
    corners = torch.rand(200, 3, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([-0.5, -0.5, 0.2])
    # seen from the camera at the origin, corners go clockwise on the front: y points down
    counter = torch.linalg.det(corners) > 0
    kept = _facing(corners.view(1, 600, 3), torch.arange(600).view(1, 200, 3))[0, :, 0] >= 0
    assert 20 < int(kept.sum()) < 180
    torch.testing.assert_close(kept, ~counter)


def test_textures_are_read_by_row_and_column() -> None:
    textures = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5).float()
    uv = torch.tensor([[0.0, 1.0, 0.5], [0.0, 1.0, 1.0]])
    found = _look_up(textures, uv, torch.tensor([0, 0, 1]))
    assert found.t().tolist() == [
        textures[0, :, 0, 0].tolist(),
        textures[0, :, 3, 4].tolist(),
        textures[1, :, 3, 2].tolist(),
    ]
