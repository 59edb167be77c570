"""What all datasets share: a table of labels, the crop of one sample, and the loaders around them."""

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from handlit.data.augmentation import NO_CHANGE, Augmentation, draw
from handlit.data.images import read_crop
from handlit.geometry import crops
from handlit.hand.asset import load_hand
from handlit.hand.layer import HandLayer
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandSample, InputError, collate

log = logging.getLogger(__name__)

#: Which official submission format a dataset's predictions are written in; None where there is none.
SubmissionProtocol = Literal["ho3d_v2", "ho3d_v3", "freihand"]


@dataclass(frozen=True)
class FrameTable:
    """The labels of N frames as arrays, in handlit's conventions (OpenCV axes, metres, handlit's joint order).

    Whole arrays, not a list of objects: they are shared by the loader's worker processes without a copy.

    Attributes:
        keys: (N,) name of each frame.
        images: (N,) image file of each frame, relative to the dataset's root.
        image_sizes: (N, 2) width and height, pixels.
        intrinsics: (N, 3, 3) of the source image, pixels.
        boxes: (N, 4) x0, y0, x1, y1 around the hand, source pixels.
        object_boxes: (N, 4) around the held object, if the dataset has one.
        root_cam: (N, 3) wrist, if known.
        joints_cam: (N, 21, 3), if known.
        vertices_cam: (N, 778, 3), if stored with the dataset; otherwise pose and betas give them.
        pose: (N, 48) as in `HandBatch.pose`, if known.
        betas: (N, 10), if known.
        mirrored: (N,) bool, frames that show a left hand.
    """

    keys: np.ndarray
    images: np.ndarray
    image_sizes: np.ndarray
    intrinsics: np.ndarray
    boxes: np.ndarray
    object_boxes: np.ndarray | None = None
    root_cam: np.ndarray | None = None
    joints_cam: np.ndarray | None = None
    vertices_cam: np.ndarray | None = None
    pose: np.ndarray | None = None
    betas: np.ndarray | None = None
    mirrored: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, rows: np.ndarray) -> "FrameTable":
        """The table of some rows, given by indices or a bool mask."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: value[rows] for name, value in values.items() if value is not None})


class HandDataset(Dataset[HandSample]):
    """Crops of a dataset's frames with their labels.

    Args:
        root: Folder that the table's image paths start from.
        frames: Labels.
        crop: Rule that puts the square around the hand.
        image_size: Side of the crops, pixels.
        augmentation: Random changes of each sample; None for none.
    """

    def __init__(
        self,
        root: Path,
        frames: FrameTable,
        crop: crops.CropRule,
        image_size: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.root = root
        self.frames = frames
        self.crop: crops.CropRule = crop
        self.image_size = image_size
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> HandSample:
        frames = self.frames
        change = NO_CHANGE
        if self.augmentation is not None:
            # torch's generator is seeded per worker by Lightning's seed_everything(workers=True); NumPy's is not
            change = draw(self.augmentation, np.random.default_rng(int(torch.randint(2**62, ()))))
        intrinsics = frames.intrinsics[index].astype(np.float64)
        width, height = frames.image_sizes[index]
        object_box = None if frames.object_boxes is None else frames.object_boxes[index]
        centre, side = crops.square_crop(frames.boxes[index], (int(width), int(height)), self.crop, object_box)
        turn = crops.image_rotation(intrinsics, change.angle)
        centre = crops.apply(turn, centre) + change.shift * side
        # crop pixels <- rotated source pixels <- source pixels; the rotated scene is what the labels describe
        zoom = crops.crop_transform(centre, side * change.scale, self.image_size)
        crop_k = crops.crop_intrinsics(zoom, intrinsics)
        transform = crops.compose(zoom, turn)
        mirrored = frames.mirrored is not None and bool(frames.mirrored[index])
        if mirrored:
            flip = np.array([[-1.0, 0.0, self.image_size - 1.0], [0.0, 1.0, 0.0]])
            transform = crops.compose(flip, transform)
            crop_k[0, 2] = self.image_size - 1.0 - crop_k[0, 2]
        image = read_crop(self.root / str(frames.images[index]), transform, self.image_size)
        if change is not NO_CHANGE:
            image = np.clip(image * change.gain.astype(np.float32), 0, 255).astype(np.uint8)
        labels = self._labels(index, change.angle, mirrored)
        joints_cam = labels.get("joints_cam")
        if joints_cam is not None:
            points = joints_cam @ crop_k.T
            labels["joints_2d"] = points[:, :2] / points[:, 2:]
        return HandSample(
            key=str(frames.keys[index]),
            index=index,
            image=torch.from_numpy(image).permute(2, 0, 1).contiguous(),
            intrinsics=torch.from_numpy(crop_k).float(),
            crop_transform=torch.from_numpy(transform).float(),
            **{name: torch.from_numpy(value).float() for name, value in labels.items()},
        )

    def _labels(self, index: int, angle: float, mirrored: bool) -> dict[str, np.ndarray]:
        """Labels of one frame after turning the scene about the optical axis and mirroring a left hand."""
        turn = crops.rotation_about_z(angle)
        labels: dict[str, np.ndarray] = {}
        for name in ("root_cam", "joints_cam", "vertices_cam"):
            values = getattr(self.frames, name)
            if values is not None:
                points = values[index].astype(np.float64) @ turn.T
                labels[name] = points * (-1.0, 1.0, 1.0) if mirrored else points
        if self.frames.pose is not None:
            pose = self.frames.pose[index].astype(np.float64)
            rotation, _ = cv2.Rodrigues(pose[:3])
            pose[:3] = cv2.Rodrigues(turn @ rotation)[0].ravel()
            if mirrored:
                # a rotation vector is a pseudo-vector: mirroring x keeps its x and turns y and z round
                pose = (pose.reshape(16, 3) * (1.0, -1.0, -1.0)).ravel()
            labels["pose"] = pose
        if self.frames.betas is not None:
            labels["betas"] = self.frames.betas[index].astype(np.float64)
        return labels


class HandDataModule(pl.LightningDataModule):
    """Loaders around the splits of one dataset; subclasses say how the splits are read.

    Ground-truth vertices are computed from pose and shape for a whole batch on the training device, with the
    dataset's own hand conventions: cheaper than per sample in the workers, and always consistent with augmentation.

    Args:
        image_size: Side of the square crops, pixels.
        crop: Rule that puts the square around the hand: a published method's or a plain centred one.
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        augmentation: Random changes of the training samples.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
    """

    #: Official submission format, for the callback that writes it.
    protocol: SubmissionProtocol | None = None
    #: Where the hand boxes of the evaluation split come from, for the card beside a prediction.
    box_source: str = "given with the dataset"
    #: Which vertices are finger tips in this dataset's labels.
    tips: TipConvention = "ho3d"

    def __init__(
        self,
        image_size: int,
        crop: crops.CropRule,
        batch_size: int,
        num_workers: int,
        augmentation: Augmentation | None,
        mano_path: str | None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.crop: crops.CropRule = crop
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augmentation = augmentation
        self.hand = HandLayer(load_hand(mano_path), tips=self.tips)
        self.datasets: dict[str, HandDataset] = {}

    def make_dataset(self, root: Path, frames: FrameTable, train: bool = False) -> HandDataset:
        """Dataset of a table with this module's crop and, for training, its augmentation."""
        return HandDataset(root, frames, self.crop, self.image_size, self.augmentation if train else None)

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader:
        dataset = self.datasets[split]
        if len(dataset) == 0:
            raise InputError(f"the {split} split has no usable frame")
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=shuffle,
            drop_last=shuffle and len(dataset) >= self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader:
        """Shuffled training batches; the last, smaller one is dropped."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Validation batches in dataset order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        """Evaluation split with its public ground truth, in dataset order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader:
        """Evaluation split in dataset order: the order of a submission."""
        return self._loader("predict")

    def on_after_batch_transfer(self, batch: HandBatch, dataloader_idx: int) -> HandBatch:
        """Fill in ground-truth vertices from pose and shape, on the batch's device."""
        return add_vertices(batch, self.hand.to(batch.image.device))


def add_vertices(batch: HandBatch, hand: HandLayer) -> HandBatch:
    """Compute vertices where pose, shape and root are known and vertices are not.

    Args:
        batch: Any batch.
        hand: Hand layer with the conventions of the batch's dataset.

    Returns:
        The same batch, with ``vertices_cam`` and its validity flag completed.
    """
    computable = batch.valid["pose"] & batch.valid["betas"] & batch.valid["root_cam"] & ~batch.valid["vertices_cam"]
    with torch.no_grad():
        mesh = hand(batch.pose[:, 3:], batch.betas, batch.pose[:, :3])
        vertices = mesh.vertices - mesh.joints[:, :1] + batch.root_cam[:, None]
    batch.vertices_cam = _where(computable, vertices, batch.vertices_cam)
    batch.valid["vertices_cam"] = batch.valid["vertices_cam"] | computable
    return batch


def _where(flag: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(flag.view(-1, *[1] * (first.dim() - 1)), first, second)
