"""One sample of a dataset: decode, crop, augment, and the labels that follow the picture."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from handlit.data.augmentation import NO_CHANGE, Augmentation, draw
from handlit.data.frames import FrameTable
from handlit.data.images import read_crop
from handlit.data.sampling import Ticket
from handlit.geometry import crops
from handlit.types import HandSample


class HandDataset(Dataset[HandSample]):
    """Crops of a dataset's frames with their labels.

    Args:
        root: Folder that the table's image paths start from.
        frames: Labels.
        crop: Rule that puts the square around the hand.
        image_size: Side of the crops, pixels.
        augmentation: Random changes of each sample; None for none.
        rows: Positions of the samples in the table, so that a table that is mapped from files stays whole; None for
            all of them.
    """

    def __init__(
        self,
        root: Path,
        frames: FrameTable,
        crop: crops.CropRule,
        image_size: int,
        augmentation: Augmentation | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        self.root = root
        self.frames = frames
        self.crop: crops.CropRule = crop
        self.image_size = image_size
        self.augmentation = augmentation
        self.rows = np.arange(len(frames)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, ticket: int | Ticket) -> HandSample:
        position = ticket if isinstance(ticket, int) else ticket.index
        index = int(self.rows[position])
        frames = self.frames
        change = NO_CHANGE
        if self.augmentation is not None and isinstance(ticket, Ticket):
            change = draw(self.augmentation, np.random.default_rng(ticket.seed))
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
            index=position,
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
