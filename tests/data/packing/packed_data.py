"""A small dataset and its packed form, for the tests of packing."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.dataset import HandDataset
from handlit.data.packing.write import pack
from handlit.formats.frame_table import FrameTable
from handlit.geometry.crops import CropRule

WIDTH, HEIGHT = 160, 128
CHANGES = Augmentation(rotation_deg=20, scale=0.2, translation=0.1, colour=0.3, occlusion=0.3)


def read_masks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Hand in bit 0, object in bit 1, at half the resolution."""
    coded: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return (coded & 1) != 0, (coded & 2) != 0


class Small(HandDataModule):
    """Frames ``train`` and ``val`` from one table, ``predict`` from another."""

    def __init__(
        self, root: Path, augmentation: Augmentation | None = CHANGES, crop: CropRule = "plain", image_size: int = 48
    ) -> None:
        super().__init__(crop=crop, image_size=image_size, batch_size=4, num_workers=0, augmentation=augmentation)
        self.root = root

    def setup(self, stage: str) -> None:
        frames = small_table()
        if stage == "fit" and not self.datasets:
            self.datasets["train"] = self.make_dataset(self.root, frames, np.arange(3, 11), train=True)
            self.datasets["val"] = self.make_dataset(self.root, frames, np.arange(3))
        if stage == "predict":
            self.datasets["predict"] = self.make_dataset(self.root, frames.select(np.array([11, 1])))

    def make_dataset(
        self, root: Path, frames: FrameTable, rows: np.ndarray | None = None, train: bool = False
    ) -> HandDataset:
        dataset = super().make_dataset(root, frames, rows, train)
        dataset.read_masks = read_masks
        return dataset


def small_table(count: int = 12) -> FrameTable:
    rng = np.random.default_rng(0)
    low = rng.uniform([5, 5], [WIDTH - 60, HEIGHT - 60], (count, 2))
    joints = rng.normal(0, 0.04, (count, 21, 3)) + [0, 0, 0.6]
    return FrameTable(
        keys=np.array([f"frame/{k}" for k in range(count)]),
        images=np.array([f"{k}.png" for k in range(count)]),
        image_sizes=np.tile([WIDTH, HEIGHT], (count, 1)),
        intrinsics=np.tile(np.array([[150.0, 0, 80], [0, 150, 64], [0, 0, 1]]), (count, 1, 1)),
        boxes=np.concatenate([low, low + rng.uniform(25, 45, (count, 2))], axis=1),
        root_cam=joints[:, 0],
        joints_cam=joints,
        pose=rng.normal(0, 0.3, (count, 48)),
        betas=rng.normal(size=(count, 10)),
        mirrored=np.arange(count) % 3 == 0,
        masks=np.array([f"{k}-mask.png" if k != 5 else "" for k in range(count)]),
    )


def write_small(root: Path, count: int = 12) -> Path:
    """Write the files of `small_table`."""
    root.mkdir()
    rng = np.random.default_rng(1)
    for k in range(count):
        smooth = cv2.resize(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8), (WIDTH, HEIGHT))
        cv2.imwrite(str(root / f"{k}.png"), smooth)
        coded = rng.integers(0, 4, (8, 10), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        cv2.imwrite(str(root / f"{k}-mask.png"), coded)
    return root


def write_pack(folder: Path) -> Path:
    """The packed form of `write_small`, in three chunks; splits train, val and predict."""
    pack(Small(write_small(folder / "original")), folder / "packed", ("fit", "predict"), workers=0, shard_images=5)
    return folder / "packed"
