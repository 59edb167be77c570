"""Ways to break the trees that are verified, and what is found in them."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handlit.data.verification import Report, verify
from handlit.findings import Finding


def replace(path: Path, content: bytes) -> None:
    # copies are hard links: the original must not be written to
    path.unlink()
    path.write_bytes(content)


def edit_metas(
    root: Path, change: Callable[[dict[str, Any]], dict[str, Any]], split: str = "train", rows: slice = slice(None)
) -> None:
    for path in sorted(root.glob(f"{split}/*/meta/*.pkl"))[rows]:
        meta = pickle.loads(path.read_bytes())
        replace(path, pickle.dumps({**meta, **change(meta)}, protocol=2))


def edit_list(root: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = root / f"{name}.json"
    replace(path, json.dumps(change(np.array(json.loads(path.read_text()))).tolist()).encode())


def check(root: Path, **options: Any) -> Report:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    report = verify(root, workers=0, **options)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before  # nothing is written
    return report


def only_problem(root: Path, kind: str, **options: Any) -> Finding:
    report = check(root, **options)
    assert [finding.name for finding in report.problems] == [kind]
    return report.problems[0]


def cut(path: Path) -> None:
    replace(path, path.read_bytes()[:-200])


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[1]
