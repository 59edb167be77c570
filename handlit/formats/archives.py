"""Opens single members of zip archives from strangers, without unpacking anything to disk."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from handlit.errors import InputError
from handlit.formats.point_lists import MAX_BYTES

#: What the standard library raises for damaged archives, by what is damaged.
DAMAGE = (
    zipfile.BadZipFile,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
)


def list_members(path: Path) -> list[str]:
    """Names of the files in an archive, folders left out.

    Raises:
        InputError: The archive cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except DAMAGE as error:
        raise InputError(f"{path}: not a readable zip archive ({error}); it may be cut off, copy it again") from error


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
        try:
            # The open member keeps the archive's file open after the archive object is closed.
            return cast(BinaryIO, archive.open(info))
        except DAMAGE as error:
            raise InputError(f"{path}: {member} cannot be unpacked ({error}); use the deflate method") from error
