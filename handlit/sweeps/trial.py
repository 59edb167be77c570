"""A trial of a sweep as tables show it, and the numbers that its run has logged."""

import csv
import json
import math
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

    Args:
        run: Folder of the run.
        name: Of the measure, such as ``val/pa_mpjpe_mm``.
    """
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
