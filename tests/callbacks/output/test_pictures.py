"""Exports agree with the camera of the source picture, for right and for mirrored left hands."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh

from handlit.callbacks.output.pictures import export
from handlit.callbacks.output.predicted_hand import PredictedHand
from handlit.geometry import crops
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.render.figures import contact_sheet
from handlit.types import HandBatch, HandPrediction, HandSample, collate

SIZE = 96
INTRINSICS = np.array([[500.0, 0.0, 200.0], [0.0, 500.0, 150.0], [0.0, 0.0, 1.0]])
CENTRE, SIDE = np.array([120.0, 170.0]), 140.0


def batch_and_prediction(left: bool) -> tuple[HandBatch, HandPrediction, HandLayer]:
    """A crop of a 400x300 picture and a prediction of a hand before its pinhole camera."""
    zoom = crops.crop_transform(CENTRE, SIDE, SIZE)
    crop_k = crops.crop_intrinsics(zoom, INTRINSICS)
    transform = zoom
    if left:
        transform = crops.compose(np.array([[-1.0, 0, SIZE - 1], [0, 1, 0]]), zoom)
        crop_k[0, 2] = SIZE - 1 - crop_k[0, 2]
    sample = HandSample(
        key="a.png#0",
        index=0,
        image=torch.zeros(3, SIZE, SIZE, dtype=torch.uint8),
        intrinsics=torch.from_numpy(crop_k).float(),
        crop_transform=torch.from_numpy(transform).float(),
    )
    layer = HandLayer(load_hand())
    # fingers up, palm towards the camera
    upright = torch.tensor([[0.0, 0.0, 1.5708]])
    mesh = layer(torch.zeros(1, 45), torch.zeros(1, 10), upright)
    vertices = mesh.vertices - mesh.joints[:, :1]
    joints = mesh.joints - mesh.joints[:, :1]
    root = torch.tensor([[[0.0, 0.02, 0.7]]]) + torch.tensor([[[0.06 if left else -0.06, 0.0, 0.0]]])
    batch = collate([sample])
    prediction = HandPrediction(
        vertices_root=vertices,
        joints_root=joints,
        joints_2d=project(joints + root, batch.intrinsics),
        vertex_scale=torch.full_like(vertices, 0.01),
        joint_scale=torch.full_like(joints, 0.01),
        camera=torch.ones(1, 3),
        distribution=None,
        pose=torch.cat([upright, torch.zeros(1, 45)], dim=1),
        betas=torch.zeros(1, 10),
    )
    return batch, prediction, layer


@pytest.mark.parametrize("left", [False, True])
def test_camera_of_the_source_picture_is_recovered(left: bool) -> None:
    batch, prediction, layer = batch_and_prediction(left)
    hand = PredictedHand(prediction, batch, 0, layer.faces)
    assert hand.side == ("left" if left else "right")
    torch.testing.assert_close(hand.intrinsics, torch.from_numpy(INTRINSICS).float(), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("left", [False, True])
def test_hand_lies_in_the_picture_where_it_lies_in_the_crop(left: bool) -> None:
    batch, prediction, layer = batch_and_prediction(left)
    hand = PredictedHand(prediction, batch, 0, layer.faces)
    in_crop = project(hand.vertices_root + hand.root_crop, hand.intrinsics_crop)
    in_picture = project(hand.vertices_cam, hand.intrinsics)
    mapped = crops.apply(batch.crop_transform[0].numpy().astype(np.float64), in_picture.numpy())
    np.testing.assert_allclose(mapped, in_crop.numpy(), atol=0.02)
    # the joints are in the picture where they were predicted in the crop
    joints = crops.apply(batch.crop_transform[0].numpy(), project(hand.joints_cam, hand.intrinsics).numpy())
    np.testing.assert_allclose(joints, prediction.joints_2d[0].numpy(), atol=0.02)


@pytest.mark.parametrize("left", [False, True])
def test_export_writes_overlay_mesh_and_numbers(tmp_path: Path, left: bool) -> None:
    batch, prediction, layer = batch_and_prediction(left)
    hand = PredictedHand(prediction, batch, 0, layer.faces)
    export(hand, np.zeros((300, 400, 3), np.uint8), True, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png_0.npz", "a.png_0.obj", "a.png_0.png"]
    numbers = np.load(tmp_path / "a.png_0.npz", allow_pickle=False)
    assert str(numbers["hand"]) == hand.side
    assert bool(numbers["intrinsics_assumed"])
    # the overlay's painted pixels are where the exported vertices project, give or take the dot on a tip joint
    overlay = cv2.imread(str(tmp_path / "a.png_0.png"))
    rows, columns = np.nonzero(overlay.max(axis=2) > 20)
    homogeneous = numbers["vertices_cam"] @ numbers["intrinsics"].T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    assert abs(columns.min() - pixels[:, 0].min()) < 6
    assert abs(rows.min() - pixels[:, 1].min()) < 6
    mesh: Any = trimesh.load(tmp_path / "a.png_0.obj", process=False)
    np.testing.assert_allclose(mesh.vertices * (1, -1, -1), numbers["vertices_cam"], atol=1e-5)
    # faces look outwards on either side: the capped mesh would have positive volume
    assert mesh.volume > 0


def test_the_overlay_of_a_large_image_is_a_part_of_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, prediction, layer = batch_and_prediction(left=False)
    hand = PredictedHand(prediction, batch, 0, layer.faces)
    export(hand, np.zeros((301, 401, 3), np.uint8), True, tmp_path / "whole")
    monkeypatch.setattr("handlit.callbacks.output.pictures.MAX_SIDE", 150)
    export(hand, np.zeros((301, 401, 3), np.uint8), True, tmp_path / "reduced")
    whole, reduced = (cv2.imread(str(tmp_path / name / "a.png_0.png")) for name in ("whole", "reduced"))
    assert reduced.shape == (100, 133, 3)
    expected = cv2.resize(whole[:300, :399], (133, 100), interpolation=cv2.INTER_AREA)
    # the same hand in the same place
    painted = [image.max(axis=2) > 40 for image in (reduced, expected)]
    assert (painted[0] & painted[1]).sum() / (painted[0] | painted[1]).sum() > 0.9


def test_side_view_and_sheet_have_the_hand_in_them() -> None:
    batch, prediction, layer = batch_and_prediction(left=False)
    row = PredictedHand(prediction, batch, 0, layer.faces).sheet_row()
    for picture in row[2:]:
        changed = (picture != picture[0, 0]).any(axis=2).mean()
        assert 0.02 < changed < 0.8
    sheet = contact_sheet([row, row], ["a", "b", "c", "d", "e"], cell=100)
    assert sheet.shape == (28 + 2 * 104, 5 * 104, 3)
