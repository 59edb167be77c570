"""A synthetic dataset in FreiHAND's layout, read back from its bytes: tree, orders and units; labels agree."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handlit.data.synthesis import PRESETS, synthesise
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.render.rasterizer import TorchRasterizer

TRAIN, EVALUATION = 4, 2
# no object or arm hides a part of the hand from the mask where the object is far behind it
PRESET = replace(PRESETS["easy"], held_probability=0.0, occluder_probability=0.0, frames_per_sequence=3)
TIPS = [744, 320, 443, 555, 672]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("freihand") / "data"
    synthesise(folder, "freihand", TRAIN, EVALUATION, seed=2, preset=PRESET, workers=0, progress=False)
    return folder


def lists(root: Path, split: str) -> dict[str, np.ndarray]:
    kinds = ("K", "scale", "mano", "xyz", "verts")
    return {kind: np.array(json.loads((root / f"{split}_{kind}.json").read_text())) for kind in kinds}


def test_tree(root: Path) -> None:
    expected = {"synthesis.json"}
    expected |= {f"{s}_{k}.json" for s in ("training", "evaluation") for k in ("K", "scale", "mano", "xyz", "verts")}
    expected |= {f"training/rgb/{i:08d}.jpg" for i in range(4 * TRAIN)}
    expected |= {f"training/mask/{i:08d}.jpg" for i in range(TRAIN)}
    expected |= {f"evaluation/rgb/{i:08d}.jpg" for i in range(EVALUATION)}
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == expected
    for path in root.rglob("rgb/*.jpg"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (224, 224, 3)


@pytest.mark.parametrize(("split", "count"), [("training", TRAIN), ("evaluation", EVALUATION)])
def test_labels_agree_with_the_hand_layer(root: Path, split: str, count: int) -> None:
    labels = lists(root, split)
    shapes = {kind: values.shape for kind, values in labels.items()}
    n = count
    assert shapes == {"K": (n, 3, 3), "scale": (n,), "mano": (n, 1, 61), "xyz": (n, 21, 3), "verts": (n, 778, 3)}
    mano = torch.from_numpy(labels["mano"][:, 0])
    layer = HandLayer(load_hand(), flat_hand_mean=False, tips="freihand", dtype=torch.float64)
    mesh = layer(mano[:, 3:48], mano[:, 48:58], mano[:, :3])
    offset = torch.from_numpy(labels["xyz"][:, :1]) - mesh.joints[:, :1]
    np.testing.assert_allclose((mesh.vertices + offset).numpy(), labels["verts"], atol=2e-6)
    np.testing.assert_allclose((mesh.joints + offset).numpy(), labels["xyz"], atol=2e-6)
    np.testing.assert_array_equal(labels["xyz"][:, [4, 8, 12, 16, 20]], labels["verts"][:, TIPS])
    bone = np.linalg.norm(labels["xyz"][:, 9] - labels["xyz"][:, 10], axis=1)
    np.testing.assert_allclose(labels["scale"], bone, rtol=1e-12)
    np.testing.assert_allclose(labels["mano"][:, 0, 60], bone, rtol=1e-12)
    wrist = np.einsum("nij,nj->ni", labels["K"], labels["xyz"][:, 0])
    np.testing.assert_allclose(labels["mano"][:, 0, 58:60], wrist[:, :2] / wrist[:, 2:], atol=1e-9)
    # the whole hand is in the crop and before the camera
    uv = np.einsum("nij,nvj->nvi", labels["K"], labels["verts"])
    assert (uv[..., 2] > 0.1).all()
    uv = uv[..., :2] / uv[..., 2:]
    assert (uv > 0).all()
    assert (uv < 223).all()


def test_mask_is_the_projected_hand(root: Path) -> None:
    labels = lists(root, "training")
    faces = torch.from_numpy(load_hand().faces)
    for sample in range(TRAIN):
        mask = cv2.imread(str(root / f"training/mask/{sample:08d}.jpg"), cv2.IMREAD_GRAYSCALE) > 127
        flat = np.zeros(224 * 224, dtype=bool)
        vertices, intrinsics = (torch.from_numpy(labels[kind][sample]).float()[None] for kind in ("verts", "K"))
        flat[TorchRasterizer()(vertices, faces, intrinsics, (224, 224)).pixels.numpy()] = True
        drawn = flat.reshape(224, 224)
        # the arm may hide a little of the wrist; nothing else may differ
        assert (mask & ~drawn).sum() <= 0.01 * drawn.sum()
        assert (mask & drawn).sum() / (mask | drawn).sum() > 0.95


def test_versions_differ_in_colour_and_share_the_hand(root: Path) -> None:
    images = [cv2.imread(str(root / f"training/rgb/{TRAIN * k:08d}.jpg")).astype(int) for k in range(4)]
    mask = cv2.imread(str(root / "training/mask/00000000.jpg"), cv2.IMREAD_GRAYSCALE) > 127
    inside = cv2.erode(mask.astype(np.uint8), np.ones((7, 7))) > 0
    # before the green screen: green is the brightest channel of nearly all of the border
    border = images[0][:4].reshape(-1, 3)
    assert (border.argmax(axis=1) == 1).mean() > 0.9
    for first in range(4):
        for second in range(first):
            assert np.abs(images[first] - images[second])[~mask].mean() > 10
    # the second keeps the first one's light
    assert np.abs(images[0] - images[1])[inside].mean() < 6


def test_two_processes_write_the_same_bytes(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "again"
    synthesise(other, "freihand", TRAIN, EVALUATION, seed=2, preset=PRESET, workers=2, progress=False)
    for path in root.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (other / path.relative_to(root)).read_bytes(), path
