"""An index of a dataset: what is slow to read is read once, kept as arrays beside the data, and mapped from then on."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.files import TEMPORARY, is_being_written, temporary_path
from handlit.formats.frame_table import FrameTable, check_columns, open_array
from handlit.reading import shown

log = logging.getLogger(__name__)

#: Folder of the indices in a dataset's root.
FOLDER = ".handlit"
#: Goes up when the arrays of an index get another meaning: older ones are then built anew.
FORMAT = 1
_DONE = "index.json"


def user_cache() -> Path:
    """Where indices of read-only datasets lie: ``$HANDLIT_CACHE``, or ``handlit`` in the user's cache folder."""
    own = os.environ.get("HANDLIT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "handlit"


def fingerprint(root: Path, files: Iterable[Path] = (), folders: Iterable[Path] = (), settings: str = "") -> str:
    """What an index of these files depends on: names, sizes and times of change, none of which needs to open a file.

    Args:
        root: Names count relative to it, so that a dataset can be moved.
        files: Files; one that is missing counts as such.
        folders: Folders whose files count, without their subfolders.
        settings: Anything else that the index depends on.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(f"{FORMAT}\n{settings}".encode(), digest_size=16)

    def add(path: str, stat: os.stat_result | None) -> None:
        state = "missing" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}"
        digest.update(f"{os.path.relpath(path, root)} {state}\n".encode())

    for file in files:
        add(str(file), file.stat() if file.exists() else None)
    for folder in folders:
        if not folder.is_dir():
            add(str(folder), None)
            continue
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.path, entry.stat()) for entry in entries if entry.is_file())
        prefix = os.path.relpath(folder, root)
        lines = [f"{prefix}/{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, _, stat in found]
        digest.update("".join(lines).encode())
    return digest.hexdigest()


def cached_arrays(
    name: str,
    root: Path,
    identity: str,
    build: Callable[[], Mapping[str, np.ndarray]],
    check: Callable[[Mapping[str, np.ndarray], Path], None] | None = None,
) -> dict[str, np.ndarray]:
    """Arrays that are built once and mapped from files from then on.

    They are kept in ``.handlit/`` in the dataset's root or, where that cannot be written, in `user_cache`. An index
    appears under its name only when it is whole; of two processes that build the same one the first wins.

    Args:
        name: Of the index, unique in its dataset, e.g. ``"train"``.
        root: The dataset's root.
        identity: What the arrays depend on, a `fingerprint`; another one makes the index invalid.
        build: Builds the arrays.
        check: Raises InputError for arrays, of a folder, that it cannot have built; they are built again.

    Returns:
        The arrays by name, mapped from files; in memory where no folder can be written.
    """
    places = [root / FOLDER, user_cache() / hashlib.blake2b(str(root.resolve()).encode(), digest_size=8).hexdigest()]
    for place in places:
        arrays = _open(place / f"{name}-{identity}", identity, check)
        if arrays is not None:
            return arrays
    built = build()
    for place in places:
        try:
            folder = _save(place, name, identity, built)
        except OSError as error:
            log.warning("the index of %s cannot be kept in %s (%s)", root, place, error)
            continue
        arrays = _open(folder, identity, check)
        if arrays is not None:
            return arrays
    return dict(built)


def cached_frames(name: str, root: Path, identity: str, build: Callable[[], FrameTable]) -> FrameTable:
    """A table that is built once and mapped from files from then on; see `cached_arrays`."""
    return FrameTable(**cached_arrays(name, root, identity, lambda: build().columns(), _check_frames))


def _check_frames(columns: Mapping[str, np.ndarray], folder: Path) -> None:
    """Refuse an index, which may come with a stranger's dataset, that is no table or names files outside of it."""
    check_columns(columns, folder)
    for name in ("images", "masks", "depths"):
        for path in set(columns.get(name, np.zeros(0, "U1")).tolist()):
            if path.startswith("/") or ".." in path.split("/"):
                raise InputError(f"{folder} names {shown(path)}, which lies outside of the dataset")


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``NAME.npy`` into a folder that exists."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def open_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Map every array of a folder that `save_arrays` wrote."""
    return {path.stem: open_array(path) for path in sorted(folder.glob("*.npy"))}


def _open(
    folder: Path, identity: str, check: Callable[[Mapping[str, np.ndarray], Path], None] | None
) -> dict[str, np.ndarray] | None:
    """The arrays of a whole index of this identity, otherwise None."""
    try:
        if not (folder / _DONE).is_file():
            raise FileNotFoundError(f"{_DONE} is missing")
        done, arrays = json.loads((folder / _DONE).read_bytes()), open_arrays(folder)
        if check is not None:
            check(arrays, folder)
        if done == {"identity": identity, "arrays": sorted(arrays)}:
            return arrays
        reason = "another content is listed"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    if folder.is_dir():
        log.warning("the index %s is damaged (%s) and is built again", folder, reason)
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _save(place: Path, name: str, identity: str, arrays: Mapping[str, np.ndarray]) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    folder = place / f"{name}-{identity}"
    building = temporary_path(folder)
    # what killed processes were building
    for leftover in place.glob(TEMPORARY):
        if not is_being_written(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    try:
        building.mkdir()
        save_arrays(building, arrays)
        (building / _DONE).write_text(json.dumps({"identity": identity, "arrays": sorted(arrays)}))
        try:
            building.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # another process was faster with the same index
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for older in place.glob(f"{name}-{'?' * len(identity)}"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)
    return folder
