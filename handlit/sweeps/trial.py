"""A trial of a sweep as tables show it, and the numbers that its run has logged."""

import csv
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from handlit.run_folder import RunFolder

#: ``running`` also says, of a sweep that ended, that the trial has to be resumed; ``stopped`` was it early, because
#: others were better.
Status = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Trial:
    """What is known of a trial.

    Attributes:
        number: Counted from 1.
        parameters: Value of each setting.
        status: See `Status`.
        value: Best logged value of the metric; None without one.
        seconds: How long it ran.
        error: Last line of its log if it failed.
    """

    number: int
    parameters: dict[str, Any]
    status: Status = "running"
    value: float | None = None
    seconds: float = 0.0
    error: str = ""


def logged_values(run: Path, name: str) -> list[float]:
    """The finite values that a run logged of a measure, in order: of ``metrics.csv``, else of ``test.json``.

    What is no number, or cannot be read, is left out: one damaged file does not end a sweep.

    Args:
        run: Folder of the run.
        name: Of the measure, such as ``val/pa_mpjpe_mm``.
    """
    files = RunFolder(run)
    logged, tested = files.metrics, files.test_numbers
    values: list[Any] = []
    with suppress(OSError, csv.Error, ValueError, RecursionError):
        if logged.is_file():
            # what a running trial has written only half of is left out
            whole, _, _ = logged.read_text(encoding="utf-8", errors="replace").rpartition("\n")
            values = [row.get(name) for row in csv.DictReader(whole.splitlines())]
        elif tested.is_file():
            numbers = json.loads(tested.read_text(encoding="utf-8"))
            values = [numbers.get(name)] if isinstance(numbers, dict) else []
    return [number for value in values if math.isfinite(number := _number(value))]


def _number(value: Any) -> float:
    """NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
