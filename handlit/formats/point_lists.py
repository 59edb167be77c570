"""Reads the JSON of submissions and ground truth: nested lists of 3D points, hundreds of megabytes of them.

A well-formed file is read in one pass over its bytes, with memory for the numbers alone: brackets and commas are
compared with those of a regular array, and the numbers between them are parsed in blocks. Any other file goes to the
JSON parser, whose result is searched for what is wrong; of a large one only the first fault in the text is looked for.
"""

import math
import re
import warnings
from collections.abc import Callable
from typing import BinaryIO, NoReturn

import numpy as np
import orjson

from handlit.errors import InputError
from handlit.formats.archives import DAMAGE, MAX_BYTES
from handlit.formats.regular_points import MAX_POINTS, NumberBlocks, PointShapes
from handlit.reading import shown, wrong_kind

#: Ten submissions for the largest benchmark have 276 million, FreiHAND's training meshes 76 million.
MAX_NUMBERS = 300_000_000
#: Frames that are looked at at once for numbers that are none.
_CHECKED = 1024
#: Bytes of a text that the JSON parser gets: it needs up to 25 times as much.
MAX_PARSED = 1 << 23
_BLOCK = 1 << 21
#: Bytes between two commas; more is no number.
_LONGEST_NUMBER = 1 << 16
_SPACE = b" \t\r\n"
_NUMBER_BYTES = b"0123456789.+-eE" + _SPACE
#: Characters by kind, 0 to 8, for pairs: brackets, comma, zero, other digits, point, exponent, signs.
_KINDS = bytes.maketrans(b"[,]0123456789.eE+-", bytes([0, 1, 2, 3, *[4] * 9, 5, 6, 6, 7, 8]))


def _table(*pairs: tuple[bytes, bytes]) -> np.ndarray:
    table = np.zeros(256, dtype=bool)
    for firsts, seconds in pairs:
        for first in firsts.translate(_KINDS):
            for second in seconds.translate(_KINDS):
                table[16 * first + second] = True
    return table


#: Pairs that regular arrays in JSON do not have: numbers outside the innermost brackets, `+1`, `.5`, `1.`, and nothing
#: where a number belongs (some NumPy versions read one from it).
_BAD_PAIRS = _table(
    (b"01.e+-", b"["),
    (b"]", b"01.e+-"),
    (b"[,", b".e+"),
    (b"-", b".e+-"),
    (b".", b",]e.+-"),
    (b"[,e+-", b",]"),
)
_EXPECTED = "the JSON of lists of points"
#: A character that no list of points has.
_STRANGE = re.compile(rb"[^\d\s\[\],.eE+-]")
_ZERO_FIRST = _table((b"[,-", b"0"))


def read_point_lists(
    open_stream: Callable[[], BinaryIO], source: str, parts: tuple[str, ...], most: int = MAX_BYTES
) -> list[np.ndarray]:
    """Read one list of frames, or a list of several such lists.

    Args:
        open_stream: Opens the JSON text; called again when the text is not a regular array.
        source: Name of the file, for messages.
        parts: Names of the lists. With one name the text is that list; with more it is the list of the lists.
        most: Bytes that the text may have.

    Returns:
        For each part (N, K, 3) float64; K may differ between parts, N may not.

    Raises:
        InputError: The text is not such an array; the message says where and what.
    """
    try:
        with open_stream() as stream:
            arrays = _read_regular(stream, source, len(parts), most)
        if arrays is None:
            with open_stream() as stream:
                text = stream.read(MAX_PARSED + 1)
                is_short = len(text) <= MAX_PARSED
                arrays = _read_any(text, source, parts) if is_short else _refuse(text, stream, source, most)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{source}: the archive is damaged ({error}); write or copy it again") from error
    counts = {name: len(array) for name, array in zip(parts, arrays, strict=True)}
    if len(set(counts.values())) > 1:
        raise InputError(f"{source}: the lists have different numbers of frames: {counts}; write one entry per image")
    for name, array in zip(parts, arrays, strict=True):
        parts_of = range(0, len(array), _CHECKED)
        finite = [np.isfinite(array[start : start + _CHECKED]).all(axis=(1, 2)) for start in parts_of]
        bad = np.flatnonzero(~np.concatenate(finite))
        if len(bad):
            raise InputError(
                f"{source}: {name} of frame {bad[0]} ({len(bad)} frames in all) holds NaN or infinity; every frame "
                "needs a finite prediction"
            )
    return arrays


def _read_regular(stream: BinaryIO, source: str, num_parts: int, most: int) -> list[np.ndarray] | None:
    """The arrays of a regular text, or None for any other."""
    shapes, numbers = PointShapes(num_parts), NumberBlocks()
    carry, size, last, count = b"", 0, b"", 0
    while block := stream.read(_BLOCK):
        size += len(block)
        _check_size(size, source, most)
        kinds = last + block.translate(_KINDS, _SPACE)
        if not _has_json_numbers(kinds):
            return None
        last = kinds[-3:]
        text = carry + block.translate(None, b"[]")
        cut = text.rfind(b",") + 1
        carry = text[cut:]
        if len(carry) > _LONGEST_NUMBER or not shapes.add(block.translate(None, _NUMBER_BYTES)):
            return None
        count += text.count(b",")
        if count > MAX_NUMBERS:
            raise InputError(f"{source}: more than {MAX_NUMBERS} numbers, more than ten submissions of HO-3D have")
        if cut:
            parsed = _parse_numbers(text[: cut - 1])
            if parsed is None:
                return None
            numbers.add(parsed)
    parsed = _parse_numbers(carry.rstrip())
    if parsed is None or shapes.shapes is None:
        return None
    numbers.add(parsed)
    found = [(frames, points, 3) for frames, points in shapes.shapes]
    return numbers.take(found) if numbers.count == sum(map(math.prod, found)) else None


