"""Several datasets in one run: shares, labels that only some have, one finger-tip convention, workers and ranks."""

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit.data.loading import sampling
from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.mixture import TIP_JOINTS, Mixture, with_tips
from handlit.data.online import OnlineHands
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS, TIP_VERTICES, TipConvention

INTRINSICS = np.array([[600.0, 0, 160], [0, 600, 120], [0, 0, 1]])


class Source(HandDataModule):
    """Frames of random hands, all on one grey picture; some sources know no pose."""

    def __init__(self, root: Path, name: str, count: int, tips: TipConvention = "ho3d", posed: bool = True) -> None:
        self.tips = tips
        augmentation = Augmentation(rotation_deg=30, colour=0.2)
        super().__init__(crop="plain", image_size=64, batch_size=4, num_workers=0, augmentation=augmentation)
        self.root, self.name, self.count, self.posed = root, name, count, posed

    def setup(self, stage: str) -> None:
        rng = np.random.default_rng(len(self.name))
        image = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
        cv2.imwrite(str(self.root / f"{self.name}.png"), image)
        pose = rng.normal(size=(self.count, 48)) * 0.3
        betas = rng.normal(size=(self.count, 10)) * 0.3
        root = np.tile((0.02, 0.01, 0.6), (self.count, 1))
        mesh = self.hand(*(torch.from_numpy(part).float() for part in (pose[:, 3:], betas, pose[:, :3])))
        joints = (mesh.joints - mesh.joints[:, :1]).double().numpy() + root[:, None]
        frames = FrameTable(
            keys=np.array([f"{self.name}/{number}" for number in range(self.count)]),
            images=np.array([f"{self.name}.png"] * self.count),
            image_sizes=np.tile((320, 240), (self.count, 1)),
            intrinsics=np.tile(INTRINSICS, (self.count, 1, 1)),
            boxes=np.tile((100.0, 60, 220, 180), (self.count, 1)),
            root_cam=root,
            joints_cam=joints,
            pose=pose if self.posed else None,
            betas=betas if self.posed else None,
        )
        for split in ("train", "val", "predict"):
            self.datasets[split] = self.make_dataset(self.root, frames, train=split == "train")


def mixture(root: Path, workers: int = 0, **options: Any) -> Mixture:
    parts: list[HandDataModule] = [Source(root, "a", 30), Source(root, "bb", 6, posed=False)]
    data = Mixture(parts, image_size=48, batch_size=4, num_workers=workers, **options)
    data.setup("fit")
    return data


def test_shares_follow_the_weights_and_labels_keep_their_flags(tmp_path: Path) -> None:
    data = mixture(tmp_path, weights=[0.5, 0.5], epoch_samples=24)
    keys: Counter[str] = Counter()
    for batch in data.train_dataloader():
        assert batch.image.shape == (4, 3, 48, 48)
        first = torch.tensor([key.startswith("a/") for key in batch.key])
        assert torch.equal(batch.valid["pose"], first)
        assert batch.valid["joints_cam"].all()
        # indices count through both datasets
        assert torch.equal(batch.index < 30, first)
        keys.update(batch.key)
    assert sum(count for key, count in keys.items() if key.startswith("a/")) == 12
    assert {count for key, count in keys.items() if key.startswith("bb/")} == {2}
    assert next(batch.key[0] for batch in data.val_dataloader()) == "a/0"


def stream(data: Mixture) -> list[tuple[str, int]]:
    """Keys and pixel sums of an epoch: what a batch shows, order and augmentation included."""
    return [
        (key, int(image.long().sum()))
        for batch in data.train_dataloader()
        for key, image in zip(batch.key, batch.image, strict=True)
    ]


def test_the_stream_does_not_depend_on_workers(tmp_path: Path) -> None:
    torch.manual_seed(5)
    alone = stream(mixture(tmp_path))
    torch.manual_seed(6)
    assert stream(mixture(tmp_path, workers=2)) == alone


def test_two_ranks_share_the_stream_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = stream(mixture(tmp_path))
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(sampling, "_rank_and_world_size", lambda rank=rank: (rank, 2))
        parts.append(stream(mixture(tmp_path)))
    together = [sample for pair in zip(*parts, strict=True) for sample in pair]
    assert together == alone[: len(together)]
    assert len(together) == 32


def test_finger_tips_take_the_evaluated_datasets_convention(tmp_path: Path) -> None:
    data = Mixture(
        [Source(tmp_path, "a", 4), Source(tmp_path, "bb", 4, tips="freihand")],
        image_size=48,
        batch_size=8,
        num_workers=0,
    )
    data.setup("fit")
    (batch,) = data.train_dataloader()
    before = batch.joints_cam.clone()
    batch = with_tips(data.on_after_batch_transfer(batch, 0), data.tips)
    tips = batch.vertices_cam[:, list(TIP_VERTICES["ho3d"])]
    torch.testing.assert_close(batch.joints_cam[:, TIP_JOINTS], tips)
    torch.testing.assert_close(batch.joints_2d, project(batch.joints_cam, batch.intrinsics), atol=2e-3, rtol=0)
    own = torch.tensor([key.startswith("a/") for key in batch.key])
    torch.testing.assert_close(batch.joints_cam[own], before[own], atol=1e-6, rtol=0)
    moved = (batch.joints_cam - before)[~own].norm(dim=-1)
    others = [joint for joint in range(21) if joint not in TIP_JOINTS]
    assert moved[:, others].max() < 1e-7
    index, thumb = JOINTS.index("index_4"), JOINTS.index("thumb_4")
    layers = {tips: HandLayer(load_hand(), tips=tips) for tips in ("ho3d", "freihand")}
    flat = torch.zeros(45)
    apart = (layers["ho3d"](flat).joints - layers["freihand"](flat).joints).norm(dim=-1)
    assert apart[index] > 1e-3
    torch.testing.assert_close(moved[:, index], apart[index].expand(4), atol=1e-3, rtol=0)
    assert moved[:, thumb].max() < 1e-6


def test_a_mixture_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="evaluated, the number of a part from 0, must be"):
        Mixture([Source(tmp_path, "a", 4)], evaluated=2)
    with pytest.raises(InputError, match="as many weights"):
        Mixture([Source(tmp_path, "a", 4)], weights=[1.0, 2.0])


def test_a_source_that_renders_its_batches_is_refused(tmp_path: Path) -> None:
    rendered = OnlineHands(image_size=48, batch_size=2, num_workers=0, epoch_samples=4, val_samples=2)
    data = Mixture([Source(tmp_path, "a", 4), rendered], image_size=48, num_workers=0)
    with pytest.raises(InputError, match="OnlineHands makes whole batches"):
        data.setup("fit")
