"""Sequences keep what their presets promise."""

from dataclasses import replace

import numpy as np
import pytest

from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.motion import BASE_ROTATIONS
from handlit.data.synthesis.presets import PRESETS, PresetName
from handlit.data.synthesis.renderer import SceneRenderer
from handlit.data.synthesis.sequence import IMAGE_HEIGHT, IMAGE_WIDTH, sample_sequence


def angle_between(rotations: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Degrees between rotations (T, 3, 3) and one (3, 3)."""
    trace = np.einsum("tij,ij->t", rotations, base)
    return np.rad2deg(np.arccos(((trace - 1) / 2).clip(-1, 1)))


@pytest.mark.parametrize("name", ["easy", "full"])
def test_sequence_keeps_the_preset(model: HandModel, renderer: SceneRenderer, name: PresetName) -> None:
    preset = PRESETS[name]
    for seed in range(6):
        sequence = sample_sequence(model, renderer, preset, 3, np.random.default_rng(seed))
        points = sequence.vertices @ sequence.intrinsics.T
        points = points[..., :2] / points[..., 2:]
        assert points.min() >= 0
        assert (points.max(axis=(0, 1)) <= (IMAGE_WIDTH - 1, IMAGE_HEIGHT - 1)).all()
        middle = (sequence.vertices.min(axis=1) + sequence.vertices.max(axis=1))[:, 2] / 2
        assert middle.min() > preset.distance_m[0] - 1e-4
        assert middle.max() < preset.distance_m[1] + 1e-4
        assert sequence.intrinsics[0, 0] == pytest.approx(614, rel=preset.focal_spread + 1e-6)
        if preset.rotation_spread_deg < 180:
            nearest = np.minimum(*(angle_between(sequence.hand_rotation, base) for base in BASE_ROTATIONS.values()))
            assert nearest.max() <= preset.rotation_spread_deg + 1e-4
        # neighbouring frames are alike
        assert np.linalg.norm(np.diff(sequence.joints, axis=0), axis=-1).mean() < 0.06


def test_object_probabilities_are_kept(model: HandModel, renderer: SceneRenderer) -> None:
    for held, occluding in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        preset = replace(PRESETS["easy"], held_probability=held, occluder_probability=occluding, frames_per_sequence=4)
        for seed in range(4):
            sequence = sample_sequence(model, renderer, preset, 1, np.random.default_rng(seed))
            local = (sequence.vertices - sequence.object_translation[:, None]) @ sequence.object_rotation
            gap = sequence.solid.closest_surface(local)[1].min()
            in_front = (sequence.object_translation[:, 2] < sequence.vertices[..., 2].mean(axis=1)).all()
            if held:
                assert gap < 0.01
            else:
                assert gap > 0
                assert in_front == bool(occluding)
