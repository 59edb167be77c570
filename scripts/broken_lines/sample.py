"""Which lines are broken: a seeded sample, spread over the rooms of the package by their lines."""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.broken_lines.breaks import Break, find_breaks
from tests.test_tree import TESTED_IN


@dataclass(frozen=True)
class BrokenLine:
    """A break of a file.

    Attributes:
        path: The file, from the root.
        found: The break.
    """

    path: Path
    found: Break


def draw_sample(root: Path, seed: int, count: int) -> list[BrokenLine]:
    """Draw lines of the package ``handlit``, each with one of its breaks.

    Args:
        root: Of the checkout.
        seed: The same seed and sources give the same sample.
        count: How many.
    """
    lines: dict[str, int] = defaultdict(int)
    choices: dict[str, dict[tuple[Path, int], list[BrokenLine]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted((root / "handlit").rglob("*.py")):
        path, source = file.relative_to(root), file.read_text(encoding="utf-8")
        room = path.parts[1].removesuffix(".py")
        lines[room] += source.count("\n")
        for found in find_breaks(source):
            choices[room][path, found.line].append(BrokenLine(path, found))
    generator = random.Random(seed)
    sample = []
    for room, number in shares({room: lines[room] for room in choices}, count).items():
        places = sorted(choices[room])
        for place in generator.sample(places, min(number, len(places))):
            sample.append(generator.choice(choices[room][place]))
    return sample


def shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Divide a number in proportion to sizes, the largest remainders rounded up.

    Args:
        sizes: By name.
        count: What is divided.
    """
    exact = {name: count * size / sum(sizes.values()) for name, size in sizes.items()}
    whole = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: count - sum(whole.values())]:
        whole[name] += 1
    return whole


def mirrored_tests(path: Path, root: Path) -> tuple[str, ...]:
    """The tests of a module: its mirrored file, else the file in which it is tested as a part, else its room's.

    Args:
        path: The module, from the root.
        root: Of the checkout.
    """
    inside = path.relative_to("handlit")
    named = [TESTED_IN[name] for name in map(str, (inside, *inside.parents)) if name in TESTED_IN]
    for test in (str(inside.with_name(f"test_{inside.name}")), *named):
        if (root / "tests" / test).is_file():
            return (f"tests/{test}",)
    folder = Path("tests") / inside.parent
    while not list((root / folder).rglob("test_*.py")):
        folder = folder.parent
    return (folder.as_posix(),)
