"""What is read from an open chunk is what was there when it was opened, or refused."""

import os
from pathlib import Path

import pytest

from handlit.data.packing.open_file import OpenFile
from handlit.errors import InputError


def test_parts_are_read_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    path.write_bytes(bytes(range(100)))
    file = OpenFile(path, 100)
    assert file.read(10, 5) == bytes(range(10, 15))
    with path.open("r+b") as writer:
        writer.write(b"other")
    # on coarse clocks of file systems the moment may be the same
    os.utime(path, ns=(0, 1))
    with pytest.raises(InputError, match=r"00000\.tar changed while it was read"):
        file.read(10, 5)


def test_another_size_is_refused_and_a_replaced_file_is_still_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    path.write_bytes(b"first")
    with pytest.raises(InputError, match="has 5 bytes, 6 were packed"):
        OpenFile(path, 6)
    file = OpenFile(path, 5)
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)
    assert file.read(0, 5) == b"first"
    os.truncate(path, 0)
    assert file.read(0, 5) == b"first"
