"""The table of one tested run as a file, ``hypotheses.npz``, so that runs can be compared later, image by image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handlit.errors import InputError
from handlit.files import whole
from handlit.formats.archives import read_arrays
from handlit.program import program
from handlit.reading import parse_json, shown
from handlit.run_folder import RunFolder
from handlit.skeleton import NUM_JOINTS

#: Goes up when a column changes its meaning.
FORMAT = 2
#: Of any measure, far beyond a hand at the moon in millimetres.
MAX_VALUE = 1e15


@dataclass(frozen=True)
class HypothesisRun:
    """The table of one tested run.

    Attributes:
        label: Its name in comparisons.
        keys: (N,) names of the images, in the table's order.
        columns: See `metrics.hypotheses.HypothesisTable.compute`.
        settings: What the numbers are of: method, checkpoint, data, hypotheses, temperature.
    """

    label: str
    keys: np.ndarray
    columns: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]

    @property
    def sequences(self) -> list[str] | None:
        """Sequence of each image, ``SEQ`` of ``SEQ/FRAME``; None where images are independent."""
        if not all("/" in key for key in self.keys.tolist()):
            return None
        return [key.rsplit("/", 1)[0] for key in self.keys.tolist()]


def save_run(path: Path, run: HypothesisRun) -> None:
    """Write a table; the file appears when it is whole."""
    text = json.dumps({"format": FORMAT, "label": run.label, **run.settings})
    arrays: dict[str, Any] = {"settings": np.array(text), "keys": run.keys, **run.columns}
    with whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_run(path: Path) -> HypothesisRun:
    """Read a table.

    Args:
        path: The file, or the run folder that holds it.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is damaged or of another version.
    """
    path = RunFolder(path).hypothesis_table if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `{program()} test --config RUN/config.yaml` writes it")
    columns = read_arrays(path, "a table of hypotheses")
    keys = columns.pop("keys", np.zeros(0))
    settings = parse_json(str(columns.pop("settings", "")).encode(), f"{path}: settings")
    shapes = ((len(keys),), (len(keys), NUM_JOINTS)) if keys.ndim == 1 and keys.dtype.kind == "U" else ()
    wrong = [name for name, column in columns.items() if column.shape not in shapes or column.dtype.kind not in "biuf"]
    if wrong or "visible" not in columns or not isinstance(settings, dict):
        raise InputError(f"{path} is not a table of hypotheses (wrong: {shown(wrong)}): run the test again")
    numbers = [column[np.isfinite(column)].astype(np.float64) for name, column in columns.items() if name != "visible"]
    if not any(column.size for column in numbers) or any((np.abs(column) > MAX_VALUE).any() for column in numbers):
        raise InputError(f"{path} holds no numbers, or such that no test gives: run the test again")
    version, label = settings.pop("format", None), str(settings.pop("label", ""))
    if version != FORMAT:
        raise InputError(f"{path} was written in format {version}, this is format {FORMAT}: run the test again")
    return HypothesisRun(label, keys, columns, settings)


def check_same_images(runs: Sequence[HypothesisRun]) -> None:
    """Refuse to compare runs on different images.

    Raises:
        InputError: Naming the two runs and the first image that they do not share.
    """
    first = runs[0]
    for other in runs[1:]:
        if first.keys.tolist() == other.keys.tolist():
            continue
        apart = sorted(set(first.keys.tolist()) ^ set(other.keys.tolist())) or ["only their order"]
        raise InputError(
            f"{first.label} ({len(first.keys)} images) and {other.label} ({len(other.keys)} images) were tested on "
            f"different images (first difference: {apart[0]}): test them on the same data"
        )
