"""HO-3D v2 and v3: right hands holding YCB objects, 640x480 RGB-D (Hampali et al., CVPR 2020 and 2022).

Read from the original tree (``train.txt``, ``evaluation.txt``, ``train|evaluation/SEQ/{rgb,meta}``). The annotations
are in OpenGL axes, in HO-3D's joint order, with full axis-angle poses and a flat mean hand; all of it is converted
here, once.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from handlit.data.augmentation import Augmentation
from handlit.data.base import HandDataModule, SubmissionProtocol
from handlit.data.frames import FrameTable
from handlit.geometry.cameras import OPENGL_TO_OPENCV
from handlit.geometry.crops import CropRule
from handlit.hand.unpickle import restricted_load
from handlit.scoring.ground_truth import read_ground_truth
from handlit.skeleton import reorder
from handlit.types import InputError

log = logging.getLogger(__name__)

Split = Literal["train", "evaluation"]
Version = Literal["v2", "v3"]

IMAGE_SIZE = (640, 480)
IMAGE_SUFFIX: dict[Version, str] = {"v2": ".png", "v3": ".jpg"}
FLIP = np.array(OPENGL_TO_OPENCV)


def read_list(root: Path, split: Split) -> list[str]:
    """Names ``SEQ/FRAME`` of a split, in the order of a submission.

    Raises:
        FileNotFoundError: The folder or its list file is missing.
        InputError: The list is empty.
    """
    path = root / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the root of HO-3D is the folder that holds train.txt and evaluation.txt "
            "(make a synthetic one with `python main.py synth --layout ho3d_v3 --out DIR --train 100 --evaluation 20`)"
        )
    names = path.read_text().split()
    if not names:
        raise InputError(f"{path} is empty: expected one SEQ/FRAME a line")
    return names


def read_frames(root: Path, split: Split, version: Version) -> FrameTable:
    """Read every annotation of a split.

    Training frames without a valid hand annotation (None in a hand field) are left out and counted in the log.

    Args:
        root: Folder with ``train.txt`` and ``evaluation.txt``.
        split: ``"train"`` (all labels) or ``"evaluation"`` (box and root only).
        version: Decides the image files' ending.

    Raises:
        FileNotFoundError: The list or an annotation file is missing.
        InputError: An annotation is damaged, holds NaN or lacks a field; the message names the file.
    """
    names = read_list(root, split)
    rows: dict[str, list[Any]] = {}
    skipped = 0
    for name in names:
        sequence, frame = name.split("/")
        meta_path = root / split / sequence / "meta" / f"{frame}.pkl"
        meta = _read_meta(meta_path)
        if meta.get("handJoints3D") is None or (split == "train" and meta.get("handPose") is None):
            skipped += 1
            continue
        row = _train_labels(meta, meta_path) if split == "train" else _evaluation_labels(meta, meta_path)
        row["keys"] = name
        row["images"] = f"{split}/{sequence}/rgb/{frame}{IMAGE_SUFFIX[version]}"
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
    if skipped:
        log.warning("%s: %d of %d frames have no hand annotation and are left out", root, skipped, len(names))
        if split == "evaluation":
            raise InputError(f"{root}: {skipped} evaluation frames have no root joint, a submission needs them all")
    if not rows:
        raise InputError(f"{root}: none of the {len(names)} frames of {split}.txt has a hand annotation")
    table = {key: np.array(values) for key, values in rows.items()}
    return FrameTable(image_sizes=np.tile(IMAGE_SIZE, (len(table["keys"]), 1)), **table)


def _read_meta(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"annotation {path} is missing: is the dataset's folder complete?")
    meta = restricted_load(path)
    if not isinstance(meta, dict):
        raise InputError(f"annotation {path} holds a {type(meta).__name__}, expected a dict: download it again")
    return meta


def _field(meta: dict[str, Any], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if meta.get(name) is None:
        raise InputError(f"annotation {path} has no '{name}'; it holds {', '.join(sorted(meta))}")
    value = np.asarray(meta[name], dtype=np.float64)
    if value.size != np.prod(shape):
        raise InputError(f"annotation {path}: '{name}' has shape {value.shape}, expected {shape}")
    if not np.isfinite(value).all():
        raise InputError(f"annotation {path}: '{name}' holds NaN or infinity: list the frame out or repair it")
    return value.reshape(shape)


def _common_labels(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    intrinsics = _field(meta, "camMat", (3, 3), path)
    corners = _field(meta, "objCorners3D", (8, 3), path) * FLIP
    return {"intrinsics": intrinsics, "object_boxes": _bounds(_project(corners, intrinsics))}


def _train_labels(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    row = _common_labels(meta, path)
    joints = (_field(meta, "handJoints3D", (21, 3), path) * FLIP)[reorder("ho3d", "handlit")]
    pose = _field(meta, "handPose", (48,), path)
    # the global rotation turns the hand in OpenGL axes: put the change of axes in front of it
    rotation, _ = cv2.Rodrigues(pose[:3])
    pose[:3] = cv2.Rodrigues(np.diag(FLIP) @ rotation)[0].ravel()
    row |= {
        "boxes": _bounds(_project(joints, row["intrinsics"])),
        "root_cam": joints[0],
        "joints_cam": joints,
        "pose": pose,
        "betas": _field(meta, "handBeta", (10,), path),
    }
    return row


def _evaluation_labels(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    row = _common_labels(meta, path)
    joints = np.asarray(meta["handJoints3D"], dtype=np.float64).reshape(-1, 3)
    if joints.shape[0] not in (1, 21) or not np.isfinite(joints).all():
        raise InputError(f"annotation {path}: 'handJoints3D' must be the finite root (3,), got shape {joints.shape}")
    row |= {"boxes": _field(meta, "handBoundingBox", (4,), path), "root_cam": joints[0] * FLIP}
    return row


def _project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    homogeneous = points @ intrinsics.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def _bounds(points_2d: np.ndarray) -> np.ndarray:
    return np.concatenate([points_2d.min(axis=0), points_2d.max(axis=0)])


def hold_out_sequences(keys: np.ndarray, fraction: float) -> np.ndarray:
    """Choose whole sequences for validation, spread evenly over the sorted list of sequences.

    Neighbouring frames of a sequence are nearly the same picture: holding out frames instead would measure memory.

    Args:
        keys: (N,) names ``SEQ/FRAME``.
        fraction: Share of the sequences, 0 for none.

    Returns:
        (N,) bool, True for validation frames.
    """
    sequences = np.array([key.split("/")[0] for key in keys])
    names = np.unique(sequences)
    count = int(np.ceil(fraction * len(names))) if fraction > 0 else 0
    if count == 0 or len(names) < 2:
        return np.zeros(len(keys), dtype=bool)
    chosen = names[np.linspace(0, len(names) - 1, min(count, len(names) - 1) + 2)[1:-1].round().astype(int)]
    return np.isin(sequences, chosen)


class HO3D(HandDataModule):
    """Training, validation and evaluation splits of HO-3D.

    Validation frames are whole training sequences that are held out, since the evaluation split's labels are public
    only for scoring. The test split is the evaluation split with that public ground truth, where it is present.

    Args:
        root: Folder with ``train.txt``, ``evaluation.txt``, ``train/`` and ``evaluation/``.
        version: ``"v2"`` (png images) or ``"v3"`` (jpg images).
        image_size: Side of the square crops, pixels.
        crop: Rule that puts the square around the hand: a published method's or a plain centred one.
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        val_fraction: Share of the training sequences that is held out for validation.
        augmentation: Random changes of the training samples.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
    """

    def __init__(
        self,
        root: str,
        version: Version = "v3",
        image_size: int = 224,
        crop: CropRule = "amvur",
        batch_size: int = 16,
        num_workers: int = 8,
        val_fraction: float = 0.05,
        augmentation: Augmentation | None = None,
        mano_path: str | None = None,
    ) -> None:
        super().__init__(image_size, crop, batch_size, num_workers, augmentation, mano_path)
        self.root = Path(root)
        self.version: Version = version
        self.val_fraction = val_fraction
        self.protocol: SubmissionProtocol = "ho3d_v2" if version == "v2" else "ho3d_v3"

    def setup(self, stage: str) -> None:
        """Read the annotations that the stage needs."""
        if stage in ("fit", "validate") and "train" not in self.datasets:
            frames = read_frames(self.root, "train", self.version)
            held_out = hold_out_sequences(frames.keys, self.val_fraction)
            self.datasets["train"] = self.make_dataset(self.root, frames, np.flatnonzero(~held_out), train=True)
            self.datasets["val"] = self.make_dataset(self.root, frames, np.flatnonzero(held_out))
        if stage == "predict" and "predict" not in self.datasets:
            frames = read_frames(self.root, "evaluation", self.version)
            self.datasets["predict"] = self.make_dataset(self.root, frames)
        if stage == "test" and "test" not in self.datasets:
            frames = read_frames(self.root, "evaluation", self.version)
            self.datasets["test"] = self.make_dataset(self.root, with_ground_truth(frames, self.root, self.protocol))


def with_ground_truth(frames: FrameTable, root: Path, protocol: SubmissionProtocol) -> FrameTable:
    """The evaluation frames with their public ground truth, ``evaluation_xyz.json`` and ``evaluation_verts.json``.

    Raises:
        InputError: The files are missing, damaged or do not fit the frames.
    """
    truth = read_ground_truth(root, protocol)
    if truth.names != frames.keys.tolist():
        raise InputError(f"{root}: the ground-truth JSONs hold {len(truth)} frames, the annotations {len(frames)}")
    joints_cam = truth.protocol.joints_from_official(truth.joints)
    vertices_cam = truth.protocol.points_to_official(truth.vertices)
    return replace(frames, joints_cam=joints_cam, vertices_cam=vertices_cam)
