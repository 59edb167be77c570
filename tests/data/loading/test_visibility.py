"""Visibility against literal loops, scenes with a known answer, and a whole synthetic dataset."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit.data.ho3d import HO3D
from handlit.data.loading.visibility import joints_in_depth, right_hands, visibility_from_depth, visibility_from_mesh
from handlit.data.synthesis import PRESETS, synthesise
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.ho3d import DEPTH_SCALE, read_depth, read_frames, read_masks
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand

CAMERA = np.array([[617.3, 0, 318.6], [0, 616.9, 241.2], [0, 0, 1]])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visibility") / "tree"
    preset = replace(PRESETS["easy"], held_probability=1.0, frames_per_sequence=4)
    synthesise(folder, train=12, evaluation=0, seed=5, preset=preset, workers=0, progress=False)
    return folder


@pytest.fixture(scope="module")
def frames(root: Path) -> FrameTable:
    return read_frames(root, "train", "v3", workers=0)


@pytest.fixture(scope="module")
def hand() -> HandLayer:
    return HandLayer(load_hand(), tips="ho3d")


def literal(joints_mm: np.ndarray, camera: np.ndarray, depth: np.ndarray, mask: np.ndarray) -> list[bool]:
    """MHEntropy's definition, pixel by pixel; the mask is brought to the image's size first."""
    mask = mask.repeat(480 // len(mask), axis=0).repeat(640 // mask.shape[1], axis=1)
    answers = []
    for x, y, z in joints_mm:
        u0 = int(camera[0, 0] * x / z + camera[0, 2])
        v0 = int(camera[1, 1] * y / z + camera[1, 2])
        seen = False
        for v in range(v0 - 4, v0 + 5):
            for u in range(u0 - 4, u0 + 5):
                if 0 <= u < 640 and 0 <= v < 480 and mask[v, u] and z - 1000 * depth[v, u] < 40:
                    seen = True
        answers.append(seen)
    return answers


@pytest.mark.parametrize("mask_size", [(120, 160), (480, 640)])
def test_depth_visibility_equals_the_literal_loop(mask_size: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    mismatches, seen = 0, 0
    outside = np.zeros(4, dtype=int)
    for _ in range(200):
        centre = np.array([rng.uniform(-0.35, 0.35), rng.uniform(-0.27, 0.27), rng.uniform(0.4, 0.8)])
        joints = centre + rng.normal(0, 0.05, (21, 3))
        # a rough surface near the joints, with holes
        surface = cv2.resize(rng.normal(centre[2] - 0.03, 0.03, (30, 40)), (640, 480))
        depth = np.rint(surface / DEPTH_SCALE) * DEPTH_SCALE
        depth[cv2.resize(rng.random((60, 80)), (640, 480), interpolation=cv2.INTER_NEAREST) < 0.3] = 0
        mask = cv2.resize(rng.random((12, 16)), mask_size[::-1], interpolation=cv2.INTER_NEAREST) < 0.5
        expected = literal(1000 * joints, CAMERA, depth, mask)
        found = joints_in_depth(joints, CAMERA, depth, mask)
        mismatches += int((found != expected).sum())
        seen += int(found.sum())
        points = joints @ CAMERA.T
        u, v = (points[:, :2] / points[:, 2:]).T
        outside += [(u < 0).sum(), (u >= 640).sum(), (v < 0).sum(), (v >= 480).sum()]
    assert mismatches == 0
    # the cases do occur
    assert 800 < seen < 3400
    assert (outside > 30).all()


@pytest.mark.parametrize(
    ("u", "expected"), [(-5.0, False), (-4.99, True), (4.99, True), (644.0, False), (643.99, True), (-1e9, False)]
)
def test_projections_are_truncated_towards_zero(u: float, expected: bool) -> None:
    """Only the first and last columns are hand: the window must reach them, and -4.99 counts as -4."""
    mask = np.zeros((480, 640), dtype=bool)
    mask[:, [0, 639]] = True
    joint = np.array([[(u - CAMERA[0, 2]) * 0.5 / CAMERA[0, 0], 0, 0.5]])
    assert joints_in_depth(joint, CAMERA, np.full((480, 640), 0.5), mask).item() is expected


def test_depth_holes_and_one_sidedness() -> None:
    mask = np.ones((480, 640), dtype=bool)
    joint = np.array([[0.0, 0.0, 0.5]])
    for metres, expected in ((0.0, False), (0.459, False), (0.461, True), (0.9, True)):
        assert joints_in_depth(joint, CAMERA, np.full((480, 640), metres), mask).item() is expected
    # on or behind the camera plane there is no projection: hidden, without a word about divisions
    for z in (0.0, math.nan):
        assert not joints_in_depth(np.array([[0.0, 0.0, z]]), CAMERA, np.full((480, 640), 0.5), mask).any()


def test_depth_decoding_does_not_overflow(tmp_path: Path) -> None:
    units = np.array([[0, 1, 255, 256, 5000, 65535]])
    image = np.stack([np.full_like(units, 9), units >> 8, units & 255], axis=-1).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "depth.png"), image)
    np.testing.assert_allclose(read_depth(tmp_path / "depth.png"), units * 0.00012498664727900177, rtol=1e-12)
    cv2.imwrite(str(tmp_path / "grey.png"), units.astype(np.uint8))
    with pytest.raises(InputError, match=r"grey\.png"):
        read_depth(tmp_path / "grey.png")


def test_depth_visibility_of_a_dataset(root: Path, frames: FrameTable) -> None:
    visible = visibility_from_depth(root, frames, read_depth, read_masks, workers=0)
    assert visible.dtype == np.int8
    assert frames.joints_cam is not None
    for row in range(len(frames)):
        depth = read_depth(root / str(frames.depths[row]))
        mask, _ = read_masks(root / str(frames.masks[row]))
        joints_mm = 1000 * frames.joints_cam[row].astype(np.float64)
        assert visible[row].tolist() == literal(joints_mm, frames.intrinsics[row], depth, mask)
    assert 0.3 < visible.mean() < 1
    masks = frames.masks.copy()
    masks[3] = ""
    partial = visibility_from_depth(root, replace(frames, masks=masks), read_depth, read_masks, workers=0)
    assert (partial[3] == -1).all()
    np.testing.assert_array_equal(np.delete(partial, 3, 0), np.delete(visible, 3, 0))
    with pytest.raises(InputError, match="seg_root"):
        visibility_from_depth(root, replace(frames, masks=None), read_depth, read_masks)


def picture_says(root: Path, frames: FrameTable, row: int, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that the drawn depth and parts show, by looking at one pixel; and those for which that is decisive."""
    depth = read_depth(root / str(frames.depths[row]))
    hand_mask, object_mask = read_masks(root / str(frames.masks[row]))
    points = vertices @ frames.intrinsics[row].T
    u, v = np.rint(points[:, :2] / points[:, 2:]).astype(int).T
    inside = (u >= 1) & (u < 639) & (v >= 1) & (v < 479)
    u, v = u.clip(1, 638), v.clip(1, 478)
    around = np.stack([depth[v + j, u + i] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    flat = (around.max(0) - around.min(0) < 0.004) & (around.min(0) > 0)
    same = np.stack([hand_mask[v + j, u + i] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    behind = vertices[:, 2] - depth[v, u]
    shown = hand_mask[v, u] & (behind < 0.003)
    decisive = inside & flat & (same.all(0) | object_mask[v, u]) & (~hand_mask[v, u] | (abs(behind - 0.004) > 0.002))
    return shown, decisive


def test_mesh_visibility_agrees_with_the_drawn_depth(root: Path, frames: FrameTable, hand: HandLayer) -> None:
    joints, vertices = visibility_from_mesh(root, frames, hand, read_masks, workers=0)
    assert joints.shape == (12, 21)
    assert vertices.shape == (12, 778)
    assert set(np.unique(vertices)) == {0, 1}
    _, skin, _ = right_hands(frames, hand)
    agree = total = 0
    for row in range(len(frames)):
        shown, decisive = picture_says(root, frames, row, skin[row].astype(np.float64))
        agree += int((shown == (vertices[row] == 1))[decisive].sum())
        total += int(decisive.sum())
    assert total > 2000
    assert agree / total > 0.97
    # without the masks the object hides nothing
    _, alone = visibility_from_mesh(root, frames, hand, workers=0)
    assert (alone >= vertices).all()
    assert alone.sum() > vertices.sum()


def test_mesh_visibility_of_left_hands_and_unknown_ones(
    root: Path, frames: FrameTable, hand: HandLayer, tmp_path: Path
) -> None:
    """A mirrored frame shows what its mirror image shows; a frame without labels is not known."""
    joints, vertices = visibility_from_mesh(root, frames, hand, read_masks, workers=0)
    for name in frames.masks:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), cv2.imread(str(root / name))[:, ::-1])
    flip = np.array([[-1, 0, 639], [0, 1, 0], [0, 0, 1.0]])
    mirror = np.diag([-1.0, 1.0, 1.0])
    pose = frames.pose.reshape(-1, 16, 3) * np.array([1, -1, -1], dtype=np.float32)
    left = replace(
        frames,
        mirrored=np.ones(len(frames), dtype=bool),
        intrinsics=flip @ frames.intrinsics @ mirror,
        root_cam=frames.root_cam @ mirror,
        joints_cam=frames.joints_cam @ mirror,
        pose=pose.reshape(-1, 48),
    )
    assert (left.intrinsics[:, 0, 0] > 0).all()
    left.pose[2] = np.nan
    left_joints, left_vertices = visibility_from_mesh(tmp_path, left, hand, read_masks, workers=0)
    assert (left_joints[2] == -1).all()
    assert (left_vertices[2] == -1).all()
    known = np.arange(len(frames)) != 2
    assert (left_vertices[known] == vertices[known]).mean() > 0.999
    assert (left_joints[known] == joints[known]).mean() > 0.99
    with pytest.raises(InputError, match="neither"):
        visibility_from_mesh(root, replace(frames, pose=None), hand)


def test_the_data_module_computes_it_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"image_size": 64, "crop": "plain", "num_workers": 0, "batch_size": 12, "val_fraction": 0}
    for visibility in ("depth", "mesh"):
        data = HO3D(str(root), visibility=visibility, masks=True, **options)
        data.prepare_data()
        data.setup("fit")
        sample = data.datasets["train"][0]
        assert sample.visible.dtype == torch.bool
        assert (sample.vertices_visible is not None) == (visibility == "mesh")
        assert sample.hand_mask.any()
        names = {path.name.rsplit("-", 1)[0] for path in (root / ".handlit").iterdir()}
        assert any(name.startswith("train-seen") for name in names)
        monkeypatch.setattr(f"handlit.data.ho3d.visibility_from_{visibility}", None)
        again = HO3D(str(root), visibility=visibility, **options)
        again.setup("fit")
        torch.testing.assert_close(again.datasets["train"][0].visible, sample.visible)
