import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from handlit.errors import InputError
from handlit.formats import point_lists, regular_points
from handlit.formats.point_lists import read_point_lists

FRAMES = np.random.default_rng(0).normal(size=(5, 4, 3))
MESHES = np.random.default_rng(1).normal(size=(5, 6, 3)) * 1e-7


def read(text: bytes | str, parts: tuple[str, ...] = ("xyz", "verts")) -> list[np.ndarray]:
    raw = text.encode() if isinstance(text, str) else text
    return read_point_lists(lambda: io.BytesIO(raw), "pred.json", parts)


@pytest.mark.parametrize("block", [7, 64, 1 << 20])
@pytest.mark.parametrize(
    "write",
    [
        lambda data: json.dumps(data),
        lambda data: json.dumps(data, separators=(",", ":")),
        lambda data: orjson.dumps(data).decode() + "\n",
        lambda data: json.dumps(data, indent=2),
        lambda data: json.dumps(data).replace(", ", " ,\t"),
    ],
)
def test_every_way_of_writing_gives_the_exact_numbers(
    write: Callable[..., Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_lists, "_BLOCK", block)
    xyz, verts = read(write([FRAMES.tolist(), MESHES.tolist()]))
    np.testing.assert_array_equal(xyz, FRAMES)
    np.testing.assert_array_equal(verts, MESHES)
    (single,) = read(write(FRAMES.tolist()), ("xyz",))
    np.testing.assert_array_equal(single, FRAMES)


def test_usual_files_do_not_need_the_json_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> None:
        raise AssertionError("the whole text was parsed as JSON")

    monkeypatch.setattr("orjson.loads", refuse)
    data = [FRAMES.tolist(), MESHES.tolist()]
    for text in (json.dumps(data), json.dumps(data, separators=(",", ":"))):
        np.testing.assert_array_equal(read(text)[1], MESHES)


@pytest.mark.parametrize("block", [1, 7, 16, 1 << 20])
@pytest.mark.parametrize(
    "hole", ["[ ,2,3]", "[1, ,3]", "[1,2, ]", "[1,2,]", "[,2,3]", "[]", "[ ]", "[1,2,-]", "[1e,2]"]
)
def test_nothing_is_not_a_number(hole: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_lists, "_BLOCK", block)
    text = f"[[[[1,2,3],{hole}]],[[[1,2,3],[4,5,6]]]]".encode()
    with pytest.raises(InputError):
        read_point_lists(lambda: io.BytesIO(text), "pred.json", ("xyz", "verts"))


def test_integers_are_numbers() -> None:
    assert read("[[[0, 1, -2]]]", ("xyz",))[0].tolist() == [[[0.0, 1.0, -2.0]]]


GOOD = "[[[1,2,3],[4,5,6]],[[1,2,3],[4,5,6]]]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (f"[{GOOD},{GOOD}"[:-3], "cut off"),
        (f"[{GOOD},{GOOD}]".replace("5", "NaN", 1), "NaN or Infinity"),
        (f"[{GOOD},{GOOD}]".replace("5", "1e999", 1), "xyz of frame 0 .* holds NaN or infinity|not valid JSON"),
        (f"[{GOOD},{GOOD}]".replace("5", '"5"', 1), "xyz of frame 0, point 1: expected numbers, got str 5"),
        (f"[{GOOD},{GOOD}]".replace("5", "null", 1), "expected numbers, got NoneType"),
        (f"[{GOOD},{GOOD}]".replace("5", "true", 1), "expected numbers, got bool"),
        (f"[{GOOD},{GOOD}]".replace(",[4,5,6]", "", 1), "xyz of frame 1 has 2 points, frame 0 has 1"),
        (
            f"[{GOOD},{GOOD}]".replace("4,5,6", "4,5", 1),
            "xyz of frame 0, point 1: expected 3 coordinates, got a list of",
        ),
        (f"[{GOOD},{GOOD}]".replace("4,5", "4 5", 1), "not valid JSON"),
        (f"[{GOOD},{GOOD}]".replace("4,5", "4,,5", 1), "not valid JSON"),
        (f"[{GOOD}]", r"expected the list \[xyz, verts\], got a list of length 1"),
        (f"[{GOOD},{GOOD},{GOOD}]", "got a list of length 3"),
        (f'{{"xyz":{GOOD},"verts":{GOOD}}}', "got an object with the keys"),
        (f"[{GOOD},[]]", "verts must be a list with one entry per image"),
        (f"[[{GOOD}],[{GOOD}]]", "xyz of frame 0, point 0: expected 3 coordinates"),
        ("[[[[1,2,3,4],[1,2,3,4],[1,2,3,4]]],[[[1,2,3]]]]", "3 x 4, transposed"),
        (f"[{GOOD},[[[1,2,3]]]]", "different numbers of frames: {'xyz': 2, 'verts': 1}"),
        ("7", "got int 7"),
    ],
)
def test_each_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[{GOOD},{GOOD}".replace("3", "3 "), "cut off|not nested"),
        (f"[{GOOD},{GOOD}"[:-2], "cut off"),
        (f"[{GOOD},{GOOD}]".replace("5", "NaN", 1), "numbers alone, got at frame 0 .*NaN and Infinity are not allowed"),
        (f"[{GOOD},{GOOD}]"[::-1].replace("5", "llun", 1)[::-1], "got at frame 3 of its lists: .*,n"),
        (f"[{GOOD},{GOOD}]".replace("4,5,6", "4,5", 1), "its 4 frames are not nested"),
        (f"[{GOOD}]", "its 2 frames are not nested"),
        (",0" * 1000, "cut off"),
        ("[" * 1000, "cut off"),
        ("[" * 1000 + "]" * 1000, "are not nested"),
        ("1" * 1000, "cut off"),
        (f"\ufeff[{GOOD},{GOOD}]", "byte-order mark"),
    ],
)
@pytest.mark.parametrize("block", [5, 1 << 20])
def test_faults_of_a_large_text_are_named_without_the_json_parser(
    text: str, message: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orjson.loads", None)
    monkeypatch.setattr(point_lists, "MAX_PARSED", 20)
    monkeypatch.setattr(point_lists, "_BLOCK", block)
    monkeypatch.setattr(point_lists, "_LONGEST_NUMBER", 100)
    with pytest.raises(InputError, match=message):
        read(text)


def test_the_number_of_numbers_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_lists, "MAX_NUMBERS", 20)
    with pytest.raises(InputError, match="more than 20 numbers"):
        read(f"[{GOOD},{GOOD}]")


@pytest.mark.parametrize("text", ["[" * 1000 + "]" * 1000, "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900])
def test_deep_nesting_is_described_in_short(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert len(str(caught.value)) < 300


def test_the_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"[{GOOD},{GOOD}]".encode() + b" " * 100

    def read_most(most: int) -> list[np.ndarray]:
        return read_point_lists(lambda: io.BytesIO(text), "pred.json", ("xyz", "verts"), most)

    assert len(read_most(len(text))) == 2
    with pytest.raises(InputError, match="more than 0 MB of text"):
        read_most(len(text) - 1)
    monkeypatch.setattr(regular_points, "MAX_POINTS", 1)
    monkeypatch.setattr(point_lists, "MAX_PARSED", 10)
    with pytest.raises(InputError, match="the same number of points in each frame of a list, at most 1"):
        read(text)
