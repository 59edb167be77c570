"""One sample of a dataset: decode, crop, augment, and the labels that follow the image."""

import logging
import math
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from handlit.data.loading.augmentation import NO_CHANGE, Augmentation, Change, paste, recolour, sample_change
from handlit.data.loading.cropping import Crop, View, check_mask, place_crop
from handlit.data.loading.reference_crops import REFERENCE_CROPS
from handlit.data.loading.sampling import SeededIndex
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import MaskReader, read_bytes
from handlit.geometry import crops
from handlit.geometry.crops import CropRule, SquareRule
from handlit.geometry.mirroring import MIRROR, mirrored_rotation_vectors
from handlit.types import HandBatch, HandSample, collate

log = logging.getLogger(__name__)

#: What to do about a sample whose files cannot be read.
ErrorPolicy = Literal["raise", "skip"]
#: Loader processes that count errors apart from each other.
_COUNTERS = 1024


class HandDataset(Dataset[HandSample | None]):
    """Crops of a dataset's frames with their labels.

    Args:
        root: Folder that the table's file paths start from.
        frames: Labels.
        crop: Rule that puts the square around the hand.
        image_size: Side of the crops, pixels.
        augmentation: Random changes of the samples that are asked for by a `SeededIndex`; None for none.
        rows: Positions of the samples in the table, so that a table that is mapped from files stays whole; None for
            all of them.
        read_masks: Decodes the table's segmentation files; None leaves the masks out.
        on_error: Whether a file that is missing or damaged ends the run, or its sample is None and a warning names the
            file. A submission needs every frame, so ``"skip"`` is for training.
        max_errors: With ``"skip"``, how many samples all loader processes together may leave out.

    Raises:
        InputError: The augmentation is not one that the crop rule knows; or, with ``"raise"``, an image does not show
            the box of its hand, whose joints are not known either.
    """

    def __init__(
        self,
        root: Path,
        frames: FrameTable,
        crop: CropRule,
        image_size: int,
        augmentation: Augmentation | None = None,
        rows: np.ndarray | None = None,
        read_masks: MaskReader | None = None,
        on_error: ErrorPolicy = "raise",
        max_errors: int = 100,
    ) -> None:
        self._make_crop = REFERENCE_CROPS.get(crop) or partial(place_crop, cast(SquareRule, crop))
        if augmentation is not None and crop in REFERENCE_CROPS and augmentation.published != crop.split("_")[0]:
            raise InputError(
                f"crop {crop} repeats a published code, augmentation included: expected augmentation.published="
                f"{crop.split('_')[0]} or no augmentation, got {augmentation}"
            )
        self.root = root
        self.frames = frames
        self.crop: CropRule = crop
        self.image_size = image_size
        self.augmentation = augmentation
        self.rows = np.arange(len(frames)) if rows is None else rows
        self.read_masks = read_masks
        self.on_error: ErrorPolicy = on_error
        self.max_errors = max_errors
        # every loader process counts in a place of its own: a sum over shared memory without a lock
        self._errors = torch.zeros(_COUNTERS, dtype=torch.int64).share_memory_() if on_error == "skip" else None

        if crop != "whole":
            self._check_boxes()

    def __len__(self) -> int:
        return len(self.rows)

    def _check_boxes(self) -> None:
        """Refuse boxes that their images do not show now and not after hours; name those around known joints."""
        misses = crops.misses_image(self.frames.boxes[self.rows], self.frames.image_sizes[self.rows])
        missed = self.rows[misses].tolist()
        for row in missed if self.on_error == "raise" else []:
            self._crop(row, NO_CHANGE)
        if missed:
            key = self.frames.keys[missed[0]]
            log.warning("%s: %d of %d hands lie outside their image, %s first", self.root, len(missed), len(self), key)

    def __getitem__(self, item: int | SeededIndex) -> HandSample | None:
        if self._errors is None:
            return self._sample(item)
        try:
            return self._sample(item)
        except (InputError, OSError) as error:
            worker = get_worker_info()
            self._errors[0 if worker is None else 1 + worker.id % (_COUNTERS - 1)] += 1
            count = int(self._errors.sum())
            if count > self.max_errors:
                raise InputError(
                    f"{count} samples could not be read, at most {self.max_errors} may: {error}"
                ) from error
            log.warning("sample left out (%d so far): %s", count, error)
            return None

    def _sample(self, item: int | SeededIndex) -> HandSample:
        position = item.index if isinstance(item, SeededIndex) else item
        change = NO_CHANGE
        if isinstance(item, SeededIndex) and self.augmentation is not None:
            change = sample_change(self.augmentation, np.random.default_rng(item.seed))
        index = int(self.rows[position])
        crop = self._crop(index, change)
        cropped = self._image(index, crop)
        image = np.empty((3, *cropped.shape[:2]), dtype=np.uint8)
        cv2.split(cropped, list(image))
        if change is not NO_CHANGE:
            recolour(image, change.gain)
        covered = paste(image, change.patches) if change.patches else None
        labels = self._labels(index, crop)
        if self.read_masks is not None:
            labels |= self._masks(index, crop, covered)
        self._add_visibility(index, crop, covered, labels)
        return HandSample(
            key=str(self.frames.keys[index]),
            index=position,
            image=torch.from_numpy(image),
            intrinsics=torch.from_numpy(crop.intrinsics.astype(np.float32)),
            crop_transform=torch.from_numpy(crop.transform.astype(np.float32)),
            **{
                name: torch.from_numpy(value if value.dtype == np.bool_ else value.astype(np.float32))
                for name, value in labels.items()
            },
        )

    def _image(self, index: int, crop: Crop) -> np.ndarray:
        """The crop (size, size, 3) uint8 RGB of a row's image."""
        # not a Path: making one takes as long as all the arithmetic of the crop
        path = os.path.join(self.root, str(self.frames.images[index]))
        return crop.image(read_bytes(path), path)

    def _crop(self, index: int, change: Change) -> Crop:
        frames = self.frames
        width, height = frames.image_sizes[index].tolist()
        mirrored = frames.mirrored is not None and bool(frames.mirrored[index])
        object_box = None if frames.object_boxes is None else frames.object_boxes[index]
        intrinsics = frames.intrinsics[index].astype(np.float64)
        view = View((width, height), intrinsics, frames.boxes[index], object_box, mirrored)
        try:
            # a dataset's hand may leave the image; without joints the box is all that is known of where the hand is
            if self.crop != "whole" and self._row("joints_cam", index) is None:
                crops.check_in_image(np.array(crops.check_box(view.box)), view.image_size)
            return self._make_crop(view, self.image_size, change)
        except InputError as error:
            raise InputError(f"{self.root / str(frames.images[index])}: {error}") from error

    def _labels(self, index: int, crop: Crop) -> dict[str, np.ndarray]:
        """Labels of one frame in the sample's camera coordinates."""
        labels: dict[str, np.ndarray] = {}
        for name in ("root_cam", "joints_cam", "vertices_cam"):
            points = self._row(name, index)
            if points is not None:
                labels[name] = points @ crop.scene.T
        joints_2d, confidence = self._row("joints_2d", index), self._row("joints_2d_confidence", index)
        if joints_2d is not None:
            labels["joints_2d"] = crops.apply(crop.transform, joints_2d)
            if confidence is not None:
                labels["confidence"] = confidence
                labels["detected"] = np.concatenate([labels["joints_2d"], confidence[:, None]], axis=1)
        if "joints_cam" in labels:
            labels["joints_2d"] = crop.project(labels["joints_cam"])
            labels.pop("confidence", None)
        pose = self._row("pose", index)
        if pose is not None:
            labels["pose"] = moved_pose(pose, crop.scene)
        betas = self._row("betas", index)
        if betas is not None:
            labels["betas"] = betas
        fingers = self.frames.fingers
        if fingers is not None and fingers[index].max() >= 0:
            labels["fingers"] = fingers[index]
        return labels

    def _row(self, name: str, index: int) -> np.ndarray | None:
        """A float label of one frame as a copy in float64; None where it is not known."""
        values = getattr(self.frames, name)
        if values is None:
            return None
        row = np.array(values[index], dtype=np.float64)
        return None if math.isnan(row.item(0)) else row

    def _masks(self, index: int, crop: Crop, covered: np.ndarray | None) -> dict[str, np.ndarray]:
        """Masks of one frame: what is still to be seen of hand and object in the crop."""
        if self.frames.masks is None or not self.frames.masks[index]:
            return {}
        assert self.read_masks is not None
        path = self.root / str(self.frames.masks[index])
        labels = {}
        for name, mask in zip(("hand_mask", "object_mask"), self.read_masks(path), strict=True):
            if mask is None:
                continue
            check_mask(mask, crop.image_size, path)
            cropped = crop.mask(mask)
            labels[name] = cropped if covered is None else cropped & ~covered
        return labels

    def _add_visibility(
        self, index: int, crop: Crop, covered: np.ndarray | None, labels: dict[str, np.ndarray]
    ) -> None:
        """Joints and vertices that are seen in the image and still are in the crop.

        Where vertices are not stored it is not known which of them a patch or the crop's edge hides: then the label of
        a sample with patches is left out, and the edge is up to who computes them.
        """
        for name, points_name in (("visible", "joints_cam"), ("vertices_visible", "vertices_cam")):
            flags = getattr(self.frames, name)
            if flags is None or flags[index].min() < 0:
                continue
            visible = flags[index] == 1
            if points_name in labels:
                points_2d = labels["joints_2d"] if name == "visible" else crop.project(labels[points_name])
                visible &= crop.inside(points_2d)
                if covered is not None:
                    visible &= ~_under(covered, points_2d)
            elif covered is not None:
                continue
            labels[name] = visible


