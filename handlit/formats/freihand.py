"""FreiHAND, release 2, on disk: single right hands in crops of 224x224 pixels.

``training/`` and ``evaluation/`` with images and masks, and the lists of labels beside them; see
``docs/reference/freihand.md``.

References:
    Project page: https://lmb.informatik.uni-freiburg.de/projects/freihand/. Zimmermann et al., ICCV 2019,
    https://arxiv.org/abs/1909.04349. Scores as in the official code, https://github.com/lmb-freiburg/freihand (commit
    1287140).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from handlit.errors import InputError
from handlit.formats import images
from handlit.formats.benchmark import Benchmark
from handlit.formats.frame_table import FrameTable
from handlit.formats.scenes import Scenes, existing
from handlit.formats.truth_files import XYZ_FILE
from handlit.reading import MAX_TEXT, parse_json, read_bytes, shown
from handlit.skeleton import JOINTS, ORDERS, reorder

#: How the background of an image was made: the green screen itself, or three ways to put another one in its place.
ColourVersion = Literal["gs", "hom", "sample", "auto"]
FreiHANDSplit = Literal["training", "evaluation"]

#: Files of a version follow on those of the one before.
VERSIONS: tuple[ColourVersion, ...] = get_args(ColourVersion)
#: Side of the square images, pixels.
IMAGE_SIZE = 224
#: The whole image as a box, from the outer edge of its first pixel to that of its last.
IMAGE_BOX = (-0.5, -0.5, IMAGE_SIZE - 0.5, IMAGE_SIZE - 0.5)
#: A pixel of a mask is hand from this value on; JPEG blurs it.
MASK_THRESHOLD = 128
#: Lengths between which the scale must lie, metres.
MIN_SCALE, MAX_SCALE = 0.005, 0.1
#: Lists of labels, ``SPLIT_KIND.json``, and the shape of an entry. ``scale`` is the length of the middle finger's first
#: bone in metres, ``mano`` pose (48), shape (10), root in pixels (2) and that scale.
LISTS: dict[str, tuple[int, ...]] = {"K": (3, 3), "scale": (), "xyz": (21, 3), "mano": (1, 61), "verts": (778, 3)}


def list_file(root: Path, split: FreiHANDSplit, kind: str) -> Path:
    """The list of one kind of label, a key of `LISTS`."""
    return root / f"{split}_{kind}.json"


def read_mask(path: Path) -> tuple[np.ndarray, None]:
    """Decode a mask.

    Returns:
        Mask of the hand, (224, 224) bool; None for the object, which the dataset does not segment.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged.
    """
    return images.decode(images.read_bytes(path), path, cv2.IMREAD_GRAYSCALE) >= MASK_THRESHOLD, None


def read_json(path: Path, shape: tuple[int, ...], count: int | None = None) -> np.ndarray:
    """Read one of the dataset's lists.

    Args:
        path: The file.
        shape: Of one entry.
        count: Number of entries that it must have; None for any.

    Returns:
        (N, *shape) float64.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is cut short, or its length, an entry's shape or a number is wrong; the message names the entry.
    """
    entries = read_entries(path)
    if count is not None and len(entries) != count:
        raise InputError(f"{path} has {len(entries)} entries, expected {count}, as many as the K.json beside it")
    try:
        values = np.array(entries, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (len(entries), *shape) or not np.isfinite(values).all():
        _name_bad_entry(path, entries, shape)
    return values


def read_entries(path: Path) -> list[Any]:
    """The entries of one of the dataset's lists, whatever they are; NaN and infinity become None.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is cut short or no list.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the root of FreiHAND is the folder that holds training_K.json")
    expected = "a list with an entry for each sample"
    content = read_bytes(path, MAX_TEXT, expected)
    # Python's writers put NaN into JSON, which is not JSON
    entries = parse_json(content.replace(b"NaN", b"null").replace(b"Infinity", b"null"), path, expected)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} must be {expected}, got {shown(entries)}")
    return entries


