"""FreiHAND, release 2: single right hands in crops of 224x224 pixels (Zimmermann et al., ICCV 2019).

Read from the original tree (``training/``, ``evaluation/`` and the JSONs beside them); see ``docs/freihand.md``.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import orjson
import torch
from torch import Tensor

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.dataset import ErrorPolicy
from handlit.data.loading.visibility import visibility_from_mesh
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.ground_truth import VERTS_FILE, XYZ_FILE, read_ground_truth
from handlit.formats.images import decode, read_bytes
from handlit.formats.index import cached_arrays, cached_frames, fingerprint
from handlit.geometry.crops import CropRule
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS, reorder

#: How the background of an image was made: the green screen itself, or three ways to put another one in its place.
ColourVersion = Literal["gs", "hom", "sample", "auto"]
Visibility = Literal["none", "mesh"]
ListName = Literal["training", "evaluation"]

#: Files of a version follow on those of the one before.
VERSIONS: tuple[ColourVersion, ...] = get_args(ColourVersion)
IMAGE_SIZE = 224
#: The whole image as a box, from the outer edge of its first pixel to that of its last.
IMAGE_BOX = (-0.5, -0.5, IMAGE_SIZE - 0.5, IMAGE_SIZE - 0.5)
#: A pixel of a mask is hand from this value on; JPEG blurs it.
MASK_THRESHOLD = 128
#: Validation takes the last samples of every so many: neighbours in the list may be neighbours in time.
VALIDATION_BLOCK = 1000


def read_mask(path: Path) -> tuple[np.ndarray, None]:
    """Decode a mask.

    Returns:
        Mask of the hand, (224, 224) bool; None for the object, which the dataset does not segment.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged.
    """
    return decode(read_bytes(path), path, cv2.IMREAD_GRAYSCALE) >= MASK_THRESHOLD, None


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
    try:
        # Python's writers put NaN into JSON, which is not JSON
        entries = orjson.loads(path.read_bytes().replace(b"NaN", b"null").replace(b"Infinity", b"null"))
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}): is it cut short? Unpack it again") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} must be a list with an entry for each sample, got {str(entries)[:60]}")
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
    joints = read_json(root / "training_xyz.json", (21, 3), count)[:, reorder("freihand", "handlit")]
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
        labels["root_cam"] = read_json(root / XYZ_FILE, (21, 3), count)[:, JOINTS.index("wrist")]
    if (root / "evaluation_mano.json").is_file():
        labels["pose"], labels["betas"] = read_mano(root, "evaluation", count, pose_mean)
    return _table("evaluation", numbers, labels)


def _table(split: ListName, numbers: np.ndarray, labels: dict[str, np.ndarray]) -> FrameTable:
    sizes = np.full((len(numbers), 2), IMAGE_SIZE, dtype=np.int32)
    keys = np.array([f"{number:08d}" for number in numbers])
    images = np.array([f"{split}/rgb/{number:08d}.jpg" for number in numbers])
    for name in ("root_cam", "joints_cam", "pose", "betas"):
        if name in labels:
            labels[name] = labels[name].astype(np.float32)
    return FrameTable(keys=keys, images=images, image_sizes=sizes, **labels)


def read_intrinsics(root: Path, split: ListName) -> np.ndarray:
    """(N, 3, 3) cameras of a split's samples, pixels.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged, or an entry is no pinhole camera.
    """
    path = root / f"{split}_K.json"
    matrices = read_json(path, (3, 3))
    pinhole = (matrices[:, 2] == (0, 0, 1)).all(axis=1) & (matrices[:, 0, 0] > 0) & (matrices[:, 1, 1] > 0)
    if not pinhole.all():
        entry = int(np.flatnonzero(~pinhole)[0])
        raise InputError(f"{path}: entry {entry} is no camera matrix in pixels: {matrices[entry].tolist()}")
    return matrices


def read_mano(root: Path, split: ListName, count: int, pose_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose (N, 48) and shape (N, 10) of a split's hands in handlit's convention: a flat hand is zero.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It is damaged or does not fit.
    """
    numbers = read_json(root / f"{split}_mano.json", (1, 61), count)[:, 0]
    pose = numbers[:, :48].copy()
    pose[:, 3:] += pose_mean
    return pose, numbers[:, 48:58]


