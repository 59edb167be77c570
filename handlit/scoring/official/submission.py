"""Reads submissions: a zip archive of one ``pred.json``, ``[joints, vertices]`` of all images.

References:
    README.md of https://github.com/shreyashampali/ho3d and of https://github.com/lmb-freiburg/freihand.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from handlit.errors import InputError
from handlit.formats.archives import MAX_BYTES, list_members, open_member
from handlit.formats.point_lists import read_point_lists
from handlit.hand.asset import NUM_VERTICES
from handlit.reading import shown
from handlit.skeleton import NUM_JOINTS

MEMBER = "pred.json"
#: Bytes of a text of any submission, and for each image: three times what 17 digits a number take.
_SLACK, _BYTES_EACH = 1 << 20, 64 * 3 * (NUM_JOINTS + NUM_VERTICES)


@dataclass(frozen=True)
class Submission:
    """A submission as it was written, in its benchmark's axes and joint order.

    Attributes:
        joints: (N, 21, 3) metres.
        vertices: (N, M, 3) metres; M is 778 for hands of MANO's topology.
        source: The file.
    """

    joints: np.ndarray
    vertices: np.ndarray
    source: Path


def read_submission(path: str | Path, count: int | None = None) -> Submission:
    """Read a ``pred.zip``, a ``pred.json``, or a folder that holds one of them.

    Args:
        path: The file or folder. Of an archive the official scripts' choice is read: ``pred.json`` at its root, else
            the only JSON file there; whatever else it holds is left alone.
        count: Number of images that it should have: of a text that is many times too long for them no more is read.

    Returns:
        The predictions, float64.

    Raises:
        InputError: The file is missing, damaged or not a submission; the message says what to change.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("pred.zip", MEMBER) if (path / name).is_file()]
        if len(found) != 1:
            names = "both pred.zip and pred.json" if found else "neither pred.zip nor pred.json"
            raise InputError(f"{path} is a folder with {names}; name the file to read")
        path = found[0]
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a pred.zip or pred.json")
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK" or path.suffix == ".zip":
        member = _find_member(path)
        opener, source = partial(open_member, path, member), f"{path}: {member}"
    else:
        opener, source = partial(path.open, "rb"), str(path)
    most = MAX_BYTES if count is None else min(MAX_BYTES, _SLACK + count * _BYTES_EACH)
    joints, vertices = read_point_lists(opener, source, ("xyz", "verts"), most)
    if joints.shape[1] != NUM_JOINTS:
        hint = "; the two lists are the wrong way round" if vertices.shape[1] == NUM_JOINTS else ""
        raise InputError(f"{source}: xyz has {joints.shape[1]} points per image, expected {NUM_JOINTS} joints{hint}")
    return Submission(joints, vertices, path)


def _find_member(path: Path) -> str:
    names = list_members(path)
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise InputError(f"{path}: member '{shown(name)}' points outside the archive; do not unpack this file")
    at_root = [name for name in names if "/" not in name and name.endswith(".json")]
    found = [MEMBER] if MEMBER in at_root else at_root
    if len(found) != 1 or names.count(found[0]) > 1:
        held = shown(", ".join(names), 200) or "nothing"
        raise InputError(f"{path}: expected one file, {MEMBER}, at the archive's root, got: {held}")
    return found[0]
