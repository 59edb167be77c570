"""HO-3D's list files and annotations, checked and turned into handlit's conventions.

The annotations are in OpenGL axes, in HO-3D's joint order, with full axis-angle poses and a flat mean hand. Nothing
here needs more than the arrays, so that the processes that read them start quickly.
"""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import roma
import torch

from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.index import fingerprint
from handlit.formats.worker_pool import in_processes
from handlit.geometry.cameras import OPENGL_TO_OPENCV
from handlit.hand.unpickle import restricted_load
from handlit.program import program
from handlit.skeleton import reorder

log = logging.getLogger(__name__)

ListName = Literal["train", "evaluation"]
Version = Literal["v2", "v3"]

#: A frame in a list.
NAME = re.compile(r"[\w-]+/[\w-]+")
IMAGE_SIZE = (640, 480)
IMAGE_SUFFIX: dict[Version, str] = {"v2": ".png", "v3": ".jpg"}
#: Endings of segmentation files, the first one that is there counts.
MASK_SUFFIXES = (".png", ".jpg")
FLIP = np.array(OPENGL_TO_OPENCV)
#: Annotations that a process reads at a time.
CHUNK = 1000
#: Shapes of the fields of an annotation that must be there.
HAND_FIELDS: dict[ListName, dict[str, tuple[int, ...]]] = {
    "train": {"handJoints3D": (21, 3), "handPose": (48,), "handBeta": (10,), "camMat": (3, 3)},
    "evaluation": {"handBoundingBox": (4,), "camMat": (3, 3)},
}
#: Shapes of the fields about the object; a frame without them has no labels of the object.
OBJECT_FIELDS: dict[str, tuple[int, ...]] = {"objCorners3D": (8, 3), "objRot": (3,), "objTrans": (3,)}


def read_list(root: Path, split: ListName) -> list[str]:
    """Names ``SEQ/FRAME`` of a split, in the order of a submission.

    Raises:
        FileNotFoundError: The folder or its list file is missing.
        InputError: The list is empty, or a line is not a name or repeats one.
    """
    path = root / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the root of HO-3D is the folder that holds train.txt and evaluation.txt "
            f"(make a synthetic one with `{program()} synth --layout ho3d_v3 --out DIR --train 100 --evaluation 20`)"
        )
    lines: dict[str, int] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        # a name becomes a path: it must not lead out of the dataset
        if not NAME.fullmatch(name):
            raise InputError(f"{path}, line {number}: expected SEQ/FRAME, e.g. ABF10/0000, got '{name}'")
        if name in lines:
            raise InputError(f"{path}, line {number}: {name} stands on line {lines[name]} already; remove one of them")
        lines[name] = number
    if not lines:
        raise InputError(f"{path} is empty: expected one SEQ/FRAME a line")
    return list(lines)


def annotation_identity(root: Path, split: ListName, version: Version, masks_root: Path) -> str:
    """What the table of a split depends on: its list, its annotations, and which pictures there are."""
    sequences = sorted({name.split("/")[0] for name in read_list(root, split)})
    folders = [root / split / sequence for sequence in sequences]
    # a folder's own time changes when files come or go: that is all that matters of pictures
    pictures = [folder / kind for folder in folders for kind in ("rgb", "depth")]
    masks = [masks_root / split / sequence / "seg" for sequence in sequences]
    files = [root / f"{split}.txt", *pictures, *masks]
    return fingerprint(root, files, [folder / "meta" for folder in folders], f"{version} {masks_root}")