def _check_images(root: Path, folder: str, numbers: np.ndarray, wanted: str) -> None:
    if not (root / folder).is_dir():
        raise FileNotFoundError(f"{root / folder} is missing: complete the dataset's folder")
    found = {path.name for path in (root / folder).glob("*.jpg")}
    missing = [name for name in (f"{number:08d}.jpg" for number in numbers) if name not in found]
    if missing:
        raise InputError(
            f"{root / folder} lacks {len(missing)} images of {wanted}, {missing[0]} first; it has {len(found)}. "
            "Release 2 has all four versions, release 1 only gs: choose `versions` accordingly, or unpack it again"
        )


def held_out(samples: np.ndarray, count: int, fraction: float) -> np.ndarray:
    """Choose samples for validation: the last ones of every block of 1,000 in the dataset's order.

    Args:
        samples: (N,) sample of each image; versions of a sample have the same number.
        count: Samples of the dataset.
        fraction: Share of the samples, at least 0 and below 1.

    Returns:
        (N,) bool, True for validation.
    """
    block = min(VALIDATION_BLOCK, count)
    return samples % block >= block - min(int(np.ceil(fraction * block)), block - 1)


class FreiHAND(HandDataModule):
    """Training, validation and evaluation splits of FreiHAND, release 2.

    The images are crops of hands already. With the crop rule ``whole`` training and evaluation both take them as they
    are. Every other rule needs a box: around the joints in training; in evaluation, where joints are not given, the
    whole image, so that hands are then smaller in the crop than in training.

    The evaluation split gives each hand's camera and scale, and its root only in the ground truth that was released
    later. Without that file a submission's roots are fitted to the predicted 2D joints.

    Args:
        root: Folder with ``training_K.json``, ``training/`` and ``evaluation/``.
        versions: Colour versions to train on: ``gs``, ``hom``, ``sample``, ``auto``; None for all four.
        image_size: Side of the square crops, pixels.
        crop: Rule that cuts a square out of the image.
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        val_fraction: Share of the training samples, with all their versions, that is held out for validation.
        augmentation: Random changes of the training samples.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
        masks: Give the training samples the hand's mask.
        on_error: What to do about a training sample whose files are missing or damaged: ``"raise"``, or ``"skip"`` it
            with a warning.
        max_errors: With ``"skip"``, how many samples of a process may be left out.
        visibility: ``"mesh"`` tells which joints and vertices the hand itself does not hide, by its mesh; computed
            once. Objects that hide them are not known to the dataset.
    """

    protocol = "freihand"
    box_source = "the whole image"
    tips = "freihand"
    mask_reader = staticmethod(read_mask)

    def __init__(
        self,
        root: str,
        versions: list[ColourVersion] | None = None,
        image_size: int = 224,
        crop: CropRule = "whole",
        batch_size: int = 16,
        num_workers: int = 8,
        val_fraction: float = 0.05,
        augmentation: Augmentation | None = None,
        mano_path: str | None = None,
        masks: bool = False,
        on_error: ErrorPolicy = "raise",
        max_errors: int = 100,
        visibility: Visibility = "none",
    ) -> None:
        super().__init__(
            image_size, crop, batch_size, num_workers, augmentation, mano_path, masks, on_error, max_errors
        )
        chosen = list(VERSIONS) if versions is None else versions
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(VERSIONS):
            raise InputError(f"versions must be some of {', '.join(VERSIONS)}, each once, got {versions}")
        if visibility not in get_args(Visibility):
            raise InputError(f"visibility must be one of {', '.join(get_args(Visibility))}, got '{visibility}'")
        if not 0 <= val_fraction < 1:
            raise InputError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")
        self.root = Path(root)
        self.versions: list[ColourVersion] = [version for version in VERSIONS if version in chosen]
        self.val_fraction = val_fraction
        self.visibility: Visibility = visibility
        self._tables: dict[ListName, FrameTable] = {}
        self._bone_lengths: Tensor | None = None

    def prepare_data(self) -> None:
        """Build the index that the run needs, in one process for all."""
        fit = self.trainer is None or self.trainer.state.fn in ("fit", "validate")
        self.table("training" if fit else "evaluation")

    def table(self, name: ListName) -> FrameTable:
        """The labels of a split, from the index, which is built if it is missing or out of date."""
        if name not in self._tables:
            self._tables[name] = self._training() if name == "training" else self._evaluation()
        return self._tables[name]

    def _training(self) -> FrameTable:
        files = [self.root / f"training_{kind}.json" for kind in ("K", "xyz", "mano")]
        # a folder's own time changes when images come or go
        identity = self._identity([*files, self.root / "training" / "rgb", self.root / "training" / "mask"])
        name = "-".join(["training", *self.versions])
        build = partial(read_training, self.root, self.versions, self._pose_mean)
        frames = cached_frames(name, self.root, identity, build)
        if self.visibility == "none":
            return frames

        def from_mesh() -> dict[str, np.ndarray]:
            # a sample's versions show the same hand
            one = frames.select(np.arange(len(frames) // len(self.versions)))
            joints, vertices = visibility_from_mesh(self.root, one, self.hand)
            repeats = (len(self.versions), 1)
            return {"visible": np.tile(joints, repeats), "vertices_visible": np.tile(vertices, repeats)}

        return replace(frames, **cached_arrays(f"{name}-seen-of-mesh", self.root, identity, from_mesh))

    def _evaluation(self) -> FrameTable:
        files = [self.root / f"evaluation_{kind}.json" for kind in ("K", "xyz", "mano")]
        identity = self._identity([*files, self.root / "evaluation" / "rgb"])
        build = partial(read_evaluation, self.root, self._pose_mean)
        return cached_frames("evaluation", self.root, identity, build)

    @property
    def _pose_mean(self) -> np.ndarray:
        return load_hand(self.mano_path).pose_mean

    def _identity(self, files: list[Path]) -> str:
        # the table's poses hold the mean pose of the hand model, its visibility the model's mesh
        asset = load_hand(self.mano_path)
        model = hashlib.sha256(asset.pose_mean.tobytes() + asset.template.tobytes()).hexdigest()
        return fingerprint(self.root, files, settings=f"{self.versions} {model}")

    def setup(self, stage: str) -> None:
        """Open the index and choose the images of the stage."""
        if stage in ("fit", "validate") and "train" not in self.datasets:
            frames = self.table("training")
            count = len(frames) // len(self.versions)
            chosen = held_out(np.arange(len(frames)) % count, count, self.val_fraction)
            self.datasets["train"] = self.make_dataset(self.root, frames, np.flatnonzero(~chosen), train=True)
            self.datasets["val"] = self.make_dataset(self.root, frames, np.flatnonzero(chosen))
        if stage == "predict" and "predict" not in self.datasets:
            self.datasets["predict"] = self.make_dataset(self.root, self.table("evaluation"))
        if stage == "test" and "test" not in self.datasets:
            self.datasets["test"] = self.make_dataset(self.root, with_ground_truth(self.table("evaluation"), self.root))

    def bone_lengths(self, index: Tensor) -> Tensor:
        """Lengths that the evaluation split gives: of the middle finger's proximal bone.

        Args:
            index: (B,) positions in the evaluation split.

        Returns:
            (B,) metres.
        """
        if self._bone_lengths is None:
            path = self.root / "evaluation_scale.json"
            lengths = read_json(path, (), len(self.table("evaluation")))
            if not ((lengths > 0.005) & (lengths < 0.1)).all():
                entry = int(np.flatnonzero(~((lengths > 0.005) & (lengths < 0.1)))[0])
                raise InputError(f"{path}: entry {entry} is {lengths[entry]}, expected a bone's length in metres")
            self._bone_lengths = torch.from_numpy(lengths).float()
        return self._bone_lengths[index.cpu()].to(index.device)


def with_ground_truth(frames: FrameTable, root: Path) -> FrameTable:
    """The evaluation images with their public ground truth, ``evaluation_xyz.json`` and ``evaluation_verts.json``.

    Raises:
        InputError: The files are missing, damaged or do not fit the images.
    """
    truth = read_ground_truth(root, "freihand")
    if len(truth) != len(frames):
        raise InputError(
            f"{root}: {XYZ_FILE} and {VERTS_FILE} hold {len(truth)} hands, evaluation_K.json {len(frames)} samples"
        )
    joints = truth.protocol.joints_from_official(truth.joints)
    return replace(frames, joints_cam=joints, vertices_cam=truth.protocol.points_to_official(truth.vertices))
