"""``metrics.csv``: a log that a resumed run continues."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.csv_logs import _ExperimentWriter
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from typing_extensions import override

from handlit.errors import InputError, one_line
from handlit.files import whole


class _AppendingWriter(ExperimentWriter):
    """Appends to an existing file, which the base class deletes, and adds columns without ever leaving half of it."""

    @override
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.exists():
            self.metrics_keys = _read(path)[0]

    @override
    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        header, rows = _read(path)
        try:
            _write(path, fieldnames, rows)
        except OSError:
            # the next attempt adds the columns again
            self.metrics_keys = header
            raise


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a log.

    Raises:
        InputError: It is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            header = list(reader.fieldnames or [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({one_line(error)}): move it away") from error
    if header and "step" not in header:
        raise InputError(f"{path} has no column 'step', so it is no log of a run: move it away")
    # what a line has more, or less, than the header
    return header, [{name: row.get(name) or "" for name in header} for row in rows]


def _write(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


class ResumableCSVLogger(CSVLogger):
    """``metrics.csv`` of a run; a resumed run continues the same file.

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="")

    @property
    @rank_zero_experiment
    @override
    def experiment(self) -> _ExperimentWriter:
        if self._experiment is None:
            self._experiment = _AppendingWriter(self.log_dir)
        return self._experiment

    def rewind(self, step: int) -> None:
        """Drop what a process that was killed logged after its last saved state: at this optimiser step or later."""
        path = Path(self.experiment.metrics_file_path)
        if not path.is_file():
            return
        header, rows = _read(path)
        rows = [row for row in rows if row["step"].isdecimal() and int(row["step"]) < step]
        if not rows:
            path.unlink()
            self.experiment.metrics_keys = []
            return
        _write(path, header, rows)