def _name_bad_entry(path: Path, entries: list[Any], shape: tuple[int, ...]) -> None:
    for number, entry in enumerate(entries):
        try:
            value = np.array(entry, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: entry {number} is no array of numbers, expected shape {shape}") from error
        if value.shape != shape:
            raise InputError(f"{path}: entry {number} has shape {value.shape}, expected {shape}")
        if not np.isfinite(value).all():
            raise InputError(f"{path}: entry {number} holds NaN, null or infinity")


def read_training(root: Path, versions: Sequence[ColourVersion], pose_mean: np.ndarray) -> FrameTable:
    """Labels of the training images, version by version.

    Args:
        root: Folder with ``training_K.json``.
        versions: Colour versions.
        pose_mean: (45,) mean finger pose of the hand model, which the dataset's poses leave out.

    Raises:
        FileNotFoundError: A JSON or a folder is missing.
        InputError: A JSON is damaged, does not fit the others, or images are missing.
    """
    intrinsics = read_intrinsics(root, "training")
    count = len(intrinsics)
    joints = read_json(list_file(root, "training", "xyz"), LISTS["xyz"], count)[:, reorder("freihand", "handlit")]
    if not (joints[..., 2] > 0).all():
        entry = int(np.flatnonzero((joints[..., 2] <= 0).any(axis=1))[0])
        raise InputError(f"{root / 'training_xyz.json'}: entry {entry} has joints behind the camera (z <= 0)")
    pose, betas = read_mano(root, "training", count, pose_mean)
    uv = (joints @ intrinsics.transpose(0, 2, 1)) / joints[..., 2:]
    boxes = np.concatenate([uv[..., :2].min(axis=1), uv[..., :2].max(axis=1)], axis=1)
    numbers = np.concatenate([np.arange(count) + VERSIONS.index(version) * count for version in versions])
    _check_images(root, "training/rgb", numbers, f"the {count} samples of training_K.json in versions {versions}")
    samples = numbers % count
    _check_images(root, "training/mask", np.arange(count), f"the {count} samples of training_K.json")
    labels = {
        "intrinsics": intrinsics,
        "boxes": boxes,
        "root_cam": joints[:, 0],
        "joints_cam": joints,
        "pose": pose,
        "betas": betas,
        "masks": np.array([f"training/mask/{sample:08d}.jpg" for sample in range(count)]),
    }
    return _table("training", numbers, {name: value[samples] for name, value in labels.items()})


def read_evaluation(root: Path, pose_mean: np.ndarray) -> FrameTable:
    """What is known of the evaluation images, in the order of a submission.

    The hand's box is the whole image. Root, joints and pose come from the files that were released later, where they
    are there.

    Args:
        root: Folder with ``evaluation_K.json``.
        pose_mean: (45,) mean finger pose of the hand model.

    Raises:
        FileNotFoundError: A JSON or a folder is missing.
        InputError: A JSON is damaged, does not fit the others, or images are missing.
    """
    intrinsics = read_intrinsics(root, "evaluation")
    count = len(intrinsics)
    numbers = np.arange(count)
    _check_images(root, "evaluation/rgb", numbers, f"the {count} samples of evaluation_K.json")
    labels = {"intrinsics": intrinsics, "boxes": np.tile(np.array(IMAGE_BOX), (count, 1))}
    if (root / XYZ_FILE).is_file():
        labels["root_cam"] = read_json(root / XYZ_FILE, LISTS["xyz"], count)[:, JOINTS.index("wrist")]
    if list_file(root, "evaluation", "mano").is_file():
        labels["pose"], labels["betas"] = read_mano(root, "evaluation", count, pose_mean)
    return _table("evaluation", numbers, labels)


def _table(split: FreiHANDSplit, numbers: np.ndarray, labels: dict[str, np.ndarray]) -> FrameTable:
    sizes = np.full((len(numbers), 2), IMAGE_SIZE, dtype=np.int32)
    keys = np.array([f"{number:08d}" for number in numbers])
    images = np.array([f"{split}/rgb/{number:08d}.jpg" for number in numbers])
    for name in ("root_cam", "joints_cam", "pose", "betas"):
        if name in labels:
            labels[name] = labels[name].astype(np.float32)
    return FrameTable(keys=keys, images=images, image_sizes=sizes, **labels)


def read_intrinsics(root: Path, split: FreiHANDSplit) -> np.ndarray:
    """(N, 3, 3) cameras of a split's samples, pixels.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged, or an entry is no pinhole camera.
    """
    path = list_file(root, split, "K")
    matrices = read_json(path, LISTS["K"])
    pinhole = (matrices[:, 2] == (0, 0, 1)).all(axis=1) & (matrices[:, 0, 0] > 0) & (matrices[:, 1, 1] > 0)
    if not pinhole.all():
        entry = int(np.flatnonzero(~pinhole)[0])
        raise InputError(f"{path}: entry {entry} is no camera matrix in pixels: {matrices[entry].tolist()}")
    return matrices


def read_mano(root: Path, split: FreiHANDSplit, count: int, pose_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose (N, 48) and shape (N, 10) of a split's hands in handlit's convention: a flat hand is zero.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged or does not fit.
    """
    numbers = read_json(list_file(root, split, "mano"), LISTS["mano"], count)[:, 0]
    pose = numbers[:, :48].copy()
    pose[:, 3:] += pose_mean
    return pose, numbers[:, 48:58]


def read_scales(root: Path, split: FreiHANDSplit, count: int) -> np.ndarray:
    """(N,) lengths of the middle finger's proximal bone, metres.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged or does not fit, or an entry is no bone's length.
    """
    path = list_file(root, split, "scale")
    lengths = read_json(path, LISTS["scale"], count)
    plausible = (lengths > MIN_SCALE) & (lengths < MAX_SCALE)
    if not plausible.all():
        entry = int(np.flatnonzero(~plausible)[0])
        raise InputError(f"{path}: entry {entry} is {lengths[entry]}, expected a bone's length in metres")
    return lengths


def _check_images(root: Path, folder: str, numbers: np.ndarray, expected: str) -> None:
    if not (root / folder).is_dir():
        raise FileNotFoundError(f"{root / folder} is missing: complete the dataset's folder")
    found = {path.name for path in (root / folder).glob("*.jpg")}
    missing = [name for name in (f"{number:08d}.jpg" for number in numbers) if name not in found]
    if missing:
        raise InputError(
            f"{root / folder} lacks {len(missing)} images of {expected}, {missing[0]} first; it has {len(found)}. "
            "Release 2 has all four versions, release 1 only gs: choose `versions` accordingly, or unpack it again"
        )


class FreiHANDScenes(Scenes):
    """Images and cameras of the evaluation split."""

    def image_file(self, number: int) -> Path | None:
        """``evaluation/rgb/NUMBER``."""
        return existing(self.root / "evaluation" / "rgb" / self.names[number], (".jpg", ".png"))

    def intrinsics(self, number: int) -> np.ndarray | None:
        """(3, 3) of ``evaluation_K.json``, pixels, or None."""
        return None if self._cameras is None else self._cameras[number]

    @cached_property
    def _cameras(self) -> np.ndarray | None:
        try:
            cameras = read_intrinsics(self.root, "evaluation")
        except (FileNotFoundError, InputError):
            return None
        return cameras if len(cameras) == len(self.names) else None


FREIHAND = Benchmark(
    name="freihand",
    title="FreiHAND",
    page="https://lmb.informatik.uni-freiburg.de/projects/freihand/",
    marks=("training_K.json", "training_xyz.json", "training_mano.json", "evaluation_K.json"),
    data="handlit.data.freihand.FreiHAND",
    image_folders="*/rgb",
    image_suffix=".jpg",
    tips="freihand",
    read_masks=read_mask,
    axes="opencv",
    joint_order=ORDERS["freihand"],
    image_size=(IMAGE_SIZE, IMAGE_SIZE),
    released={"training": 32_560, "evaluation": 3_960},
    error_keys={
        "joints": "xyz",
        "joints_procrustes": "xyz_al",
        "vertices": "mesh",
        "vertices_procrustes": "mesh_al",
    },
    scenes=FreiHANDScenes,
)
