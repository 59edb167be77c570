"""One reading of a hand model for all who ask."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handlit.hand.loading import load_hand
from handlit.hand.standin import mirror
from tests.hand.mano_file import write_mano
from tests.hand.synthetic_mano import synthetic_mano

pytestmark = pytest.mark.filterwarnings("ignore:.*not the distributed right hand:UserWarning")


def test_a_file_is_read_once(tmp_path: Path) -> None:
    write_mano(synthetic_mano(), tmp_path / "MANO_RIGHT.pkl")
    hand = load_hand(tmp_path)
    assert load_hand(str(tmp_path / "MANO_RIGHT.pkl")) is hand
    assert load_hand() is load_hand(None)
    assert load_hand(None, "left") is not load_hand()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(synthetic_mano(), file)
    load_hand(file)
    write_mano(replace(synthetic_mano(), template=2 * synthetic_mano().template), file)
    os.utime(file, ns=(0, 10**18))
    np.testing.assert_array_equal(load_hand(file).template, 2 * synthetic_mano().template)


def test_a_left_hand_is_read_again_when_the_right_hand_comes_to_lie_beside_it(tmp_path: Path) -> None:
    right = synthetic_mano()
    write_mano(replace(mirror(right), shape_directions=right.shape_directions), tmp_path / "MANO_LEFT.pkl")
    with pytest.warns(UserWarning, match="cannot say"):
        alone = load_hand(tmp_path, "left")
    write_mano(right, tmp_path / "MANO_RIGHT.pkl")
    with pytest.warns(UserWarning, match="wrong sign"):
        compared = load_hand(tmp_path, "left")
    np.testing.assert_array_equal(compared.shape_directions[:, 0], -alone.shape_directions[:, 0])


def test_shared_arrays_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_hand().template[0] = 0
