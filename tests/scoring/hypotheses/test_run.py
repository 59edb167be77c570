"""The file of a tested run: the whole table goes there and back, and what cannot be used is named."""

import io
import zipfile
from pathlib import Path
from typing import Any

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
    with pytest.raises(InputError, match="not a readable zip archive"):
        load_run(tmp_path)


def test_tables_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "hypotheses.npz"
    good = {"keys": np.array(["a", "b"]), "settings": np.array('{"format": 2}'), "visible": np.ones((2, 21))}
    changes: list[dict[str, object]] = [
        {"keys": np.arange(2)},
        {"settings": np.array("[1]")},
        {"visible": np.ones((3, 21))},
        {"error": np.array(["a", "b"])},
        {"error": np.ones((2, 22))},
    ]
    for change in changes:
        arrays: dict[str, Any] = {**good, **change}
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=r"hypotheses\.npz is not a table of hypotheses"):
            load_run(path)
    for numbers in (np.full(2, np.nan), np.array([1, 1e30])):
        unlikely: dict[str, Any] = {**good, "error": numbers}
        np.savez(path, **unlikely)
        with pytest.raises(InputError, match="holds no numbers, or such that no test gives"):
            load_run(path)
    unsettled: dict[str, Any] = {**good, "settings": np.array("{")}
    np.savez(path, **unsettled)
    with pytest.raises(InputError, match=r"hypotheses\.npz: settings is not valid JSON"):
        load_run(path)


def test_arrays_that_are_larger_than_memory_are_refused(tmp_path: Path) -> None:
    path, header = tmp_path / "hypotheses.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.npy", header.getvalue())
    with pytest.raises(InputError, match="is not a table of hypotheses"):
        load_run(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.npy", bytes((1 << 28) + 1))
    with pytest.raises(InputError, match="unpacks to 268 MB, too much for a table"):
        load_run(path)


def test_runs_on_different_images_are_not_compared() -> None:
    first, second = run("a"), run("b", images=39)
    with pytest.raises(InputError, match=r"a \(40 images\) and b \(39 images\)"):
        check_same_images([first, second])
    check_same_images([first, run("b", seed=1)])
