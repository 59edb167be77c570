"""The verb ``compare``: from tested run folders to a table and a page, and what happens when the input is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlit.cli import main
from handlit.run_folder import RunFolder
from handlit.scoring.hypotheses.run import save_run
from tests.scoring.hypotheses.test_summary import run
from tests.test_cli import refused


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two tested runs on the same images: the second a little worse."""
    first = run("method a")
    worse = {**first.columns, "crps_mm": first.columns["crps_mm"] + 0.5}
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, table in zip(paths, (first, replace(first, label="method b", columns=worse)), strict=True):
        path.mkdir()
        save_run(RunFolder(path).hypothesis_table, table)
    return paths


def test_two_runs_side_by_side(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "page.html"
    main(["compare", str(folders[0]), f"mine={RunFolder(folders[1]).hypothesis_table}", "--out", str(out)])
    printed = capsys.readouterr().out
    assert f"page: {out}" in printed
    assert "*: differs from method a beyond a paired 95 % interval" in " ".join(printed.split())
    text = out.read_text()
    for label in ("method a", "mine"):
        assert f"</i>{label}</th>" in text
    assert "method b" not in text
    assert "40 images, 2 runs" in text


def test_a_single_run_is_shown(folders: list[Path], tmp_path: Path) -> None:
    main(["compare", str(folders[0]), "--out", str(tmp_path / "page.html")])
    assert "40 images, 1 run" in (tmp_path / "page.html").read_text()


def test_wrong_input_is_named(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "page.html")]
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused(["compare", str(folders[0]), str(empty), *out], capsys)
    assert f"{RunFolder(empty).hypothesis_table} is missing" in message
    assert "handlit test" in message
    RunFolder(empty).hypothesis_table.write_bytes(b"PK nothing")
    assert "not a readable zip archive" in refused(["compare", str(empty), *out], capsys)
    other = run("other", images=39)
    save_run(RunFolder(empty).hypothesis_table, other)
    message = refused(["compare", str(folders[0]), str(empty), *out], capsys)
    assert "method a (40 images) and other (39 images)" in message
    unknown = {name: np.full_like(column, np.nan) for name, column in other.columns.items() if column.dtype.kind == "f"}
    save_run(
        RunFolder(empty).hypothesis_table,
        replace(other, columns={**other.columns, **unknown, "count": other.columns["visible"]}),
    )
    assert "run the test again" in refused(["compare", str(empty), *out], capsys)
    # before anything is read
    message = refused(["compare", str(tmp_path / "gone"), "--out", str(empty)], capsys)
    assert message.startswith(f"error: {empty}: is a directory")
    settings = np.array('{"format": 99, "label": "new"}')
    arrays: dict[str, Any] = {"settings": settings, "keys": other.keys, **other.columns}
    np.savez(RunFolder(empty).hypothesis_table, **arrays)
    assert "written in format 99" in refused(["compare", str(empty), *out], capsys)
    assert "required: RUN" in refused(["compare"], capsys)
    assert not (tmp_path / "page.html").exists()
