"""Reads the official ground truth of HO-3D and FreiHAND, and tells which benchmark it belongs to."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from handlit.errors import InputError
from handlit.formats.archives import list_members, open_member
from handlit.formats.benchmark import PROTOCOLS, Protocol, ProtocolName
from handlit.formats.point_lists import read_point_lists
from handlit.hand.asset import NUM_VERTICES

XYZ_FILE = "evaluation_xyz.json"
VERTS_FILE = "evaluation_verts.json"
LIST_FILE = "evaluation.txt"
INTRINSICS_FILE = "evaluation_K.json"


@dataclass(frozen=True)
class GroundTruth:
    """The true hands of an evaluation split, in the benchmark's axes and joint order.

    Attributes:
        protocol: The benchmark.
        joints: (N, 21, 3) metres.
        vertices: (N, 778, 3) metres.
        names: Name of each image in the order of a submission, e.g. ``"SM1/0000"``; running numbers where the
            benchmark has none.
        source: Where it was read from.
    """

    protocol: Protocol
    joints: np.ndarray
    vertices: np.ndarray
    names: list[str]
    source: Path

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def sequences(self) -> list[str] | None:
        """Sequence of each image, or None where the images do not come in sequences."""
        if not all("/" in name for name in self.names):
            return None
        return [name.rsplit("/", 1)[0] for name in self.names]


def read_ground_truth(path: str | Path, protocol: ProtocolName | Literal["auto"] = "auto") -> GroundTruth:
    """Read ``evaluation_xyz.json`` and ``evaluation_verts.json``, and ``evaluation.txt`` where there is one.

    Args:
        path: A dataset root, any folder that holds the files, a zip archive with them, or one of the two JSON files.
        protocol: The benchmark, or "auto" to tell it from the files: HO-3D's hands are at negative z (OpenGL axes)
            and come with ``evaluation.txt``; FreiHAND's are at positive z.

    Returns:
        The ground truth.

    Raises:
        InputError: A file is missing or malformed, or the named benchmark contradicts the files.
    """
    path = Path(path)
    if protocol != "auto" and protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol '{protocol}'; choose auto or one of {', '.join(PROTOCOLS)}")
    openers = _find_files(path)
    missing = [name for name in (XYZ_FILE, VERTS_FILE) if name not in openers]
    if missing:
        raise InputError(
            f"{path}: no {' and no '.join(missing)}. Expected a folder or zip archive that holds {XYZ_FILE} and "
            f"{VERTS_FILE} as HO-3D and FreiHAND publish them"
        )
    (joints,) = read_point_lists(openers[XYZ_FILE], f"{path}: {XYZ_FILE}", ("xyz",))
    (vertices,) = read_point_lists(openers[VERTS_FILE], f"{path}: {VERTS_FILE}", ("verts",))
    if joints.shape[1] != 21 or vertices.shape[1] != NUM_VERTICES or len(joints) != len(vertices):
        raise InputError(
            f"{path}: expected N x 21 x 3 joints and N x {NUM_VERTICES} x 3 vertices, got {joints.shape} and "
            f"{vertices.shape}"
        )
    names = None
    if LIST_FILE in openers:
        with openers[LIST_FILE]() as stream:
            names = stream.read().decode().split()
        if len(names) != len(joints):
            raise InputError(
                f"{path}: {LIST_FILE} names {len(names)} images, {XYZ_FILE} has {len(joints)}; they belong to "
                "different versions of the dataset"
            )
    found = _detect(path, joints, names is not None, INTRINSICS_FILE in openers)
    chosen = found if protocol == "auto" else PROTOCOLS[protocol]
    if chosen.axes != found.axes:
        raise InputError(
            f"{path}: this looks like the ground truth of {found.title} (wrists at z = "
            f"{np.median(joints[:, 0, 2]):.2f} m), but the protocol is {chosen.name}; name the right one or use auto"
        )
    return GroundTruth(chosen, joints, vertices, names or [f"{i:08d}" for i in range(len(joints))], path)


def _detect(path: Path, joints: np.ndarray, has_list: bool, has_intrinsics: bool) -> Protocol:
    depth = joints[:, 0, 2]
    behind, before = float((depth < 0).mean()), float((depth > 0).mean())
    if max(behind, before) < 0.99:
        raise InputError(
            f"{path}: {behind:.0%} of the wrists are at z < 0 and {before:.0%} at z > 0; ground truth is on one side "
            "of the camera (HO-3D: z < 0, FreiHAND: z > 0)"
        )
    if before > behind:
        if has_list and not has_intrinsics:
            raise InputError(
                f"{path}: {LIST_FILE} belongs to HO-3D, but the hands are at z > 0; HO-3D's ground truth is in OpenGL "
                "axes, with z < 0"
            )
        return PROTOCOLS["freihand"]
    by_count = [p for p in PROTOCOLS.values() if p.axes == "opengl" and p.num_samples == len(joints)]
    if by_count:
        return by_count[0]
    # Both versions are scored by the same code, so the name only decides what the report is called.
    resolved = str(path.resolve()).lower()
    frames = path.glob("evaluation/*/rgb/*") if path.is_dir() else iter(())
    first = next(frames, None)
    is_v2 = "v2" in resolved or (first is not None and first.suffix == ".png")
    return PROTOCOLS["ho3d_v2" if is_v2 and "v3" not in resolved else "ho3d_v3"]


def _find_files(path: Path) -> dict[str, Callable[[], BinaryIO]]:
    """How to open each known file that the path holds."""
    known = (XYZ_FILE, VERTS_FILE, LIST_FILE, INTRINSICS_FILE)
    if path.is_file() and zipfile.is_zipfile(path):
        members = {Path(name).name: name for name in list_members(path) if Path(name).name in known}
        return {name: partial(open_member, path, member) for name, member in members.items()}
    if path.is_file() and path.name in (XYZ_FILE, VERTS_FILE):
        path = path.parent
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folder or zip archive that holds {XYZ_FILE}")
    if not path.is_dir():
        raise InputError(f"{path} is neither a folder nor a zip archive; give what holds {XYZ_FILE} and {VERTS_FILE}")
    return {name: partial(_open_file, path / name) for name in known if (path / name).is_file()}


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")
