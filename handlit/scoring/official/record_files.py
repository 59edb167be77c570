"""Record files: what one process has predicted so far, in fixed-size binary records with the run's name in front.

A file belongs to one run. What an interrupted run left behind carries another name and is never read.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from handlit.errors import InputError
from handlit.files import named
from handlit.hand.asset import NUM_VERTICES
from handlit.skeleton import NUM_JOINTS

RECORD = np.dtype([("index", "<i8"), ("joints", "<f4", (NUM_JOINTS, 3)), ("vertices", "<f4", (NUM_VERTICES, 3))])
_MAGIC = b"handlit records 1\n"
_HEADER = 96
_BLOCK = 256


class RecordWriter:
    """Appends records to a new file; whatever lies there is replaced.

    Args:
        path: The file.
        run_id: Name of the run, at most 64 characters.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        header = _header(run_id)
        #: Whether an earlier run had left records here.
        self.replaced = path.exists()
        self._file = path.open("wb")
        self._file.write(header)
        self._file.flush()

    def append(self, records: np.ndarray) -> None:
        """Add (B,) records of type `RECORD`."""
        with named(Path(self._file.name)):
            self._file.write(records.tobytes())

    def close(self) -> None:
        """End the file; closing twice is fine."""
        with named(Path(self._file.name)):
            self._file.close()


class RecordReader:
    """Reads the record files of all processes of a run, a few records at a time.

    Args:
        paths: One file a process.
        run_id: Name of the run.

    Raises:
        InputError: A file is missing, unfinished or of another run.
    """

    def __init__(self, paths: list[Path], run_id: str) -> None:
        self._files: list[BinaryIO] = []
        counts = []
        try:
            for process, path in enumerate(paths):
                if not path.exists():
                    raise InputError(
                        f"process {process} of {len(paths)} wrote no predictions to {path}; all processes must see the "
                        "same folder and close their writer before one finalises"
                    )
                file = path.open("rb")
                self._files.append(file)
                if file.read(_HEADER) != _header(run_id):
                    raise InputError(
                        f"{path} holds predictions of another run; process {process} of {len(paths)} of this run has "
                        "not written there: predict again, and only one run at a time into one file"
                    )
                size = path.stat().st_size - _HEADER
                if size % RECORD.itemsize:
                    raise InputError(f"{path} ends within a record; process {process} has not closed its writer")
                counts.append(size // RECORD.itemsize)
        except InputError:
            self.close()
            raise
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def indices(self) -> np.ndarray:
        """(N,) position in the dataset of every record, process by process."""
        indices = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(self)))
            indices[rows] = self.gather(rows)["index"]
        return indices

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """(K,) records at the given positions, in the order given."""
        records = np.empty(len(rows), dtype=RECORD)
        view = records.view(np.uint8).reshape(len(rows), RECORD.itemsize)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for target, row, owner in zip(view, rows, owners, strict=True):
            file = self._files[owner]
            file.seek(_HEADER + (int(row) - int(self._starts[owner])) * RECORD.itemsize)
            file.readinto(target)
        return records

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def _header(run_id: str) -> bytes:
    name = run_id.encode()
    if not 0 < len(name) <= 64:
        raise ValueError(f"a run's name has 1 to 64 characters, got {len(name)}")
    return (_MAGIC + name).ljust(_HEADER, b"\0")
