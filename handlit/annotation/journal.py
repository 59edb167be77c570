"""What an annotation has done so far, on disk: a list of any length that an interrupted command resumes from."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from handlit.errors import InputError
from handlit.files import whole
from handlit.formats.folder import NAMES
from handlit.reading import shown

JOURNAL = ".annotate.jsonl"


class Journal:
    """Images with their hands, file by file, in lines that are appended; at the end they become the folder's list.

    A file counts as done when its last line is there: what an interruption left of another one is taken off.

    Args:
        out: The folder.
        settings: What the lines depend on.

    Raises:
        InputError: The folder holds a list already, or what another command has begun.

    Attributes:
        done: Files that are done.
        counts: Files, images, hands of each split, and files of which something was left out.
        left_out: The first reason for leaving something out; "" for none.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.path = out, out / JOURNAL
        self.done: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.left_out = ""
        for name in NAMES:
            if (out / name).exists():
                raise InputError(f"{out / name} is there already: choose another --out, or remove it")
        out.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self.path.open("ab+")
        self._resume(json.loads(json.dumps(settings)))

    def _resume(self, settings: dict[str, Any]) -> None:
        """Read what is done, and cut the file off behind it."""
        self._file.seek(0)
        position = end = 0
        for line in self._file:
            position += len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                break
            if "settings" in entry and entry["settings"] != settings:
                self.close()
                raise InputError(
                    f"{self.path} is of a command with other inputs or settings: give those again, or another --out"
                )
            if "image" not in entry:
                end = position
                self._count(entry)
        self._file.truncate(end)
        if end == 0:
            self._write({"settings": settings})

    def add(self, image: str, hands: list[dict[str, Any]]) -> None:
        """Add an image of the file that is being worked on."""
        self._write({"image": image, "hands": hands})

    def finish(self, file: str, counts: Mapping[str, int], left_out: str) -> None:
        """Say that a file is done, what it gave, and why something of it was left out, "" for nothing."""
        entry = {"done": file, "counts": counts, "left_out": left_out}
        self._write(entry)
        self._count(entry)

    def publish(self) -> Path:
        """Write the folder's list, and end the journal.

        Raises:
            InputError: No image has a hand.
        """
        self.close()
        if not self.counts["images"]:
            self.path.unlink()
            reason = f"; {self.left_out}" if self.left_out else ""
            raise InputError(f"no hand was found in {self.counts['files']} files{reason}")
        path = self.out / NAMES[0]
        with whole(path) as temporary, temporary.open("w", encoding="utf-8") as target, self.path.open("rb") as lines:
            separator = "{\n"
            for line in lines:
                entry = json.loads(line)
                if "image" in entry:
                    target.write(f"{separator}{json.dumps(entry['image'])}: {json.dumps(entry['hands'])}")
                    separator = ",\n"
            target.write("\n}\n")
        self.path.unlink()
        return path

    def close(self) -> None:
        """Close the file; what is done stays done."""
        self._file.close()

    def _count(self, entry: Mapping[str, Any]) -> None:
        if "done" not in entry:
            return
        self.done.add(entry["done"])
        self.counts.update({"files": 1, "incomplete": bool(entry["left_out"]), **entry["counts"]})
        if entry["left_out"] and not self.left_out:
            self.left_out = f"{shown(entry['done'], 200)}: {entry['left_out']}"

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
