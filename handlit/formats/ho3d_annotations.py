"""HO-3D's annotations, one pickle for each frame, checked and brought to handlit's conventions.

They are in OpenGL axes, in HO-3D's joint order, with full axis-angle poses and a flat mean hand. Only arrays are needed
here, so that the processes that read annotations start quickly.

References:
    Hampali et al., HOnnotate, CVPR 2020, https://arxiv.org/abs/1907.01481, and the official code,
    https://github.com/shreyashampali/ho3d (commit 0132f32).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handlit.errors import InputError
from handlit.geometry.axes import OPENGL_TO_OPENCV
from handlit.hand.unpickle import restricted_load
from handlit.reading import shown
from handlit.skeleton import reorder

HO3DSplit = Literal["train", "evaluation"]

#: Width and height of every image, pixels.
IMAGE_SIZE = (640, 480)
#: Multiply points in HO-3D's axes by this to get handlit's, and back.
FLIP = np.array(OPENGL_TO_OPENCV)
#: Shapes of the fields of an annotation that must be there.
HAND_FIELDS: dict[HO3DSplit, dict[str, tuple[int, ...]]] = {
    "train": {"handJoints3D": (21, 3), "handPose": (48,), "handBeta": (10,), "camMat": (3, 3)},
    "evaluation": {"handBoundingBox": (4,), "camMat": (3, 3)},
}
#: Name of an object and of its folder.
OBJECT_NAME = re.compile(r"[\w-]{0,60}")
#: Shapes of the fields about the object; a frame without them has no labels of the object.
OBJECT_FIELDS: dict[str, tuple[int, ...]] = {"objCorners3D": (8, 3), "objRot": (3,), "objTrans": (3,)}


def read_meta(path: Path) -> dict[str, Any]:
    """The fields of one annotation file as they are stored, without running what a pickle may hold.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged or no annotation.
    """
    if not path.is_file():
        raise FileNotFoundError(f"annotation {path} is missing: is the dataset's folder complete?")
    meta = restricted_load(path)
    if not isinstance(meta, dict):
        raise InputError(f"annotation {path} holds a {type(meta).__name__}, expected a dict: download it again")
    return meta


def read_annotation(path: Path, split: HO3DSplit, in_front: bool = True) -> dict[str, Any]:
    """The checked fields of one file, as they are stored, in float64.

    Args:
        path: The annotation.
        split: Decides which fields must be there.
        in_front: Refuse a hand that is not in front of the camera.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged.
    """
    meta = read_meta(path)
    needed = HAND_FIELDS[split]
    if meta.get("handJoints3D") is None or (split == "train" and meta.get("handPose") is None):
        # a placeholder that projects: its row is never used
        row: dict[str, Any] = {name: np.ones(shape) for name, shape in needed.items()}
        return row | _no_object() | {"root": -np.ones(3), "annotated": False}
    row = {name: read_field(meta, name, shape, path) for name, shape in needed.items()}
    _check_camera(row["camMat"], path)
    if split == "train":
        row["root"] = row["handJoints3D"][0]
    else:
        # the root alone, or a copy of the dataset with all joints filled in
        joints = _numbers(meta, "handJoints3D", (3,), path)
        if joints.size not in (3, 63) or not np.isfinite(joints).all():
            raise InputError(f"annotation {path}: 'handJoints3D' must be the finite root (3,), got {joints.shape}")
        row["root"] = joints.ravel()[:3]
    if in_front and (row.get("handJoints3D", row["root"])[..., 2] >= 0).any():
        raise InputError(f"annotation {path}: the hand is behind the camera; expected OpenGL axes (negative z), metres")
    if any(meta.get(name) is None for name in OBJECT_FIELDS):
        row |= _no_object()
    else:
        row |= {name: read_field(meta, name, shape, path) for name, shape in OBJECT_FIELDS.items()}
        row["objName"] = object_name(meta, path)
    row["annotated"] = True
    return row


def _no_object() -> dict[str, Any]:
    return {name: np.full(shape, np.nan) for name, shape in OBJECT_FIELDS.items()} | {"objName": ""}


def read_field(meta: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """One field of an annotation as float64 numbers of this shape.

    Args:
        meta: All fields.
        name: Of the field.
        shape: Of the field; the same numbers are stored as columns and as rows.
        path: Of the file, for messages.

    Raises:
        InputError: The field is missing, of another shape, or not finite.
    """
    if meta.get(name) is None:
        raise InputError(f"annotation {path} has no '{name}'; it holds {shown(', '.join(sorted(meta)), 300)}")
    value = _numbers(meta, name, shape, path)
    if value.size != np.prod(shape) or (len(shape) == 2 and value.shape != shape):
        raise InputError(f"annotation {path}: '{name}' has shape {value.shape}, expected {shape}")
    if not np.isfinite(value).all():
        raise InputError(f"annotation {path}: '{name}' holds NaN or infinity: take the frame off the list or repair it")
    return value.reshape(shape)


def object_name(meta: Mapping[str, Any], path: Path) -> str:
    """Name of the held object, which is that of a folder; "" without one.

    Raises:
        InputError: It cannot be such a name.
    """
    name = "" if meta.get("objName") is None else str(meta["objName"])
    if not OBJECT_NAME.fullmatch(name):
        raise InputError(f"annotation {path}: 'objName' must be an object's name like 003_box, got {shown(name)}")
    return name


def _numbers(meta: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    try:
        return np.asarray(meta[name], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        held = f"{type(meta[name]).__name__} {shown(meta[name])}"
        raise InputError(f"annotation {path}: '{name}' holds {held}, expected numbers of shape {shape}") from error


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
    import roma
    import torch

    half_turn = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    quaternions = roma.rotvec_to_unitquat(torch.from_numpy(rotations))
    return roma.unitquat_to_rotvec(roma.quat_product(half_turn.expand_as(quaternions), quaternions)).numpy()


def annotation_arrays(rows: Sequence[Mapping[str, Any]], split: HO3DSplit) -> dict[str, np.ndarray]:
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
        "object_boxes": projected_boxes(stacked["objCorners3D"] * FLIP, intrinsics),
        "object_pose": _single(np.concatenate([turned(stacked["objRot"]), stacked["objTrans"] * FLIP], axis=1)),
        "object_names": stacked["objName"],
    }
    if split == "evaluation":
        return table | {"boxes": stacked["handBoundingBox"]}
    joints = (stacked["handJoints3D"] * FLIP)[:, reorder("ho3d", "handlit")]
    pose = stacked["handPose"]
    return table | {
        "boxes": projected_boxes(joints, intrinsics),
        "joints_cam": _single(joints),
        "pose": _single(np.concatenate([turned(pose[:, :3]), pose[:, 3:]], axis=1)),
        "betas": _single(stacked["handBeta"]),
    }


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def projected_boxes(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) in pixels around points (N, P, 3) in camera coordinates, by cameras (N, 3, 3)."""
    homogeneous = points @ intrinsics.transpose(0, 2, 1)
    points_2d = homogeneous[..., :2] / homogeneous[..., 2:]
    return np.concatenate([points_2d.min(axis=1), points_2d.max(axis=1)], axis=1)
