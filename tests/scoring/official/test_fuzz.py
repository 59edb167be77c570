"""Whatever a file holds, the reader answers with finite arrays of the right shape or with one clear message."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlit.errors import InputError
from handlit.formats import point_lists
from handlit.formats.point_lists import read_point_lists
from handlit.scoring.official.submission import read_submission

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=True, allow_infinity=True))
LEAVES = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=3))
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner))
#: Nearly right: points of mostly three coordinates, in frames, in lists.
POINTS = st.lists(st.lists(st.one_of(NUMBERS, LEAVES), min_size=2, max_size=4), min_size=0, max_size=3)
ALMOST = st.lists(st.lists(POINTS, min_size=0, max_size=3), min_size=1, max_size=3)
REGULAR = b"[[[[0.5,1,2],[3,-4e-3,5]]],[[[1,2,3],[4,5,6],[7,8,9]]]]"


def check(text: bytes) -> None:
    try:
        arrays = read_point_lists(lambda: io.BytesIO(text), "pred.json", ("xyz", "verts"))
    except InputError as error:
        assert str(error).startswith("pred.json")  # noqa: PT017 - either outcome is right
        return
    expected = orjson.loads(text)  # what is accepted is JSON, and these numbers
    assert len(expected) == 2
    for array, values in zip(arrays, expected, strict=True):
        assert array.shape == (len(expected[0]), array.shape[1], 3)
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, np.array(values, dtype=np.float64))


@BOUNDED
@given(data=st.one_of(ANY_JSON, ALMOST))
def test_any_json(data: Any) -> None:
    check(json.dumps(data).encode())


@BOUNDED
@given(text=st.binary(max_size=60))
def test_any_bytes(text: bytes) -> None:
    check(text)


@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_good_text_with_something_changed(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_lists, "_BLOCK", block)

    @BOUNDED
    @given(
        start=st.integers(0, len(REGULAR)),
        removed=st.integers(0, 4),
        inserted=st.text(alphabet='[],.-+eE0123456789 \n\tNa"', max_size=4),
    )
    def change(start: int, removed: int, inserted: str) -> None:
        check(REGULAR[:start] + inserted.encode() + REGULAR[start + removed :])

    change()


def test_an_archive_with_something_changed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        points = np.arange(2 * 21 * 3).reshape(2, 21, 3).tolist()
        archive.writestr("pred.json", json.dumps([points, points]))
    whole = buffer.getvalue()
    path = tmp_path / "pred.zip"

    @BOUNDED
    @given(start=st.integers(0, len(whole) - 1), cut=st.booleans(), inserted=st.binary(min_size=1, max_size=6))
    def change(start: int, cut: bool, inserted: bytes) -> None:
        path.write_bytes(whole[:start] + (b"" if cut else inserted + whole[start + len(inserted) :]))
        try:
            submission = read_submission(path)
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert submission.joints.shape == (2, 21, 3)

    change()
