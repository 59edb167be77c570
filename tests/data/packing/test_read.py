"""Batches from the packed form are those of the original tree; what is wrong with its files is told."""

import json
import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handlit.data.loading.augmentation import Augmentation, Change, sample_change
from handlit.data.loading.cropping import View, place_crop
from handlit.data.packed import PackedData
from handlit.data.packing.extent import crop_extent, kept_region, shows_beyond
from handlit.data.packing.read import Pack
from handlit.errors import InputError
from handlit.formats.packed import MANIFEST
from handlit.types import HandBatch
from tests.data.packing.packed_data import CHANGES, Small, write_pack


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pack")
    packed = write_pack(folder)
    return folder / "original", packed


def packed_copy(trees: tuple[Path, Path], folder: Path) -> Path:

    return Path(shutil.copytree(trees[1], folder / "copy"))


def options(workers: int = 0) -> dict[str, Any]:
    return {"image_size": 48, "batch_size": 4, "num_workers": workers, "augmentation": CHANGES}


def batches(module: Small | PackedData, split: str) -> list[HandBatch]:
    module.setup("predict" if split == "predict" else "fit")
    return list(getattr(module, f"{split}_dataloader")())


@pytest.mark.parametrize("split", ["train", "val", "predict"])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_original(trees: tuple[Path, Path], split: str, workers: int) -> None:
    original = batches(Small(trees[0]), split)
    packed = batches(PackedData(str(trees[1]), **options(workers)), split)
    assert len(original) == len(packed) > 0
    for first, second in zip(original, packed, strict=True):
        assert first.key == second.key
        for name, valid in first.valid.items():
            assert torch.equal(valid, second.valid[name]), name
        for name in ("index", "intrinsics", "crop_transform", "root_cam", "joints_cam", "joints_2d", "pose", "betas"):
            assert torch.equal(getattr(first, name), getattr(second, name)), name
        for name in ("hand_mask", "object_mask"):
            assert torch.equal(getattr(first, name), getattr(second, name)), name
        difference = (first.image.int() - second.image.int()).abs().float()
        assert difference.mean() < 2.5
        assert difference.max() <= 40


def test_kept_part_holds_every_draw() -> None:
    rng = np.random.default_rng(3)
    changes = [
        CHANGES,
        None,
        Augmentation(rotation_deg=180, scale=0.5, translation=0.3),
        Augmentation(published="amvur"),
        Augmentation(published="mhentropy"),
    ]
    inner = 0
    for changed in changes:
        for _ in range(200):
            low = rng.uniform([0, 0], [500, 350])
            box = np.concatenate([low, low + rng.uniform(30, 120, 2)])
            view = View((640, 480), np.array([[600.0, 0, 320], [0, 610, 240], [0, 0, 1]]), box)
            region = kept_region(view, "amvur", crop_extent(changed))
            inner += region[0] > 0 or region[2] < 640
            crop = place_crop("amvur", view, 224, sample_change(changed or Augmentation(), rng))
            assert not shows_beyond(crop, region)
    assert inner > 100
    # the furthest change of MHEntropy's, which is hardly ever drawn
    furthest = Change(angle=math.pi / 4, scale=1 / 0.8, shift=np.full(2, 40 / 256 / 0.8))
    centred = replace(view, box=np.array([300.0, 220, 340, 260]))
    region = kept_region(centred, "plain", crop_extent(Augmentation(published="mhentropy")))
    assert not shows_beyond(place_crop("plain", centred, 224, furthest), region)
    shifted = replace(view, box=view.box + [150, 0, 150, 0])
    narrow = kept_region(view, "plain", crop_extent(None))
    assert shows_beyond(place_crop("plain", shifted, 224, sample_change(Augmentation(), rng)), narrow)


def test_other_crops_and_wider_changes_are_refused(trees: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="packed for crop=plain, not amvur"):
        PackedData(str(trees[1]), crop="amvur").setup("fit")
    with pytest.raises(InputError, match="reaches further"):
        PackedData(str(trees[1]), augmentation=replace(CHANGES, rotation_deg=90)).setup("fit")
    with pytest.raises(InputError, match="not test"):
        PackedData(str(trees[1])).setup("test")


def test_dataset_travels_by_its_files_names(trees: tuple[Path, Path]) -> None:
    module = PackedData(str(trees[1]), image_size=48)
    module.setup("fit")
    dataset = module.datasets["train"]
    twin = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(twin[2].image, dataset[2].image)


def test_what_is_wrong_with_the_files_is_told(trees: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pack ROOT --out DIR"):
        Pack(str(tmp_path / "nowhere"))
    folder = packed_copy(trees, tmp_path)
    shard = folder / "images" / "00001.tar"
    assert Pack(str(folder)).verify() > 10

    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"1 files differ.*00001.tar"):
        Pack(str(folder)).verify()
    shard.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"00001.tar has"):
        Pack(str(folder))
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"00001.tar is missing"):
        Pack(str(folder))

    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        Pack(str(folder))
    (folder / MANIFEST).write_text("{")
    with pytest.raises(InputError, match="damaged"):
        Pack(str(folder))
