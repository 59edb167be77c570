"""Orientations stay within their presets; paths go through their keys."""

from dataclasses import replace

import numpy as np
import pytest

from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.motion import BASE_ROTATIONS, keyframes, orientation_path
from handlit.data.synthesis.presets import PRESETS
from handlit.skeleton import JOINTS


def angle_between(rotations: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Degrees between rotations (T, 3, 3) and one (3, 3)."""
    trace = np.einsum("tij,ij->t", rotations, base)
    return np.rad2deg(np.arccos(((trace - 1) / 2).clip(-1, 1)))


def test_base_views_are_rotations_and_show_a_right_hand(model: HandModel) -> None:
    thumb, wrist = JOINTS.index("thumb_4"), JOINTS.index("wrist")
    _, joints = model.upright(np.zeros((1, 45)), np.zeros(10))
    for side, rotation in BASE_ROTATIONS.items():
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        seen = joints[0] @ rotation.T
        assert seen[JOINTS.index("middle_4"), 1] < seen[wrist, 1] - 0.1  # fingers up: smaller rows
        # seen from its palm a right hand has the thumb on the right
        assert (seen[thumb, 0] > seen[JOINTS.index("pinky_1"), 0]) == (side == "palm")


@pytest.mark.parametrize("spread", [0.0, 30.0, 90.0])
def test_orientations_stay_within_the_spread(spread: float) -> None:
    preset = replace(PRESETS["easy"], base_views=("back",), rotation_spread_deg=spread)
    paths = [orientation_path(preset, np.random.default_rng(seed)) for seed in range(20)]
    angles = angle_between(np.concatenate(paths), BASE_ROTATIONS["back"])
    assert angles.max() <= spread + 1e-4
    assert angles.max() >= 0.5 * spread


def test_full_spread_covers_all_orientations() -> None:
    starts = np.stack([orientation_path(PRESETS["full"], np.random.default_rng(seed))[0] for seed in range(300)])
    # the hand's palm normal is uniform on the sphere
    assert np.abs(starts[:, :, 1].mean(axis=0)).max() < 0.15
    # and the arm never hides the hand
    assert (-starts[:, 2, 0]).max() < 0.63


def test_keyframe_paths_hit_their_keys_and_stay_between_them() -> None:
    keys = np.array([1.0, 3.0, -2.0, 5.0])
    path = keyframes(9, 3, lambda count: keys[:count])
    np.testing.assert_allclose(path[[0, 3, 6]], keys[:3])
    assert ((path[:3] >= 1) & (path[:3] <= 3)).all()
    assert len(path) == 9
