"""Which file's hands train, validate and test: whole files or people, never single frames."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from handlit.errors import InputError, check_number
from handlit.formats.folder_hand import FolderSplit


def person_of(path: Path, pattern: str | None) -> str:
    """Who a file shows: what a pattern finds in its path (its groups, where it has any); without a pattern the file.

    Raises:
        InputError: The pattern is none, or does not occur in the path.
    """
    if pattern is None:
        return path.as_posix()
    try:
        match = re.search(pattern, path.as_posix())
    except re.error as error:
        raise InputError(f"--person is no regular expression ({error}): {pattern!r}") from error
    if match is None:
        raise InputError(f"--person {pattern!r} does not occur in {path}: who does it show?")
    return " ".join(filter(None, match.groups())) or match[0]


def deal(people: Iterable[str], val: float, test: float) -> dict[str, FolderSplit]:
    """Give every person a split, always the same one among the same people, in an order that a checksum of them says.

    Args:
        people: Names; again and again the same ones do no harm.
        val: Share for validation; at least one of two or more.
        test: Share for testing; at least one of three or more.

    Raises:
        InputError: A share is none, or nobody is left to train on.
    """
    check_number("--val", val, least=0, below=1)
    check_number("--test", test, least=0, below=1)
    order = sorted(set(people), key=lambda name: hashlib.blake2b(name.encode("utf-8", "surrogatepass")).digest())
    num_val = max(round(val * len(order)), 1 if val and len(order) > 1 else 0)
    num_test = max(round(test * len(order)), 1 if test and len(order) > 2 else 0)
    if num_val + num_test >= len(order):
        raise InputError(f"--val {val} and --test {test} leave none of {len(order)} files or people to train on")
    held_out: tuple[FolderSplit, FolderSplit] = ("val", "test")
    names = [split for split, number in zip(held_out, (num_val, num_test), strict=True) for _ in range(number)]
    return {person: names[place] if place < len(names) else "train" for place, person in enumerate(order)}