def read_frames(
    root: Path, split: ListName, version: Version, masks_root: Path | None = None, workers: int | None = None
) -> FrameTable:
    """Read every annotation of a split.

    Training frames without a valid hand annotation (None in a hand field) are left out and counted in the log.

    Args:
        root: Folder with ``train.txt`` and ``evaluation.txt``.
        split: ``"train"`` (all labels) or ``"evaluation"`` (box and root, camera and object).
        version: Decides the image files' ending.
        masks_root: Folder whose ``train/SEQ/seg`` holds the segmentation; None for `root`.
        workers: Processes; None for one a core, 0 for this one.

    Raises:
        FileNotFoundError: The list, an annotation or a picture is missing.
        InputError: The list or an annotation is damaged; the message names the file and, in a list, the line.
    """
    names = read_list(root, split)
    files = _picture_files(root, split, version, masks_root or root, names)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    parts = in_processes(partial(_read_chunk, root, split), chunks, f"HO-3D {split} annotations", workers)
    table = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    annotated = table.pop("annotated")
    skipped = int((~annotated).sum())
    if skipped:
        log.warning("%s: %d of %d frames have no hand annotation and are left out", root, skipped, len(names))
        if split == "evaluation":
            raise InputError(f"{root}: {skipped} evaluation frames have no root joint, a submission needs them all")
    if skipped == len(names):
        raise InputError(f"{root}: none of the {len(names)} frames of {split}.txt has a hand annotation")
    frames = FrameTable(
        keys=np.array(names),
        image_sizes=np.tile(np.array(IMAGE_SIZE, dtype=np.int32), (len(names), 1)),
        **files,
        **table,
    )
    return frames.select(annotated) if skipped else frames


def _picture_files(
    root: Path, split: ListName, version: Version, masks_root: Path, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Images, depths and masks of the frames, found by listing each folder once."""
    prefix = "" if masks_root == root else f"{masks_root.absolute()}/"
    present: dict[tuple[str, str], set[str]] = {}
    rows: dict[str, list[str]] = {"images": [], "depths": [], "masks": []}
    missing = []
    for name in names:
        sequence, frame = name.split("/")
        if ("rgb", sequence) not in present:
            for kind, base in (("rgb", root), ("depth", root), ("seg", masks_root)):
                present[kind, sequence] = _listing(base / split / sequence / kind)
        image = f"{frame}{IMAGE_SUFFIX[version]}"
        if image not in present["rgb", sequence]:
            missing.append(f"{split}/{sequence}/rgb/{image}")
        mask = next((frame + suffix for suffix in MASK_SUFFIXES if frame + suffix in present["seg", sequence]), "")
        depth = f"{frame}.png" if f"{frame}.png" in present["depth", sequence] else ""
        rows["images"].append(f"{split}/{sequence}/rgb/{image}")
        rows["depths"].append(depth and f"{split}/{sequence}/depth/{depth}")
        rows["masks"].append(mask and f"{prefix}{split}/{sequence}/seg/{mask}")
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} images that {root / split}.txt lists are missing, {root / missing[0]} first: complete the "
            f"dataset's folder or take them off the list; version {version} has {IMAGE_SUFFIX[version]} images"
        )
    return {kind: np.array(values) for kind, values in rows.items() if any(values)}


def _listing(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _read_chunk(root: Path, split: ListName, names: list[str]) -> dict[str, np.ndarray]:
    """Labels of some frames; those without a hand annotation have ``annotated`` False and zeros."""
    return annotation_arrays([read_annotation(annotation_file(root, split, name), split) for name in names], split)


def annotation_file(root: Path, split: ListName, name: str) -> Path:
    """The annotation of the frame ``SEQ/FRAME``."""
    sequence, frame = name.split("/")
    return root / split / sequence / "meta" / f"{frame}.pkl"


def annotation_arrays(rows: Sequence[Mapping[str, Any]], split: ListName) -> dict[str, np.ndarray]:
    """Columns of a `FrameTable` in handlit's conventions, and ``annotated`` (N,) bool.

    Args:
        rows: At least one result of `read_annotation`.
        split: Of the frames.
    """
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    annotated = stacked["annotated"]
    root_gl = stacked["root"]
    intrinsics = stacked["camMat"]
    table = {
        "annotated": annotated,
        "intrinsics": intrinsics,
        "root_cam": _single(root_gl * FLIP),
        "object_boxes": _bounds(_project(stacked["objCorners3D"] * FLIP, intrinsics)),
        "object_pose": _single(np.concatenate([turned(stacked["objRot"]), stacked["objTrans"] * FLIP], axis=1)),
        "object_names": stacked["objName"],
    }
    if split == "evaluation":
        return table | {"boxes": stacked["handBoundingBox"]}
    joints = (stacked["handJoints3D"] * FLIP)[:, reorder("ho3d", "handlit")]
    pose = stacked["handPose"]
    return table | {
        "boxes": _bounds(_project(joints, intrinsics)),
        "joints_cam": _single(joints),
        "pose": _single(np.concatenate([turned(pose[:, :3]), pose[:, 3:]], axis=1)),
        "betas": _single(stacked["handBeta"]),
    }


def read_annotation(path: Path, split: ListName, in_front: bool = True) -> dict[str, Any]:
    """The checked fields of one file, as they are stored, in float64.

    Args:
        path: The annotation.
        split: Decides which fields must be there.
        in_front: Refuse a hand that is not in front of the camera.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"annotation {path} is missing: is the dataset's folder complete?")
    meta = restricted_load(path)
    if not isinstance(meta, dict):
        raise InputError(f"annotation {path} holds a {type(meta).__name__}, expected a dict: download it again")
    needed = HAND_FIELDS[split]
    if meta.get("handJoints3D") is None or (split == "train" and meta.get("handPose") is None):
        # a place holder that projects: a row of it is never used
        row: dict[str, Any] = {name: np.ones(shape) for name, shape in needed.items()}
        return row | _no_object() | {"root": -np.ones(3), "annotated": False}
    row = {name: _field(meta, name, shape, path) for name, shape in needed.items()}
    _check_camera(row["camMat"], path)
    if split == "train":
        row["root"] = row["handJoints3D"][0]
    else:
        # the root alone, or a copy of the dataset with all joints filled in
        joints = np.asarray(meta["handJoints3D"], dtype=np.float64)
        if joints.size not in (3, 63) or not np.isfinite(joints).all():
            raise InputError(f"annotation {path}: 'handJoints3D' must be the finite root (3,), got {joints.shape}")
        row["root"] = joints.ravel()[:3]
    if in_front and (row.get("handJoints3D", row["root"])[..., 2] >= 0).any():
        raise InputError(f"annotation {path}: the hand is behind the camera; expected OpenGL axes (negative z), metres")
    if any(meta.get(name) is None for name in OBJECT_FIELDS):
        row |= _no_object()
    else:
        row |= {name: _field(meta, name, shape, path) for name, shape in OBJECT_FIELDS.items()}
        row["objName"] = str(meta.get("objName") or "")
    row["annotated"] = True
    return row


