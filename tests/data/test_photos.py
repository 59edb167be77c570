"""Photographs: boxes in, crops out, left hands mirrored, and clear messages."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handlit.data.photos import Photos
from handlit.types import InputError

HAND = {"box": [40, 30, 120, 110], "hand": "right"}


def write_folder(folder: Path, boxes: object, size: tuple[int, int] = (200, 160)) -> Path:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (16, 20, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "a.png"), image)
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def predict_batch(root: Path, **options):
    module = Photos(str(root), image_size=64, crop="plain", **options)
    module.setup("predict")
    return module, next(iter(module.predict_dataloader()))


def test_left_hand_is_the_mirrored_crop(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [HAND, {**HAND, "hand": "left"}]})
    _, batch = predict_batch(tmp_path)
    assert batch.key == ["a.png#0", "a.png#1"]
    difference = batch.image[0].flip(-1).float() - batch.image[1].float()
    assert difference.abs().max() <= 1
    assert torch.linalg.det(batch.crop_transform[:, :, :2]).sign().tolist() == [1, -1]
    assert not batch.valid["root_cam"].any()


def test_mirrored_camera_shows_mirrored_points_at_mirrored_pixels(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [HAND, {**HAND, "hand": "left"}]})
    _, batch = predict_batch(tmp_path)
    point = torch.tensor([-0.05, 0.02, 0.5])
    right = batch.intrinsics[0] @ point
    left = batch.intrinsics[1] @ (point * torch.tensor([-1.0, 1, 1]))
    torch.testing.assert_close(63 - left[0] / left[2], right[0] / right[2])


def test_camera_is_taken_or_assumed(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [HAND, {**HAND, "camera": [300, 310, 90, 70]}]})
    module, _ = predict_batch(tmp_path, assumed_fov_deg=90)
    assumed, given = module.datasets["predict"].frames.intrinsics
    assert assumed[0, 0] == pytest.approx(100)  # half of 200 pixels at 45 degrees
    assert assumed[:2, 2].tolist() == [99.5, 79.5]
    assert given.tolist() == [[300, 0, 90], [0, 310, 70], [0, 0, 1]]
    assert module.camera_assumed("a.png#0")
    assert not module.camera_assumed("a.png#1")


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({}, "at least one file"),
        ([], "at least one file"),
        ({"a.png": HAND}, "list of hands"),
        ({"a.png": [{"box": [0, 0, 5, 5]}]}, "'right' or 'left'"),
        ({"a.png": [{"hand": "right"}]}, "'box' must be four finite numbers"),
        ({"a.png": [{"hand": "right", "box": [0, 0, "5", 5]}]}, "four finite numbers"),
        ({"a.png": [{"hand": "left", "box": [9, 9, 3, 3]}]}, "is empty"),
        ({"a.png": [{**HAND, "camera": [1, 2]}]}, "'camera' must be four"),
    ],
)
def test_bad_boxes_are_explained(tmp_path: Path, boxes: object, message: str) -> None:
    write_folder(tmp_path, boxes)
    with pytest.raises(InputError, match=message):
        predict_batch(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"boxes\.json is missing"):
        predict_batch(tmp_path / "nowhere")
    write_folder(tmp_path, {"b.png": [HAND]})
    with pytest.raises(FileNotFoundError, match=r"names b\.png"):
        predict_batch(tmp_path)
    (tmp_path / "boxes.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        predict_batch(tmp_path)


def test_photographs_cannot_train(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labels"):
        Photos(str(write_folder(tmp_path, {"a.png": [HAND]}))).setup("fit")
