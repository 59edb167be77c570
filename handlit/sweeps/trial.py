"""One trial of a local sweep and its file."""

import csv
import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from handlit.errors import InputError
from handlit.run_folder import RunFolder


@dataclass
class Trial:
    """What is known of a trial; ``trial.json`` in its folder.

    Attributes:
        number: Counted from 1.
        parameters: Value of each setting.
        status: ``running`` also says, of a sweep that was killed, that the trial has to be run again. ``stopped`` was
            it early, because others were better.
        value: Best logged value of the metric; None without one.
        seconds: How long it ran.
        error: Last line of its log if it failed.
        drawn: What Optuna drew for each setting; empty in a grid.
    """

    number: int
    parameters: dict[str, Any]
    status: Literal["running", "finished", "stopped", "failed"] = "running"
    value: float | None = None
    seconds: float = 0.0
    error: str = ""
    drawn: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``trial.json`` whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / "trial.json.part"
        draft.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        os.replace(draft, folder / "trial.json")

    @classmethod
    def load(cls, folder: Path) -> "Trial":
        """Read ``trial.json``.

        Raises:
            InputError: It cannot be read.
        """
        path = folder / "trial.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is no file of a trial ({error}): remove {folder}, and the trial runs again"
            ) from error


def values_of(run: Path, name: str) -> list[float]:
    """The finite values that a run logged of a number, in order: of ``metrics.csv``, else of ``test.json``."""
    files = RunFolder(run)
    logged, tested = files.metrics, files.test_numbers
    values: list[float] = []
    if logged.is_file():
        # what a running trial has written only half of is left out
        whole, _, _ = logged.read_text(encoding="utf-8").rpartition("\n")
        values = [float(row[name]) for row in csv.DictReader(whole.splitlines()) if row.get(name)]
    elif tested.is_file():
        numbers = json.loads(tested.read_text(encoding="utf-8"))
        values = [numbers[name]] if name in numbers else []
    return [value for value in values if math.isfinite(value)]
