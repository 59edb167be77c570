"""Shapes and numbers that arrive in pieces of any size are those of the whole."""

import numpy as np
import pytest

from handlit.formats import regular_points
from handlit.formats.regular_points import NumberBlocks, PointShapes


def signs(*shapes: tuple[int, int]) -> bytes:
    """Brackets and commas of lists of so many frames of so many points."""
    lists = ["[" + ",".join(["[" + ",".join(["[,,]"] * points) + "]"] * frames) + "]" for frames, points in shapes]
    return (lists[0] if len(lists) == 1 else f"[{','.join(lists)}]").encode()


def shapes_of(text: bytes, parts: int, size: int) -> list[tuple[int, int]] | None:
    shapes = PointShapes(parts)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return shapes.shapes if all(map(shapes.add, pieces)) else None


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("expected", [[(1, 1)], [(5, 4)], [(3, 1), (3, 6)], [(1, 2), (2, 1), (7, 3)]])
def test_shapes_do_not_depend_on_the_pieces(expected: list[tuple[int, int]], size: int) -> None:
    text = signs(*expected)
    assert shapes_of(text, len(expected), size) == expected
    # every text that is one sign longer, shorter or other is none
    for position in range(len(text)):
        shorter = text[:position] + text[position + 1 :]
        others = {shorter, *(text[:position] + sign + text[position:] for sign in (b"[", b",", b"]"))}
        others |= {text[:position] + sign + text[position + 1 :] for sign in (b"[", b",", b"]")} - {text}
        assert {shapes_of(other, len(expected), size) for other in others} == {None}
    assert shapes_of(text + text, len(expected), size) is None
    assert shapes_of(text, len(expected) + 1, size) is None


def test_endless_frames_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular_points, "MAX_POINTS", 10)
    assert shapes_of(signs((2, 10)), 1, 3) == [(2, 10)]
    assert shapes_of(signs((2, 11)), 1, 3) is None
    shapes = PointShapes(1)
    assert not all(shapes.add(b"[" * 9) for _ in range(9))


def test_numbers_come_out_as_they_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular_points, "_BLOCK", 5)
    numbers, values = NumberBlocks(), np.arange(36.0)
    for start, end in ((0, 3), (3, 3), (3, 20), (20, 36)):
        numbers.add(values[start:end])
    assert numbers.count == 36
    first, second = numbers.take([(2, 3), (5, 6)])
    np.testing.assert_array_equal(first.ravel(), values[:6])
    np.testing.assert_array_equal(second.ravel(), values[6:])
    assert first.shape == (2, 3)
    assert second.shape == (5, 6)
