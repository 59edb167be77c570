"""Mirror images of hands: a left hand is handled as the right hand that its mirrored image shows.

Everything is mirrored in the plane x = 0 of its frame: images from left to right, points in x. A rotation R becomes
M R M with M = diag(-1, 1, 1): its rotation vector, a pseudovector, keeps x and reverses y and z.
"""

from typing import TypeVar

import numpy as np
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)

#: M, which mirrors a point: ``point @ MIRROR``.
MIRROR = np.diag([-1.0, 1.0, 1.0])


def mirrored_points(points: Array) -> Array:
    """(..., 3) points mirrored in the plane x = 0; twice gives the same points again."""
    return points * _like(points, (-1.0, 1.0, 1.0))


def mirrored_rotation_vectors(vectors: Array) -> Array:
    """Rotation vectors of the mirrored rotations; twice gives the same vectors again.

    Args:
        vectors: (..., 3n) axis-angle vectors, radians, n of them one after the other, e.g. a pose of (..., 48).
    """
    return vectors * _like(vectors, (1.0, -1.0, -1.0) * (vectors.shape[-1] // 3))


def _like(array: Array, values: tuple[float, ...]) -> Array:
    return array.new_tensor(values) if isinstance(array, Tensor) else np.array(values, array.dtype)
