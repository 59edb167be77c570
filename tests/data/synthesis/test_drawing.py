"""Frames show what their sequences say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from handlit.data.synthesis.collage import horizon, sample_background
from handlit.data.synthesis.drawing import Backdrop, Frame, Painter, paint_backdrop
from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.presets import PRESETS
from handlit.data.synthesis.renderer import HAND, OBJECT, SceneRenderer
from handlit.data.synthesis.scene import one_of
from handlit.data.synthesis.sequence import IMAGE_HEIGHT, IMAGE_WIDTH, Sequence, sample_sequence


@pytest.fixture(scope="module")
def sequence(model: HandModel, renderer: SceneRenderer) -> Sequence:
    preset = replace(PRESETS["easy"], held_probability=1.0, frames_per_sequence=4)
    return sample_sequence(model, renderer, preset, 1, np.random.default_rng(4))


def backdrop(seed: int) -> Backdrop:
    rng = np.random.default_rng(seed)
    return paint_backdrop(one_of(sample_background(rng)), IMAGE_WIDTH, IMAGE_HEIGHT, rng)


def draw(renderer: SceneRenderer, sequence: Sequence) -> Frame:
    return Painter(renderer, sequence, sequence.scene, backdrop(0)).draw(2, np.random.default_rng(0))


def test_depth_and_parts_agree_with_the_geometry(renderer: SceneRenderer, sequence: Sequence) -> None:
    frame = draw(renderer, sequence)
    assert frame.image.shape == (IMAGE_HEIGHT, IMAGE_WIDTH, 3)
    assert frame.image.dtype == np.uint8
    # every object pixel, lifted by its depth, lies on the object's surface
    rows, columns = np.nonzero(frame.parts == OBJECT)
    assert len(rows) > 200
    pixels = np.stack([columns, rows, np.ones(len(rows))], axis=1)
    points = pixels @ np.linalg.inv(sequence.intrinsics).T * frame.depth[rows, columns][:, None]
    local = (points - sequence.object_translation[2]) @ sequence.object_rotation[2]
    assert np.abs(sequence.solid.closest_surface(local)[1]).max() < 1e-3
    # every hand pixel lies within the hand's range of depth
    depth = frame.depth[frame.parts == HAND]
    assert depth.min() > sequence.vertices[2, :, 2].min() - 1e-4
    assert depth.max() < sequence.vertices[2, :, 2].max() + 1e-4


def test_skin_is_where_the_parts_say(renderer: SceneRenderer, sequence: Sequence) -> None:
    scene, person = sequence.scene, sequence.scene.person
    other = scene._replace(person=person._replace(skin=torch.where(person.skin > 0.2, 0.02, 0.8)))
    frames = [Painter(renderer, sequence, s, backdrop(0)).draw(2, np.random.default_rng(0)) for s in (scene, other)]
    difference = np.abs(frames[0].image.astype(int) - frames[1].image).max(axis=2)
    assert (difference[frames[0].parts == HAND] > 10).mean() > 0.9
    assert (difference[frames[0].parts == OBJECT] == 0).mean() > 0.8
    assert (difference[frames[0].parts == 0] == 0).mean() > 0.99


def test_drawing_again_gives_the_same_bytes(renderer: SceneRenderer, sequence: Sequence) -> None:
    first, second = draw(renderer, sequence), draw(renderer, sequence)
    for name in ("image", "depth", "parts"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_backgrounds_are_behind_the_scene_and_differ() -> None:
    first, second = backdrop(0), backdrop(1)
    for drop in (first, second):
        assert drop.depth.min() >= 0.99
        assert drop.depth.max() < 65535 * 0.000125
    assert np.abs(first.image.astype(int) - second.image).mean() > 5


def test_a_table_comes_nearer_from_the_horizon_down() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        background = one_of(sample_background(rng))
        depth = paint_backdrop(background, IMAGE_WIDTH, IMAGE_HEIGHT, rng).depth[:, 0]
        first = np.searchsorted(-np.diff(depth), 1e-9)
        if horizon(background) < 1:
            assert abs((first / len(depth)) * 2 - 1 - horizon(background)) < 0.02
            assert 1.0 <= depth[-1] <= 1.2
        else:
            assert np.ptp(depth) == 0
