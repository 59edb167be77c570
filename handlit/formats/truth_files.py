"""Reads public ground truth as HO-3D and FreiHAND publish it: two lists of points, and a list of names."""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from handlit.errors import InputError
from handlit.formats.archives import DAMAGE, list_members, open_member
from handlit.formats.point_lists import read_point_lists
from handlit.hand.asset import NUM_VERTICES
from handlit.reading import MAX_LIST, decode_text, shown, wrong_kind
from handlit.skeleton import NUM_JOINTS

XYZ_FILE = "evaluation_xyz.json"
VERTS_FILE = "evaluation_verts.json"
LIST_FILE = "evaluation.txt"


class TruePoints(NamedTuple):
    """The true hands of an evaluation split, in the benchmark's axes and joint order.

    Attributes:
        joints: (N, 21, 3) metres.
        vertices: (N, 778, 3) metres.
        names: Name of each image in the order of a submission; None where the benchmark has none.
    """

    joints: np.ndarray
    vertices: np.ndarray
    names: list[str] | None = None


def read_json_truth(path: Path) -> TruePoints:
    """Read ``evaluation_xyz.json`` and ``evaluation_verts.json``, and ``evaluation.txt`` where there is one.

    Args:
        path: A dataset's root, any folder that holds the files, a zip archive with them, or one of the two JSON files.

    Raises:
        InputError: A file is missing or malformed, or the files contradict each other.
    """
    openers = _find_files(path)
    missing = [name for name in (XYZ_FILE, VERTS_FILE) if name not in openers]
    if missing:
        raise InputError(
            f"{path}: no {' and no '.join(missing)}. Expected a folder or zip archive that holds {XYZ_FILE} and "
            f"{VERTS_FILE} as HO-3D and FreiHAND publish them"
        )
    (joints,) = read_point_lists(openers[XYZ_FILE], f"{path}: {XYZ_FILE}", ("xyz",))
    (vertices,) = read_point_lists(openers[VERTS_FILE], f"{path}: {VERTS_FILE}", ("verts",))
    if joints.shape[1] != NUM_JOINTS or vertices.shape[1] != NUM_VERTICES or len(joints) != len(vertices):
        raise InputError(
            f"{path}: expected N x 21 x 3 joints and N x {NUM_VERTICES} x 3 vertices, got {joints.shape} and "
            f"{vertices.shape}"
        )
    if LIST_FILE not in openers:
        return TruePoints(joints, vertices)
    names = _read_names(openers[LIST_FILE], f"{path}: {LIST_FILE}")
    if len(names) != len(joints):
        raise InputError(
            f"{path}: {LIST_FILE} names {len(names)} images, {XYZ_FILE} has {len(joints)}; they belong to "
            "different versions of the dataset"
        )
    return TruePoints(joints, vertices, names)


def _read_names(opener: Callable[[], BinaryIO], source: str) -> list[str]:
    try:
        with opener() as stream:
            content = stream.read(MAX_LIST)
    except DAMAGE as error:
        raise InputError(f"{source} is damaged ({error}): copy it again") from error
    names = decode_text(content, source, "a list of images").split()
    if wrong := [name for name in names if "\\" in name]:
        raise InputError(f"{source} names '{shown(wrong[0])}': write names with /, as in the released list")
    return names


def _find_files(path: Path) -> dict[str, Callable[[], BinaryIO]]:
    """How to open each known file that the path holds."""
    known = (XYZ_FILE, VERTS_FILE, LIST_FILE)
    if path.is_file() and zipfile.is_zipfile(path):
        members = {Path(name).name: name for name in list_members(path) if Path(name).name in known}
        return {name: partial(open_member, path, member) for name, member in members.items()}
    if path.is_file() and path.name in (XYZ_FILE, VERTS_FILE):
        path = path.parent
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folder or zip archive that holds {XYZ_FILE}")
    if not path.is_dir():
        with path.open("rb") as file:
            kind = wrong_kind(file.read(512), path, "a folder or zip archive", ("a zip archive",))
        message = f"{path} is neither a folder nor a zip archive; give what holds {XYZ_FILE} and {VERTS_FILE}"
        raise kind or InputError(message)
    return {name: partial(_open_file, path / name) for name in known if (path / name).is_file()}


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")
