"""The coarse mesh: the published choice of vertices and the interpolation back."""

import hashlib

import numpy as np
import pytest

from handlit.hand.coarse import COARSE_VERTICES, NUM_COARSE_VERTICES, coarse_upsampling
from handlit.hand.standin import load_standin
from tests.hand.synthetic_mano import synthetic_mano

COARSE = list(COARSE_VERTICES)
TEMPLATE = synthetic_mano().template


def test_ids_are_the_published_ones() -> None:
    assert NUM_COARSE_VERTICES == len(COARSE_VERTICES) == 195
    assert sorted(set(COARSE)) == COARSE
    digest = hashlib.sha256(np.array(COARSE, dtype="<i4").tobytes()).hexdigest()
    assert digest.startswith("6c6c87c3")
    assert digest.endswith("2def13")


@pytest.mark.parametrize("neighbours", [1, 3, 4])
def test_weights_by_definition(neighbours: int) -> None:
    matrix = coarse_upsampling(TEMPLATE, neighbours)
    assert matrix.shape == (778, 195)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
    assert (matrix >= 0).all()
    np.testing.assert_array_equal(matrix[COARSE], np.eye(195))
    for vertex in sorted(set(range(778)) - set(COARSE))[::20]:
        distances = np.linalg.norm(TEMPLATE[COARSE] - TEMPLATE[vertex], axis=1)
        nearest = np.argsort(distances)[:neighbours]
        expected = np.zeros(195)
        expected[nearest] = (1 / distances[nearest]) / (1 / distances[nearest]).sum()
        np.testing.assert_allclose(matrix[vertex], expected, atol=1e-12)


def test_interpolated_hand_is_close_to_the_hand() -> None:
    template = load_standin().template
    error = np.linalg.norm(coarse_upsampling(template) @ template[COARSE] - template, axis=1)
    assert np.median(error) < 0.003
    assert error.max() < 0.02
    assert (error[COARSE] == 0).all()


def test_coinciding_vertices_are_copied() -> None:
    template = TEMPLATE.copy()
    template[0] = template[COARSE[7]]
    matrix = coarse_upsampling(template)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix[0], np.eye(195)[7], atol=1e-6)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(195, 3\)"):
        coarse_upsampling(TEMPLATE[COARSE])
    with pytest.raises(ValueError, match="neighbours"):
        coarse_upsampling(TEMPLATE, 0)
