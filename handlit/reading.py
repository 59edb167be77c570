"""Reading files from strangers: what a file is by its first bytes, its content up to a limit, its text and its JSON."""

import codecs
import os
import reprlib
from pathlib import Path
from typing import Any

import orjson

from handlit.errors import InputError
from handlit.files import open_regular

#: Bytes; more than any JSON of a dataset that is read at once has (FreiHAND's largest one has 43 MB).
MAX_TEXT = 1 << 27
#: Bytes; eight times what the longest list of frames has.
MAX_LIST = 1 << 23
#: Bytes that the values of a JSON may take: three times those of FreiHAND's largest one.
MAX_VALUES = 640 << 20
#: About what a value, a list, an object and a text take, by the sign that there is one of for each; a text has two.
_COSTS = ((b",", 56), (b"[", 90), (b"{", 200), (b'"', 16))

_CONVERT = "convert it to JPEG or PNG"
_UNPACK = "unpack it first"
_SAVE = "save it as UTF-8"
#: What a file is and what to do about it, by the bytes at a position.
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x93NUMPY", "a single NumPy array (npy)", "give the original file"),
    (0, b"\x89PNG", "a PNG image", ""),
    (0, b"\xff\xd8\xff", "a JPEG image", ""),
    (0, b"GIF8", "a GIF image", _CONVERT),
    (8, b"WEBP", "a WebP image", _CONVERT),
    (0, b"II*\0", "a TIFF or raw image", _CONVERT),
    (0, b"MM\0*", "a TIFF or raw image", _CONVERT),
    (4, b"ftypavi", "an AVIF image", _CONVERT),
    *((4, b"ftyp" + brand, "a HEIC image", _CONVERT) for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    (4, b"ftyp", "a video", "take single images from it"),
    (8, b"AVI ", "a video", "take single images from it"),
    (0, b"%PDF", "a PDF document", "give the file itself"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with `git lfs pull`"),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x89HDF", "an HDF5 file", "give the original file"),
    (0, b"MATLAB 5.0", "a MATLAB file", "give the original file"),
    (0, b"\0\5\x16\7", "a side file of macOS (its name starts with ._)", "give the file of the same name without ._"),
    (0, codecs.BOM_UTF8, "UTF-8 text with a byte-order mark", "save it as UTF-8 without one (BOM)"),
    (0, codecs.BOM_UTF16_LE, "UTF-16 text", _SAVE),
    (0, codecs.BOM_UTF16_BE, "UTF-16 text", _SAVE),
    *((0, bytes((0x80, protocol)), "a Python pickle", "give the original file") for protocol in (2, 3, 4, 5)),
)


def wrong_kind(content: bytes, source: Path | str, expected: str, fitting: tuple[str, ...] = ()) -> InputError | None:
    """The error for a file that could not be read because it is another kind of file.

    Args:
        content: The file's content, or its first 512 bytes.
        source: Name of the file, for the message.
        expected: What was expected, e.g. ``"a MANO pickle"``.
        fitting: Kinds that are right, e.g. ``("a PNG image",)``: the file is then damaged, not of another kind.

    Returns:
        The error, to be raised; None where the first bytes tell nothing.
    """
    name, advice = _kind(content[:512])
    if not name or name in fitting:
        return None
    return InputError(f"{source} is {name}, expected {expected}{': ' if advice else ''}{advice}")


def _kind(head: bytes) -> tuple[str, str]:
    if head[:4] == b"PK\3\4":
        member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        if member.endswith(b".npy"):
            return "an npz archive of NumPy arrays", "give the original file"
        if member.endswith(b"/data.pkl"):
            return "a PyTorch checkpoint", "give the original file"
        return "a zip archive", _UNPACK
    for position, magic, name, advice in _MAGIC:
        if head[position : position + len(magic)] == magic:
            return name, advice
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page", "the download may have asked to sign in; download it again in a browser"
    if len(head) > 64 and not head.strip(b"\0"):
        return "nothing but zeros", "a download that has not ended; download it again"
    if len(head) > 3 and head[1:4:2] == b"\0\0" and all(head[:3:2]):
        return "UTF-16 text", _SAVE
    return "", ""


def shown(value: object, length: int = 60) -> str:
    """A value from a file for a message: on one line, without control characters, cut to `length` characters."""
    text = str(value) if isinstance(value, str | Exception) else reprlib.repr(value)
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:length])
    return line + "..." * (len(text) > length)


def read_bytes(path: Path, limit: int, expected: str) -> bytes:
    """The content of a file that has at most `limit` bytes.

    Raises:
        InputError: It is larger than what is `expected`, e.g. ``"a list of frames"``, can be.
    """
    with open_regular(path) as file:
        content = b"" if (large := os.fstat(file.fileno()).st_size > limit) else file.read(limit + 1)
    if large or len(content) > limit:
        raise InputError(f"{path} has more than {limit / 1e6:.0f} MB, too much for {expected}: give the right file")
    return content


def read_text(path: Path, expected: str = "a text file") -> str:
    """The text of a file as any tool writes it: UTF-8 with or without a byte-order mark, or UTF-16 with one.

    Raises:
        InputError: It is no text, or larger than `MAX_LIST`.
    """
    return decode_text(read_bytes(path, MAX_LIST, expected), path, expected)


def decode_text(content: bytes, source: Path | str, expected: str = "a text file") -> str:
    """The text in the content of a file; arguments and errors as for `read_text` and `wrong_kind`."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{source}, byte {error.start}: {expected} in UTF-8 is expected there: {_SAVE}"
        raise wrong_kind(content, source, expected) or InputError(message) from error
    # UTF-16 without its mark may be UTF-8, too
    if "\0" in text and (strange := wrong_kind(content, source, expected)):
        raise strange
    return text


def read_json(path: Path, expected: str = "a JSON file") -> Any:
    """The value of a JSON file; `parse_json` of `read_bytes`."""
    return parse_json(read_bytes(path, MAX_TEXT, expected), path, expected)


def parse_json(content: bytes, source: Path | str, expected: str = "a JSON file") -> Any:
    """The value of JSON as any tool writes it; arguments as for `wrong_kind`.

    Raises:
        InputError: It is not JSON, and the message says where, or what it is; or its values need too much memory.
    """
    cost = sum(content.count(sign) * each for sign, each in _COSTS)
    if cost > MAX_VALUES:
        raise InputError(f"{source} needs about {cost / 1e6:.0f} MB, too much for {expected}: give the right file")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as first:
        error = first
    text = decode_text(content, source, expected)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as second:
        error = second
    if not text.strip():
        reason = f"it is empty, expected {expected}"
    elif not text.rstrip().endswith(("]", "}")):
        reason = f"it ends in the middle, so it may be cut short: copy or unpack it again ({error})"
    else:
        reason = str(error)
    raise wrong_kind(content, source, expected) or InputError(f"{source} is not valid JSON: {reason}") from error
