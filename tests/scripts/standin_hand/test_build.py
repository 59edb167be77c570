from pathlib import Path

import numpy as np

from handlit.hand.standin import load_standin
from scripts.standin_hand.build import save_hand, sculpt_hand


def test_the_file_is_what_the_sculpture_gives(tmp_path: Path) -> None:
    hand, path = load_standin(), tmp_path / "hand.npz"
    save_hand(sculpt_hand(), path)
    assert path.stat().st_size < 1_000_000
    with np.load(path, allow_pickle=False) as rebuilt:
        np.testing.assert_array_equal(rebuilt["faces"], hand.faces)
        for name in rebuilt.files:
            np.testing.assert_allclose(rebuilt[name], getattr(hand, name), atol=2e-5, err_msg=name)
