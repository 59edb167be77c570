"""What a verification found: counts, measures and findings, as JSON, as text and on the console."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handlit.errors import InputError
from handlit.files import write_text
from handlit.findings import Finding
from handlit.reading import shown

#: A problem makes the verification fail, a note does not.
Severity = Literal["problem", "note"]
#: What the report calls the severities of findings.
_WORDS: dict[str, Severity] = {"error": "problem", "warning": "note"}

#: How many of the frames or files that a finding is about are named.
MAX_EXAMPLES = 10
#: Characters of an example.
MAX_LENGTH = 1000


@dataclass
class Report:
    """The result of `verify`.

    Attributes:
        root: The dataset's folder.
        dataset: What it was recognised as.
        hand: The hand model that meshes were computed with.
        mode: ``"full"`` if every image was decoded, otherwise ``"sample"``.
        counts: For each split, how many frames are listed, present, missing and so on.
        measures: For each split, figures of its labels; units are in their names.
        findings: In the order in which they were found.
        lacks: What is not there that a command needs, ``"fit"`` to ``"predict"``: "" for nothing; commands that are
            not named were not looked at.
        seconds: How long it took.
    """

    root: str
    dataset: str
    hand: str
    mode: Literal["sample", "full"]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    lacks: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def problems(self) -> list[Finding]:
        """What makes the verification fail."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def add(
        self, name: str, split: str, message: str, items: Sequence[str] = ("",), severity: Severity = "problem"
    ) -> None:
        """Add a finding about these items; nothing if there are none."""
        if items:
            # names of files may hold anything
            examples = tuple(shown(item, MAX_LENGTH) for item in items[:MAX_EXAMPLES] if item)
            level: Literal["error", "warning"] = "error" if severity == "problem" else "warning"
            self.findings.append(
                Finding(name, level, shown(message, MAX_LENGTH), split=split, count=len(items), examples=examples)
            )

    def to_json(self) -> str:
        """The whole report; numbers as they are, names of frames and files cut to the first ones."""
        findings = [
            {
                "kind": finding.name,
                "split": finding.split,
                "message": finding.message,
                "severity": _WORDS[finding.severity],
                "count": finding.count,
                "examples": finding.examples,
            }
            for finding in self.findings
        ]
        return json.dumps({"problems": len(self.problems), **asdict(self), "findings": findings}, indent=2)

    def print(self, console: Console) -> None:
        """Print counts, measures and findings as tables."""
        console.print(
            f"[bold]{escape(self.root)}[/bold]: {self.dataset}; hand model: {escape(self.hand)}; images: "
            f"{'all' if self.mode == 'full' else 'a sample'}; {self.seconds:.1f} s"
        )
        for title, columns in (("frames and files", self.counts), ("labels", self.measures)):
            _print_columns(console, title, {split: dict(values) for split, values in columns.items() if values})
        for severity, colour in (("warning", "cyan"), ("error", "red")):
            for finding in (item for item in self.findings if item.severity == severity):
                where = f"{finding.split}: " if finding.split else ""
                number = f" ({finding.count})" if finding.count > 1 else ""
                console.print(
                    f"[{colour}]{_WORDS[severity]}[/{colour}] {escape(where)}[bold]{finding.name}[/bold]{number}: "
                    f"{escape(finding.message)}"
                )
                for example in finding.examples:
                    console.print(f"    {escape(example)}")
                left_out = finding.count - len(finding.examples)
                if finding.examples and left_out > 0:
                    console.print(f"    and {left_out} more")
        verdict = f"[red]{len(self.problems)} problems[/red]" if self.problems else "[green]no problems[/green]"
        complete = ", ".join(command for command, lack in self.lacks.items() if not lack)
        if complete and not self.problems:
            verdict += f"; {complete}: nothing is missing"
        console.print(verdict)
        for command, lack in self.lacks.items():
            if lack:
                console.print(f"[yellow]{command} will not run[/yellow]: {escape(lack)}")

    def write(self, path: Path) -> Path:
        """Write the report as JSON, and as text beside it.

        Args:
            path: Of the JSON file, ``NAME.json``.

        Returns:
            The text file, ``NAME.txt``.

        Raises:
            InputError: The name does not end in ``.json``.
        """
        if path.suffix != ".json":
            raise InputError(f"the report {path} must be named NAME.json; its text is written beside it as NAME.txt")
        text, printed = path.with_suffix(".txt"), io.StringIO()
        self.print(Console(file=printed, width=120))
        write_text(text, printed.getvalue())
        # the JSON appears last: who waits for it finds both
        write_text(path, self.to_json() + "\n")
        return text


def _print_columns(console: Console, title: str, columns: dict[str, dict[str, float]]) -> None:
    if not columns:
        return
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    table.add_column("")
    for split in columns:
        table.add_column(escape(split), justify="right")
    names = dict.fromkeys(name for values in columns.values() for name in values)
    for name in names:
        table.add_row(name, *(_figure(values.get(name)) for values in columns.values()))
    console.print(table)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
