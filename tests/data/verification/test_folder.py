"""What is wrong in a folder of own images is named once."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit.data.synthesis.generate import template_md5
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from tests.data.verification.broken_trees import check, edit_metas, only_problem


def test_own_pictures(tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", np.full((160, 200, 3), 90, np.uint8))[1].tobytes()
    for name in ("a.jpg", "b.jpg", "extra.jpg"):
        (tmp_path / name).write_bytes(picture)
    (tmp_path / "cut.jpg").write_bytes(picture[:-100])
    hand = {"hand": "right", "box": [40, 30, 120, 110]}
    joints = np.random.default_rng(0).normal(0, 0.04, (21, 3)) + [0, 0, 0.6]
    labelled = {**hand, "camera": [300, 300, 99.5, 79.5], "joints_cam": joints.tolist()}
    hands = {"a.jpg": [hand, labelled], "b.jpg": [{**hand, "mask": "none.png"}]}
    (tmp_path / "annotations.json").write_text(json.dumps({"a.jpg": [hand], "b.jpg": [hand]}))
    report = check(tmp_path)
    assert report.dataset == "own images"
    assert report.problems == []
    bad = {**labelled, "joints_cam": (1000 * joints).tolist()}
    hands |= {"cut.jpg": [hand], "gone.jpg": [hand]}
    hands["b.jpg"].append(bad)
    (tmp_path / "annotations.json").write_text(json.dumps(hands))
    report = check(tmp_path)
    assert [(finding.name, finding.count) for finding in report.problems][:4] == [
        ("missing images", 1),
        ("unreadable images", 1),
        ("damaged annotations", 1),
        ("missing segmentations", 1),
    ]
    assert "are these millimetres?" in report.problems[2].examples[0]
    expected = {"listed": 4, "images": 3, "hands": 4, "damaged": 1, "extra files": 1}
    assert expected.items() <= report.counts["hands"].items()


def test_boxes_that_miss_their_image_are_named(tmp_path: Path, ho3d: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    cv2.imwrite(str(root / "a.png"), np.zeros((160, 200, 3), np.uint8))
    boxes = [[40, 30, 120, 110], [0.2, 0.2, 0.6, 0.7], [170, 20, 250, 90]]
    hands = [{"hand": "right", "box": box} for box in boxes]
    (root / "annotations.json").write_text(json.dumps({"a.png": hands}))
    report = check(root)
    (problem,) = report.problems
    assert "a.png, hand 1: hand box" in problem.examples[0]
    assert "shares of its width and height" in problem.examples[0]
    (edge,) = (finding for finding in report.findings if finding.name == "boxes at the edge")
    assert edge.examples == ("a.png#2",)
    normalised = np.array([0.3, 0.3, 0.6, 0.7])
    edit_metas(ho3d, lambda meta: {"handBoundingBox": normalised}, "evaluation", slice(1))
    assert "shares of its width" in only_problem(ho3d, "boxes").examples[0]


@pytest.mark.parametrize("name", ["../out.png", "{outside}/out.png", "link.png", "folder/out.png"])
def test_own_files_outside_the_folder_are_not_read(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "own", tmp_path
    root.mkdir()
    cv2.imwrite(str(outside / "out.png"), np.zeros((160, 200), np.uint8))
    cv2.imwrite(str(root / "a.png"), np.zeros((160, 200, 3), np.uint8))
    (root / "link.png").symlink_to(outside / "out.png")
    (root / "folder").symlink_to(outside, target_is_directory=True)
    name = name.format(outside=outside)
    hand = {"hand": "right", "box": [40, 30, 120, 110]}
    (root / "annotations.json").write_text(json.dumps({name: [hand], "a.png": [{**hand, "mask": name}, hand]}))
    report = check(root)
    assert [(finding.name, finding.examples) for finding in report.problems] == [
        ("missing images", (name,)),
        ("missing segmentations", (f"a.png#0: {name}",)),
    ]


def test_own_left_hands_are_compared_with_the_mirrored_mesh(tmp_path: Path) -> None:
    asset = load_hand(None)
    generator = torch.Generator().manual_seed(0)
    pose, betas = 0.3 * torch.randn(48, generator=generator), torch.randn(10, generator=generator)
    mesh = HandLayer(asset, tips="freihand")(pose[3:], betas, pose[:3])
    joints = (mesh.joints - mesh.joints[0] + torch.tensor([0.0, 0.0, 0.8])) * torch.tensor([-1.0, 1.0, 1.0])
    mirrored = (pose.view(16, 3) * torch.tensor([1.0, -1.0, -1.0])).flatten()
    labels = {"camera": [200, 200, 99.5, 79.5], "joints_cam": joints.tolist(), "betas": betas.tolist()}
    hands = [{"hand": "left", "pose": mirrored.tolist(), **labels}]
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((160, 200, 3), np.uint8))
    (tmp_path / "annotations.json").write_text(json.dumps({"a.png": hands}))
    # says that the stand-in hand is the hand of these labels
    settings: dict[str, Any] = {"hand_template_md5": template_md5(asset)}
    (tmp_path / "synthesis.json").write_text(json.dumps(settings))
    report = check(tmp_path, tips="freihand")
    assert report.problems == []
    assert report.measures["hands"]["joints to mesh, largest, mm"] < 0.01
    assert (
        "the finger tips are those of freihand, not of ho3d"
        in only_problem(tmp_path, "joints and meshes", tips="ho3d").message
    )