def _under(covered: np.ndarray, points_2d: np.ndarray) -> np.ndarray:
    """Which points (N, 2) in crop pixels lie on True pixels of a mask (size, size): (N,) bool."""
    columns, rows = np.clip(np.rint(points_2d), 0, len(covered) - 1).astype(int).T
    return covered[rows, columns]


def moved_pose(pose: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """Pose of a hand in a scene that is turned about the optical axis and, if mirrored, shows the other hand.

    Args:
        pose: (48,) axis-angle, radians; the first three turn the whole hand.
        scene: (3, 3) orthogonal, moves camera coordinates; keeps z.

    Returns:
        (48,) axis-angle, radians.
    """
    turn, mirrored = scene, scene[0, 0] * scene[1, 1] < scene[0, 1] * scene[1, 0]
    if mirrored:
        pose = mirrored_rotation_vectors(pose)
        turn = scene @ MIRROR
    if turn[1, 0]:
        rotation, _ = cv2.Rodrigues(pose[:3])
        pose[:3] = cv2.Rodrigues(turn @ rotation)[0].ravel()
    return pose


def collate_read(samples: Sequence[HandSample | None]) -> HandBatch:
    """Stack the samples that could be read into a batch; see `HandDataset`'s ``on_error``.

    Raises:
        InputError: Not one of them could be read.
    """
    found = [sample for sample in samples if sample is not None]
    if not found:
        raise InputError(f"none of the {len(samples)} samples of a batch could be read: see the warnings above")
    return collate(found)


def start_worker(worker: int) -> None:
    """For a loader's ``worker_init_fn``.

    One thread for each process, since there is one process for each core. And a scheduler tells every process of a job
    to stop: the training needs its workers until it has written its checkpoint, and ends them itself.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
