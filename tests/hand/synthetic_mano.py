"""A hand asset of MANO's sizes made of sines: no licensed data, and numbers that anyone can rebuild.

It does not look like a hand. Golden values of the reference implementations were recorded with these very arrays.
"""

import numpy as np

from handlit.hand.asset import NUM_FACES, NUM_VERTICES, HandAsset


def sines(*shape: int, step: float, start: float) -> np.ndarray:
    """Array of `shape` whose flat (row-major) entry i is ``sin(step * i + start)``, float64."""
    return np.sin(step * np.arange(np.prod(shape)) + start).reshape(shape)


def synthetic_mano() -> HandAsset:
    """The synthetic arrays as a right hand. The triangles are valid ids, without meaning."""
    regressor = np.zeros((16, NUM_VERTICES))
    regressor[np.arange(16), 47 * np.arange(16) + 3] = 1
    weights = 1.5 + sines(NUM_VERTICES, 16, step=0.23, start=0.5)
    return HandAsset(
        name="synthetic",
        side="right",
        template=0.08 * sines(NUM_VERTICES, 3, step=0.37, start=0.1),
        shape_directions=1e-3 * sines(NUM_VERTICES, 3, 10, step=0.53, start=0.2),
        pose_directions=1e-3 * sines(NUM_VERTICES, 3, 135, step=0.71, start=0.3),
        joint_regressor=regressor,
        weights=weights / weights.sum(1, keepdims=True),
        faces=(np.arange(NUM_FACES)[:, None] + np.arange(3)) % NUM_VERTICES,
        pose_mean=0.2 * sines(45, step=0.9, start=0.6),
        pose_components=0.15 * sines(45, 45, step=0.41, start=0.7),
    )
