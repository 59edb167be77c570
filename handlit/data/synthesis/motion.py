"""Smooth paths through random keyframes: how a subject's hand and camera move within a sequence."""

from collections.abc import Callable

import numpy as np
import roma
import torch

from handlit.data.synthesis.presets import BaseView, ScenePreset

#: From the hand model's axes (fingers -x, palm -y, thumb +z) to those of an OpenCV camera that looks at the palm or at
#: the back of an upright right hand.
BASE_ROTATIONS: dict[BaseView, np.ndarray] = {
    "palm": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "back": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
}
#: A sequence's orientation drifts by at most this much, and by at most 0.4 of the preset's spread.
LARGEST_DRIFT_RAD = 0.7
#: The forearm comes no closer to the direction of the camera than this; it would hide the hand.
ARM_TO_CAMERA_RAD = 0.9


def keyframes(count: int, stride: int, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """A path that eases from one random key value to the next.

    Args:
        count: Frames.
        stride: Frames from key to key.
        draw: Gives that many independent key values, (K, ...).

    Returns:
        (count, ...); every value is a mean of two key values, so limits that hold for these hold for the path.
    """
    keys = draw((count - 1) // stride + 2)
    place = np.arange(count) / stride
    low = place.astype(int)
    weight = (1 - np.cos(np.pi * (place - low))) / 2
    weight = weight.reshape(-1, *([1] * (keys.ndim - 1)))
    return keys[low] + weight * (keys[low + 1] - keys[low])


def rotation_matrices(rotation_vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3), radians, to matrices (..., 3, 3)."""
    return roma.rotvec_to_rotmat(torch.from_numpy(np.asarray(rotation_vectors, dtype=np.float64))).numpy()


def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) to vectors (..., 3), radians."""
    return roma.rotmat_to_rotvec(torch.from_numpy(np.asarray(matrices, dtype=np.float64))).numpy()


def in_ball(count: int, radius: float, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) vectors, uniform in a ball."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * radius * rng.random((count, 1)) ** (1 / 3)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) uniformly distributed rotation."""
    quaternion = rng.normal(size=4)
    return roma.unitquat_to_rotmat(torch.from_numpy(quaternion / np.linalg.norm(quaternion))).numpy()


def orientation_path(preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    """Global rotations of a sequence's hand.

    Args:
        preset: Base views, spread and number of frames.
        rng: Source.

    Returns:
        (T, 3, 3) from the hand model's axes to OpenCV camera axes.
    """
    spread = np.deg2rad(preset.rotation_spread_deg)
    base = BASE_ROTATIONS[preset.base_views[rng.integers(len(preset.base_views))]]
    path = np.empty(0)
    for _ in range(100):
        if spread >= np.pi:
            start = random_rotation(rng)
        else:
            start = rotation_matrices(in_ball(1, 0.6 * spread, rng)[0]) @ base
        drift = keyframes(
            preset.frames_per_sequence,
            preset.frames_per_keyframe,
            lambda count: in_ball(count, min(0.4 * spread, LARGEST_DRIFT_RAD), rng),
        )
        path = rotation_matrices(drift) @ start
        # the arm leaves the hand along the model's +x, the camera lies at -z
        if (-path[:, 2, 0] < np.cos(ARM_TO_CAMERA_RAD)).all():
            break
    return path
