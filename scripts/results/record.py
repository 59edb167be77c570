"""``docs/results.json``: every figure of every run, and the means over seeds, from which the page is rendered."""

import fcntl
import json
import math
import os
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handlit.errors import InputError
from handlit.files import write_text
from handlit.reading import read_json
from scripts.results.measuring import Figures

#: Levels of the file that have a line for each entry.
_OPEN_LEVELS = 2
#: What the file holds, beside what follows from it.
_PARTS = ("data", "runs", "facts", "failed")


class Record:
    """The figures of a file, which need not exist.

    Args:
        path: The file.

    Attributes:
        data: What the images are.
        runs: By method (after calibration with ``+calibrated``) and seed the figures.
        facts: By method and seed how they were measured: cores, threads, minutes.
        failed: By method and seed why there are none.

    Raises:
        InputError: It is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        self.runs: dict[str, dict[str, Figures]] = {}
        self.facts: dict[str, dict[str, dict[str, Any]]] = {}
        self.failed: dict[str, dict[str, str]] = {}
        self._read()

    def claim(self, data: Mapping[str, object]) -> None:
        """Refuse to add figures on other images than those of the file.

        Raises:
            InputError: They are others.
        """
        if self.runs and self.data != data:
            raise InputError(
                f"{self.path} holds figures on other images ({self.data}) than today's ({dict(data)}), which must not "
                "be mixed: move it away"
            )

    def has(self, name: str, seed: int) -> bool:
        """Whether a method's run is measured."""
        return str(seed) in self.runs.get(name, {})

    def add(self, data: Mapping[str, object], name: str, seed: int, figures: Figures) -> None:
        """Keep the figures of a run, and write the file."""
        with self._updated(data):
            self.runs.setdefault(name, {})[str(seed)] = figures
            self._forget_failure(name, seed)

    def add_facts(
        self,
        data: Mapping[str, object],
        name: str,
        seed: int,
        facts: Mapping[str, object],
        minutes: Mapping[str, float],
    ) -> None:
        """Keep how a run was measured, and write the file; minutes of what an earlier sitting did stay."""
        with self._updated(data):
            of_method = self.facts.setdefault(name, {})
            earlier = of_method.get(str(seed), {}).get("minutes", {})
            of_method[str(seed)] = {**facts, "minutes": {**earlier, **minutes}}

    def add_failure(self, data: Mapping[str, object], name: str, seed: int, message: str) -> None:
        """Keep why there are no figures of a run, and write the file."""
        with self._updated(data):
            self._forget_failure(name, seed)
            self.failed.setdefault(name, {})[str(seed)] = message

    def table(self) -> dict[str, dict[str, list[float | None]]]:
        """By method and measure mean and standard deviation over the seeds (None for one seed)."""
        return {name: _means(list(seeds.values())) for name, seeds in self.runs.items()}

    def _forget_failure(self, name: str, seed: int) -> None:
        self.failed.get(name, {}).pop(str(seed), None)
        if not self.failed.get(name, True):
            del self.failed[name]

    @contextmanager
    def _updated(self, data: Mapping[str, object]) -> Iterator[None]:
        """Read again what another sitting may have written, change it in the block, and write it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self._read()
            self.claim(data)
            yield
            self.data = dict(data)
            content = {"table": self.table()} | {part: getattr(self, part) for part in _PARTS}
            write_text(self.path, "\n".join(_lines(content)) + "\n")
        finally:
            os.close(folder)

    def _read(self) -> None:
        if not self.path.exists():
            return
        content = read_json(self.path, "figures of this script")
        try:
            parts = {part: dict(content[part]) for part in _PARTS}
            numbers = [value for seeds in parts["runs"].values() for run in seeds.values() for value in run.values()]
            fits = all(isinstance(value, int | float) and math.isfinite(value) for value in numbers)
        except (KeyError, TypeError, AttributeError, ValueError):
            fits = False
        if not fits:
            raise InputError(f"{self.path} holds no figures of this script: move it away")
        for part, entries in parts.items():
            setattr(self, part, entries)


def _means(runs: list[Figures]) -> dict[str, list[float | None]]:
    """Of the measures that all runs have."""
    table: dict[str, list[float | None]] = {}
    for key in runs[0]:
        values = [run[key] for run in runs if key in run]
        if len(values) < len(runs):
            continue
        deviation = statistics.stdev(values) if len(values) > 1 else None
        table[key] = [_rounded(statistics.fmean(values)), None if deviation is None else _rounded(deviation)]
    return table


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _lines(content: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """JSON with a line for each run, so that a change of the file shows which."""
    yield "{"
    for number, (key, value) in enumerate(content.items(), start=1):
        comma = "," if number < len(content) else ""
        start = f"{' ' * (depth + 1)}{json.dumps(key)}: "
        if depth < _OPEN_LEVELS and isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
            first, *middle, last = _lines(value, depth + 1)
            yield start + first
            yield from middle
            yield last + comma
        else:
            yield start + json.dumps(value, allow_nan=False) + comma
    yield " " * depth + "}"
