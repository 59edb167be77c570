"""The arrays of a packed dataset's labels, mapped from files and checked: they may come from a stranger."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handlit.data.packing.manifest import shard_file
from handlit.errors import InputError
from handlit.formats.frame_table import check_array, check_columns, open_array
from handlit.reading import shown

#: Columns of ``labels/members.npy``: where an image and its masks (0 bytes: none) lie.
SHARD, IMAGE, IMAGE_BYTES, MASK, MASK_BYTES = range(5)
#: Bytes of one packed image, pixels of its side, and of a box or a focal length: more than a camera gives.
MAX_MEMBER_BYTES, MAX_SIDE, MAX_PIXELS = 64 << 20, 1 << 16, 1e6


def member_digest(data: bytes) -> int:
    """Checksum of a packed image or its masks, 64 bits."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def open_checked(path: Path, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Map a ``.npy`` file read-only.

    Args:
        path: The file.
        kinds: NumPy's letters of the kinds of numbers that are right.
        shape: Of the array; None for any length.

    Raises:
        InputError: The file is damaged, or holds another array.
    """
    array = open_array(path)
    check_array(array, path, kinds, shape)
    return array


def open_columns(folder: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Map columns of a table; all have the length of ``keys``, which is one of them.

    Raises:
        InputError: One is damaged, or not the column of a `FrameTable`.
    """
    columns = {name: open_array(folder / f"{name}.npy") for name in names}
    check_columns(columns, folder)
    return columns


def check_rows(rows: np.ndarray, columns: Mapping[str, np.ndarray], where: Path) -> None:
    """Refuse a split's rows that are not in its table, or whose image has no size, camera or box.

    Raises:
        InputError: There is such a row.
    """
    if rows.size and not (rows.min() >= 0 and rows.max() < len(columns["keys"])):
        raise InputError(f"{where} names rows that its table of {len(columns['keys'])} frames does not have")
    sizes = columns["image_sizes"][rows]
    known = (sizes > 0).all(axis=1) & (sizes <= MAX_SIDE).all(axis=1)
    for name in ("intrinsics", "boxes"):
        values = columns[name][rows]
        # false for NaN, too
        known &= ((values >= -MAX_PIXELS) & (values <= MAX_PIXELS)).all(axis=tuple(range(1, values.ndim)))
    if not known.all():
        key = columns["keys"][rows[np.argmin(known)]]
        raise InputError(f"{where}: frame '{shown(key)}' has no image size, camera and box to crop by")


def check_members(members: np.ndarray, regions: np.ndarray, files: Mapping[str, Any], where: Path) -> None:
    """Refuse images that lie outside of their chunk, and kept parts that are none.

    Raises:
        InputError: There is such an image.
    """
    sizes = np.array([files.get(shard_file(k), {"bytes": -1})["bytes"] for k in range(len(files))], dtype=np.int64)
    known = (members[:, SHARD] >= 0) & (members[:, SHARD] < len(sizes))
    ends = sizes[np.where(known, members[:, SHARD], 0)]
    for start, count in ((IMAGE, IMAGE_BYTES), (MASK, MASK_BYTES)):
        known &= (members[:, start] >= 0) & (members[:, start] <= ends)
        known &= (members[:, count] >= 0) & (
            members[:, count] <= np.minimum(ends - members[:, start], MAX_MEMBER_BYTES)
        )
    known &= (regions[:, :2] >= 0).all(axis=1) & (regions[:, :2] < regions[:, 2:]).all(axis=1)
    known &= (regions[:, 2:] <= MAX_SIDE).all(axis=1)
    if not known.all():
        raise InputError(f"{where}: image {np.argmin(known)} does not lie in a chunk of this pack; pack it again")
