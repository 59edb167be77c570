"""A chunk of a packed dataset that is open, and whether it is still what it was."""

import os
from pathlib import Path

from handlit.errors import InputError


class OpenFile:
    """Reads parts of a file by position.

    Args:
        path: The file.
        size: Bytes that it should have.

    Raises:
        InputError: It has another size.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._number = os.open(path, os.O_RDONLY)
        self._state = self._current()
        if self._state[0] != size:
            raise InputError(f"{path} changed while it was read: it has {self._state[0]} bytes, {size} were packed")

    def read(self, offset: int, count: int) -> bytes:
        """Some of its bytes.

        Raises:
            InputError: It was written to since it was opened, or is too short.
        """
        data = os.pread(self._number, count, offset)
        if len(data) < count or self._current() != self._state:
            raise InputError(f"{self.path} changed while it was read: copy it again, and start the run again")
        return data

    def _current(self) -> tuple[int, int]:
        status = os.fstat(self._number)
        return status.st_size, status.st_mtime_ns
