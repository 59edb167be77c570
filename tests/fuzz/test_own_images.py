"""Own images from strangers: their list and the images, up to the crops that a method sees."""

import json
from pathlib import Path
from typing import get_args

import cv2
import numpy as np

from handlit.data.loading.dataset import HandDataset
from handlit.formats.folder import read_folder, read_label_mask
from handlit.formats.frame_table import FrameTable
from handlit.geometry.crops import CropRule
from tests.data.test_folder import HAND, labelled
from tests.fuzz.harness import file_reader, fuzz


def every_crop(root: Path) -> None:
    columns = read_folder(root, 60.0)
    del columns["splits"], columns["camera_assumed"]
    frames = FrameTable(**columns)
    for rule in get_args(CropRule):
        dataset = HandDataset(root, frames, rule, 32, read_masks=read_label_mask)
        samples = [dataset[row] for row in range(min(len(dataset), 4))]
        assert all(sample is not None and np.isfinite(sample.intrinsics.numpy()).all() for sample in samples)


def test_annotations(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((160, 200, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((160, 200), np.uint8))
    hands = [[HAND], [labelled()], [HAND | {"mask": "m.png"}, labelled(pose=None, betas=None, joints_cam=None)]]
    valid = [json.dumps({"a.png": some}).encode() for some in hands]
    read = file_reader(lambda path: every_crop(path.parent), tmp_path / "annotations.json")
    # a name that was changed is the name of no file
    fuzz(read, valid, answers=(FileNotFoundError,))


def test_images(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8)
    valid = [cv2.imencode(suffix, image)[1].tobytes() for suffix in (".png", ".jpg", ".bmp", ".webp")]
    (tmp_path / "annotations.json").write_text(json.dumps({"a.png": [HAND]}))
    fuzz(file_reader(lambda path: every_crop(path.parent), tmp_path / "a.png"), valid)


def test_masks(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (160, 200), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    (tmp_path / "annotations.json").write_text(json.dumps({"a.png": [HAND | {"mask": "m.png"}]}))
    fuzz(
        file_reader(lambda path: every_crop(path.parent), tmp_path / "m.png"), [cv2.imencode(".png", mask)[1].tobytes()]
    )
