"""The file of a tested run: the whole table goes there and back, and what cannot be used is named."""

from pathlib import Path

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.scoring.hypotheses.run import check_same_images, load_run, save_run
from tests.scoring.hypotheses.test_summary import run


def test_files_hold_the_whole_table(tmp_path: Path) -> None:
    table = run("method a")
    save_run(tmp_path / "hypotheses.npz", table)
    assert [path.name for path in tmp_path.iterdir()] == ["hypotheses.npz"]
    again = load_run(tmp_path)
    assert again.label == "method a"
    assert again.settings == table.settings
    assert again.keys.tolist() == table.keys.tolist()
    for name, values in table.columns.items():
        np.testing.assert_array_equal(again.columns[name], values)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"hypotheses\.npz is missing"):
        load_run(tmp_path)
    (tmp_path / "hypotheses.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="is not a table"):
        load_run(tmp_path)


def test_runs_on_different_images_are_not_compared() -> None:
    first, second = run("a"), run("b", images=39)
    with pytest.raises(InputError, match=r"a \(40 images\) and b \(39 images\)"):
        check_same_images([first, second])
    check_same_images([first, run("b", seed=1)])
