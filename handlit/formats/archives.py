"""Opens single members of zip archives from strangers, npz files among them, without unpacking anything to disk."""

import lzma
import os
import pickletools
import struct
import zipfile
import zlib
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from handlit.errors import InputError
from handlit.reading import shown, wrong_kind

#: What the standard library raises for damaged archives, by what is damaged.
DAMAGE = (
    zipfile.BadZipFile,
    lzma.LZMAError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
)

#: A submission for the largest benchmark with 17 digits a number has about 0.6 GB, one of ten times its images 5.9 GB.
MAX_BYTES = 8 * 1024**3
#: Bytes of an archive's list of files: 60,000 of them.
MAX_DIRECTORY = 1 << 22
#: An end of an archive with the longest comment, and what stands before it with 64-bit sizes.
_LONGEST_END = 22 + 0xFFFF + 20
#: Bytes to which a member may unpack that is more than `MAX_RATIO` times its packed size. One hand for all images packs
#: to a part in 130, one number to a part in 1,000.
MAX_UNIFORM, MAX_RATIO = 1 << 27, 400
#: Steps of the pickle in a file of torch's.
MAX_STEPS = 1_000_000
#: Bytes of the arrays in a file; a table of hypotheses of the largest benchmark has 60 MB.
MAX_ARRAYS = 1 << 28


def list_members(path: Path) -> list[str]:
    """Names of the files in an archive, folders left out.

    Raises:
        InputError: The archive cannot be read, or lists more than any submission or dataset has.
    """
    if (size := _directory_size(path)) > MAX_DIRECTORY:
        raise InputError(f"{path}: the archive's list of files has {size / 2**20:.0f} MB, far too much: write it again")
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except DAMAGE as error:
        with path.open("rb") as file:
            kind = wrong_kind(file.read(512), path, "a zip archive", ("a zip archive",))
        raise kind or InputError(
            f"{path}: not a readable zip archive ({error}); it may be cut off, copy it again"
        ) from error


def check_torch_file(path: Path) -> None:
    """Refuse a file that `torch.save` does not write, or whose pickle would take too long to read.

    An archive that does not hold its files as they are may unpack to any size. torch reads pickles step by step in
    Python; a network of the largest has 100,000 steps with the state of its optimiser.

    Raises:
        ValueError: It is such a file; or, as one of `DAMAGE`, it is damaged.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            # before zip archives: three numbers of the format, then the content
            _check_steps(file, pickles=4)
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        packed = any(info.compress_type for info in members)
        if packed or sum(info.file_size for info in members) > path.stat().st_size:
            raise ValueError("it is a packed archive, which torch does not write")
        for info in members:
            if info.filename.endswith("/data.pkl"):
                with archive.open(info) as file:
                    _check_steps(file, pickles=1)


def _check_steps(file: IO[bytes], pickles: int) -> None:
    steps = (step for _ in range(pickles) for step in pickletools.genops(file))
    if next(islice(steps, MAX_STEPS, None), None) is not None:
        raise ValueError(f"its pickle has more than {MAX_STEPS} steps")


def _directory_size(path: Path) -> int:
    """Bytes of an archive's list of files; 0 where it has none."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - _LONGEST_END))
        tail = file.read()
        end = tail.rfind(b"PK\5\6")
        if tail[max(0, end - 20) : end][:4] != b"PK\6\7":
            return int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
        # the size in an archive with 64-bit sizes
        file.seek(min(length, int.from_bytes(tail[end - 12 : end - 4], "little")))
        return int.from_bytes(file.read(48)[40:], "little")


def open_member(path: Path, member: str) -> BinaryIO:
    """Open one member for reading.

    Damage inside the member shows while reading and is reported by `read_point_lists`.

    Raises:
        InputError: The member is encrypted, too large to be what it claims, or packed in an unknown way.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.flag_bits & 1:
            raise InputError(f"{path}: {member} is encrypted; write the archive without a password")
        if info.file_size > MAX_BYTES:
            raise InputError(
                f"{path}: {member} unpacks to {info.file_size / 1024**3:.1f} GB, more than the "
                f"{MAX_BYTES / 1024**3:.0f} GB that any submission needs"
            )
        ratio = info.file_size / max(info.compress_size, 1)
        if info.file_size > MAX_UNIFORM and ratio > MAX_RATIO:
            raise InputError(
                f"{path}: {member} unpacks to {info.file_size / 1e6:.0f} MB, {ratio:.0f} times its size, so it repeats "
                "one number again and again: write the network's predictions"
            )
        try:
            # The open member keeps the archive's file open after the archive object is closed.
            return cast(BinaryIO, archive.open(info))
        except DAMAGE as error:
            raise InputError(f"{path}: {member} cannot be unpacked ({error}); use the deflate method") from error


def read_arrays(path: Path, expected: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file by their names.

    Args:
        path: The file.
        expected: What it should be, for messages, e.g. ``"a table of hypotheses"``.

    Raises:
        InputError: It is damaged, holds other things than arrays of numbers and texts, or more than `MAX_ARRAYS`.
    """
    try:
        list_members(path)
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MAX_ARRAYS:
            raise InputError(f"{path} unpacks to {size / 1e6:.0f} MB, too much for {expected}: write it again")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except InputError:
        raise
    except (*DAMAGE, KeyError, MemoryError) as error:
        raise InputError(f"{path} is not {expected} ({shown(error, 200)}): write it again") from error
    if wrong := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise InputError(f"{path} is not {expected} ({shown(wrong[0])} is no array): write it again")
    return arrays