def _has_json_numbers(kinds: bytes) -> bool:
    """Whether numbers are written as JSON has them, and only between innermost brackets; NumPy reads more than that."""
    kind = np.frombuffer(kinds, dtype=np.uint8)
    pairs = (kind[:-1] << 4) | kind[1:]
    if _BAD_PAIRS[pairs].any():
        return False
    zeros = np.flatnonzero(_ZERO_FIRST[pairs[:-1]])
    is_exponent = (zeros > 0) & (kind[zeros - 1] == b"e".translate(_KINDS)[0]) if len(zeros) else zeros > 0
    following = kind[zeros + 2]
    is_digit = (following == b"0".translate(_KINDS)[0]) | (following == b"1".translate(_KINDS)[0])
    return not bool((is_digit & ~is_exponent).any())


def _parse_numbers(text: bytes) -> np.ndarray | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # text that is not numbers is a warning in some NumPy versions
        try:
            return np.fromstring(text, dtype=np.float64, sep=", ")
        except (ValueError, DeprecationWarning):
            return None


def _check_size(size: int, source: str, most: int) -> None:
    if size > most:
        raise InputError(
            f"{source}: more than {most / 1e6:.0f} MB of text, far more than these images need, so this is something "
            "else, or of other images"
        )


def _read_any(text: bytes, source: str, parts: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays of an unusual but valid text; otherwise an error that names the first thing wrong."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        _explain_syntax(text, source, error)
    if len(parts) > 1 and (not isinstance(data, list) or len(data) != len(parts)):
        raise InputError(f"{source}: expected the list [{', '.join(parts)}], got {_describe(data)}")
    lists = data if len(parts) > 1 else [data]
    return [_to_array(frames, f"{source}: {name}") for frames, name in zip(lists, parts, strict=True)]


def _refuse(text: bytes, stream: BinaryIO, source: str, most: int) -> NoReturn:
    """Name the first fault of a large text, from what was read of it and the rest."""
    if strange := wrong_kind(text, source, _EXPECTED):
        raise strange
    frame, is_open, size, last = 0, 0, 0, b""
    while text:
        _check_size(size := size + len(text), source, most)
        text = last + text.translate(None, _SPACE)
        if found := _STRANGE.search(text):
            frame += text.count(b"]],", 0, found.start())
            held = shown(text[max(0, found.start() - 10) : found.start() + 20].decode(errors="replace"))
            if found[0] in (b"N", b"I"):
                held += "; NaN and Infinity are not allowed: every frame needs a finite prediction"
            raise InputError(f"{source}: expected numbers alone, got at frame {frame} of its lists: {held}")
        frame += text.count(b"]],")
        is_open += text.count(b"[", len(last)) - text.count(b"]", len(last))
        last, text = text[-2:], stream.read(_BLOCK)
    if is_open > 0 or not last.endswith(b"]"):
        raise InputError(f"{source}: it ends in the middle of the text; the file is cut off, copy or write it again")
    raise InputError(
        f"{source}: the numbers of its {frame + 1} frames are not nested as points of 3 coordinates, the same number "
        f"of points in each frame of a list, at most {MAX_POINTS}"
    )


def _explain_syntax(text: bytes, source: str, error: orjson.JSONDecodeError) -> NoReturn:
    if strange := wrong_kind(text, source, _EXPECTED):
        raise strange
    if b"NaN" in text or b"Infinity" in text:
        reason = "it holds NaN or Infinity; every frame needs a finite prediction"
    elif not text.strip():
        reason = "it is empty"
    elif not text.rstrip().endswith((b"]", b"}")):
        reason = "it ends in the middle of the text; the file is cut off, copy or write it again"
    else:
        reason = str(error)
    raise InputError(f"{source}: not valid JSON: {reason}")


def _to_array(frames: object, where: str) -> np.ndarray:
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{where} must be a list with one entry per image, got {_describe(frames)}")
    for number, frame in enumerate(frames):
        if not isinstance(frame, list) or not frame:
            raise InputError(f"{where} of frame {number} must be a list of points, got {_describe(frame)}")
        if len(frame) == 3 and all(isinstance(row, list) and len(row) > 3 for row in frame):
            raise InputError(
                f"{where} of frame {number} is 3 x {len(frame[0])}, transposed; expected {len(frame[0])} points of 3 "
                "coordinates each"
            )
        for position, point in enumerate(frame):
            if not isinstance(point, list) or len(point) != 3:
                raise InputError(
                    f"{where} of frame {number}, point {position}: expected 3 coordinates, got {_describe(point)}"
                )
            for value in point:
                if not isinstance(value, int | float) or isinstance(value, bool):
                    raise InputError(
                        f"{where} of frame {number}, point {position}: expected numbers, got {_describe(value)}"
                    )
        if len(frame) != len(frames[0]):
            raise InputError(
                f"{where} of frame {number} has {len(frame)} points, frame 0 has {len(frames[0])}; all frames need "
                "the same"
            )
    return np.array(frames, dtype=np.float64)


def _describe(value: object, depth: int = 0) -> str:
    if isinstance(value, list):
        inner = f" of {_describe(value[0], depth + 1)}" if value and depth < 5 else ""
        return f"a list of length {len(value)}{inner}"
    if isinstance(value, dict):
        return f"an object with the keys {shown(', '.join(sorted(value)))}"
    return f"{type(value).__name__} {shown(value, 40)}"
