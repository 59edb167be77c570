"""The datasets that handlit knows, and how one is recognised on disk: the one rule of every command.

A dataset of one's own is added by `register`, in a module that is imported before the command
(docs/tutorials/adding.md).
"""

import logging
import zipfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from handlit.errors import InputError
from handlit.formats.archives import list_members
from handlit.formats.benchmark import Benchmark, DatasetFormat
from handlit.formats.folder import FOLDER
from handlit.formats.freihand import FREIHAND
from handlit.formats.ho3d import HO3D_V2, HO3D_V3
from handlit.formats.packed import PACKED

log = logging.getLogger(__name__)

AnyFormat = TypeVar("AnyFormat", bound=DatasetFormat)

#: Every known dataset by its name.
FORMATS: dict[str, DatasetFormat] = {item.name: item for item in (FOLDER, HO3D_V2, HO3D_V3, FREIHAND, PACKED)}


def register(dataset: DatasetFormat) -> None:
    """Make a dataset known to every command; one of the same name is replaced."""
    FORMATS[dataset.name] = dataset


def benchmarks() -> dict[str, Benchmark]:
    """The datasets whose evaluation split is scored, by their names."""
    return {name: item for name, item in FORMATS.items() if isinstance(item, Benchmark)}


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of this name.

    Raises:
        InputError: There is none.
    """
    known = benchmarks()
    if name not in known:
        raise InputError(f"unknown benchmark '{name}'; choose one of {', '.join(known)}")
    return known[name]


def recognise(root: Path) -> DatasetFormat:
    """The dataset that lies in a folder.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It is none of the datasets that are known; the message says how each is recognised.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is missing: expected the folder of a dataset")
    found = marked(root)
    if PACKED in found:
        return PACKED
    if found:
        return most_likely(found, root)
    inner = {path: marked(path) for path in sorted(root.iterdir()) if path.is_dir()}
    hint = next((f"; {path} is one ({items[0].title}): give that folder" for path, items in inner.items() if items), "")
    by_marks = {" or ".join(item.marks): item.title for item in FORMATS.values()}
    known = ", ".join(f"{title} has {marks}" for marks, title in by_marks.items())
    raise InputError(f"{root} is no dataset that is known: {known}{hint}")


def marked(root: Path) -> list[DatasetFormat]:
    """The datasets one of whose marks is in a folder or zip archive."""
    if root.is_dir():
        return [item for item in FORMATS.values() if item.is_marked(root)]
    if not (root.is_file() and zipfile.is_zipfile(root)):
        return []
    names = {Path(member).name for member in list_members(root)}
    return [item for item in FORMATS.values() if any(fnmatch(name, mark) for name in names for mark in item.marks)]


def most_likely(candidates: Sequence[AnyFormat], root: Path, num_samples: int | None = None) -> AnyFormat:
    """The one of several candidates that a dataset is.

    What its images are decides: that most of them have the format's suffix. Without images (a zip archive, bare JSON
    files) the number of evaluation samples decides. Where neither is known, it is the last candidate, with a warning.

    Args:
        candidates: At least one.
        root: Folder, or a file in it.
        num_samples: Of the evaluation split, if known.
    """
    if len(candidates) == 1:
        return candidates[0]
    folder = root if root.is_dir() else root.parent
    counts = [item.count_images(folder) for item in candidates] if root.suffix != ".zip" else [0] * len(candidates)
    if max(counts) > 0:
        candidates = [item for item, count in zip(candidates, counts, strict=True) if count == max(counts)]
    of_size = [
        item
        for item in candidates
        if isinstance(item, Benchmark) and item.num_samples == (num_samples or item.count_listed(folder))
    ]
    candidates = of_size or candidates
    if len(candidates) > 1:
        log.warning(
            "%s may be %s: neither images nor their number say which; taken as %s",
            root,
            " or ".join(item.title for item in candidates),
            candidates[-1].title,
        )
    return candidates[-1]
