"""What ``pack.json`` says, checked before anything of it is used: it may come from a stranger."""

import math
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.geometry.crops import SquareRule
from handlit.reading import parse_json, shown
from handlit.skeleton import TipConvention

#: Goes up when the files of a packed dataset get another meaning.
FORMAT = 1
#: Bytes of a manifest, and of one file of a pack; those of HO-3D have 30 kB, 30 MB and 300 MB.
MAX_MANIFEST_BYTES, MAX_FILE_BYTES = 8 << 20, 64 << 30
SPLITS = ("train", "val", "test", "predict")
#: Files that every pack has beside those of its splits.
MEMBERS, REGIONS = "labels/members.npy", "labels/regions.npy"
#: Checksums of every image and its masks, by which they can be fetched one by one; packs of earlier versions lack it.
DIGESTS = "labels/digests.npy"
#: Columns that every table has.
REQUIRED_COLUMNS = ("keys", "images", "image_sizes", "intrinsics", "boxes")
_COLUMN = "|".join(item.name for item in fields(FrameTable))
_LABEL = rf"members|regions|digests|{'|'.join(SPLITS)}|table\d/({_COLUMN})"
#: All names that files of a pack have: none leads out of its folder.
_FILE = re.compile(rf"images/\d{{5,9}}\.tar|labels/({_LABEL})\.npy")


def shard_file(shard: int) -> str:
    """Name of a chunk, relative to the packed dataset's root."""
    return f"images/{shard:05d}.tar"


def rows_file(split: str) -> str:
    """Name of the positions of a split's samples in its table."""
    return f"labels/{split}.npy"


def column_file(table: int, column: str) -> str:
    """Name of a column of a table."""
    return f"labels/table{table}/{column}.npy"


def read_manifest(content: bytes, where: Path | str) -> dict[str, Any]:
    """Decode and check a manifest.

    Args:
        content: Of the file.
        where: The file, for messages.

    Returns:
        The manifest; every key that is used is there and of the right type, and ``files`` holds what every pack has.

    Raises:
        InputError: It is damaged, of another format, or says what no pack says.
    """
    try:
        manifest = parse_json(content, where, "the manifest of a packed dataset")
    except InputError as error:
        raise InputError(f"{error}; where it is damaged, copy it again, or pack the dataset again") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{where} is damaged: it holds {_shown(manifest)}; pack the dataset again")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{where}: packed in format {_shown(manifest.get('format'))}, this version of handlit reads {FORMAT}: "
            "pack the dataset again"
        )
    for key, (expected, fits) in _KEYS.items():
        if key not in manifest or not fits(manifest[key]):
            raise InputError(
                f"{where} is damaged: {key} is {_shown(manifest.get(key))}, expected {expected}; copy it again, or "
                "pack the dataset again"
            )
    for name, entry in manifest["files"].items():
        if not _FILE.fullmatch(name):
            raise InputError(f"{where} names a file that no pack has, '{shown(name)}': do not use this pack")
        if not _is_file(entry):
            raise InputError(f"{where} is damaged: {name} has no bytes and sha256; pack the dataset again")
    missing = [name for name in _needed(manifest["splits"]) if name not in manifest["files"]]
    if missing:
        raise InputError(f"{where} is damaged: {missing[0]} is not among its files; pack the dataset again")
    return manifest


def _needed(splits: dict[str, Any]) -> list[str]:
    columns = [column_file(entry["table"], name) for entry in splits.values() for name in REQUIRED_COLUMNS]
    return [MEMBERS, REGIONS, *map(rows_file, splits), *columns]


def _shown(value: Any) -> str:
    """A value for a message; not what a nested one holds."""
    return shown(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_file(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and _is_count(entry.get("bytes"), MAX_FILE_BYTES)
        and isinstance(entry.get("sha256"), str)
        and re.fullmatch("[0-9a-f]{64}", entry["sha256"]) is not None
    )


def _is_reach(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"sides", "pixels"}
        and all(type(side) in (int, float) and 0 <= side < math.inf for side in value.values())
    )


def _are_splits(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= set(SPLITS)
        and all(isinstance(entry, dict) for entry in value.values())
        and all(_is_count(entry.get("table"), 9) for entry in value.values())
        and all(_is_count(entry.get("samples"), MAX_FILE_BYTES) for entry in value.values())
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


#: What the keys hold that are used: in words, and whether a value is that.
_KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "identity": ("32 hexadecimal digits", lambda value: _is_text(value) and bool(re.fullmatch("[0-9a-f]{32}", value))),
    "crop": ("a rule of crops", lambda value: value in get_args(SquareRule)),
    "reach": ("sides and pixels, not negative", _is_reach),
    "augmentation": ("a text", _is_text),
    "tips": ("a convention of finger tips", lambda value: value in get_args(TipConvention)),
    "protocol": ("a benchmark's name or null", lambda value: value is None or _is_text(value)),
    "box_source": ("a text", _is_text),
    "skipped": ("a list", lambda value: isinstance(value, list)),
    "splits": (f"table and samples of {', '.join(SPLITS)}", _are_splits),
    "files": ("bytes and sha256 of each file", lambda value: isinstance(value, dict)),
}