def _no_object() -> dict[str, Any]:
    return {name: np.full(shape, np.nan) for name, shape in OBJECT_FIELDS.items()} | {"objName": ""}


def _field(meta: dict[str, Any], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if meta.get(name) is None:
        raise InputError(f"annotation {path} has no '{name}'; it holds {', '.join(sorted(map(str, meta)))}")
    try:
        value = np.asarray(meta[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"annotation {path}: '{name}' holds no numbers ({error}): download it again") from error
    # the same numbers come as columns and as rows
    if value.size != np.prod(shape) or (len(shape) == 2 and value.shape != shape):
        raise InputError(f"annotation {path}: '{name}' has shape {value.shape}, expected {shape}")
    if not np.isfinite(value).all():
        raise InputError(f"annotation {path}: '{name}' holds NaN or infinity: take the frame off the list or repair it")
    return value.reshape(shape)


def _check_camera(intrinsics: np.ndarray, path: Path) -> None:
    (fx, _, cx), (shear, fy, cy), bottom = intrinsics.tolist()
    width, height = IMAGE_SIZE
    central = -width / 2 <= cx <= 1.5 * width and -height / 2 <= cy <= 1.5 * height
    if not (fx > 0 and fy > 0 and shear == 0 and bottom == [0, 0, 1] and central):
        raise InputError(
            f"annotation {path}: 'camMat' is no camera of a {width}x{height} image: expected rows (fx, s, cx), "
            f"(0, fy, cy), (0, 0, 1) in pixels, fx and fy positive, got {intrinsics.tolist()}"
        )


def turned(rotations: np.ndarray) -> np.ndarray:
    """Rotations into OpenGL axes as rotations into OpenCV axes: half a turn about x is put in front.

    Args:
        rotations: (N, 3) axis-angle, radians.

    Returns:
        (N, 3) axis-angle, radians, at most half a turn each.
    """
    half_turn = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    quaternions = roma.rotvec_to_unitquat(torch.from_numpy(rotations))
    return roma.unitquat_to_rotvec(roma.quat_product(half_turn.expand_as(quaternions), quaternions)).numpy()


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def _project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    homogeneous = points @ intrinsics.transpose(0, 2, 1)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def _bounds(points_2d: np.ndarray) -> np.ndarray:
    return np.concatenate([points_2d.min(axis=1), points_2d.max(axis=1)], axis=1)
