"""Results of a session on the disk: resumed, and written whole after each piece."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from handlit.errors import InputError
from handlit.files import write_text
from scripts.benchmarks.measure import Figure
from scripts.gpu_session.piece import Outcome, Piece


class Record:
    """The results of a folder.

    Args:
        folder: Of ``results.json`` and ``results.md``.
        machine: What figures are measured on: facts by name, among them ``device``.

    Raises:
        InputError: There are results of another device, or a file that is none.
    """

    def __init__(self, folder: Path, machine: Mapping[str, str]) -> None:
        self.folder = folder
        self.machine = dict(machine)
        self.outcomes: dict[str, Outcome] = {}
        if (folder / "results.json").exists():
            self._resume(folder / "results.json")

    def add(self, name: str, outcome: Outcome, pieces: Mapping[str, Piece]) -> None:
        """Keep what became of a piece, and write everything."""
        outcome.commit = self.machine["commit"]
        self.outcomes[name] = outcome
        result = {"machine": self.machine, "pieces": {key: asdict(value) for key, value in self.outcomes.items()}}
        write_text(self.folder / "results.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
        write_text(self.folder / "results.md", "\n".join(self._page(pieces)) + "\n")

    def _resume(self, path: Path) -> None:
        try:
            written: dict[str, Any] = json.loads(path.read_text())
            device: str = written["machine"]["device"]
            for name, outcome in written["pieces"].items():
                figures = [Figure(**figure) for figure in outcome.pop("figures")]
                self.outcomes[name] = Outcome(**outcome, figures=figures)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} holds no results of this script: move it away, or give another --out") from error
        if device != self.machine["device"]:
            raise InputError(
                f"{path} holds results of {device}, and this is {self.machine['device']}: give another --out"
            )

    def _page(self, pieces: Mapping[str, Piece]) -> Iterator[str]:
        yield f"# GPU session on {self.machine['device']}\n"
        yield ", ".join(f"{key} {value}" for key, value in self.machine.items()) + "\n"
        yield "| piece | | seconds |\n|---|---|---|"
        for name, piece in pieces.items():
            if name in self.outcomes:
                outcome = self.outcomes[name]
                status = f"{outcome.status}: {outcome.message}" if outcome.message else outcome.status
                yield f"| {name}: {piece.title} | {_cell(status)} | {outcome.seconds:.0f} |"
        for name, outcome in self.outcomes.items():
            if outcome.figures or outcome.notes:
                yield f"\n## {name}\n"
                yield from (f"- {note}" for note in [*outcome.notes, ""] if outcome.notes)
            if outcome.figures:
                yield "| | |\n|---|---|"
                yield from (f"| {_cell(row.name)} | {row.value:.4g} {row.unit} |" for row in outcome.figures)


def _cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|").replace("\n", " ")
