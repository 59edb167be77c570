"""What a check of files found: used by the linter of submissions and the verification of datasets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong.

    Attributes:
        name: What it is, one of a fixed vocabulary, e.g. ``"wrong_unit"``.
        severity: An error makes the check fail, a warning does not.
        message: What was seen, perhaps with the likely cause.
        fix: What to do about it; "" where the message says so.
        split: Where in a dataset; "" for all of it, and for a file.
        count: Number of frames, files or joints that it is about.
        examples: The first of them, each perhaps with what is wrong with it.
    """

    name: str
    severity: Literal["error", "warning"]
    message: str
    fix: str = ""
    split: str = ""
    count: int = 1
    examples: tuple[str, ...] = ()
