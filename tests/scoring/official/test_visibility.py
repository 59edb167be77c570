"""Visibility of joints on scenes whose answer is known: an open hand before a camera, and a board."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handlit.errors import InputError
from handlit.formats.ground_truth import read_ground_truth
from handlit.formats.registry import benchmark_named
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.scoring.official.visibility import joint_visibility
from handlit.skeleton import JOINTS, reorder

PROTOCOL = benchmark_named("ho3d_v3")
FACES = load_hand().faces
CAMERA = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
#: Turns the hand at rest so that the camera sees its palm, fingers up.
PALM = np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]])
#: A board of 40 cm, one polygon, with its lower edge at y = 0 (OpenGL's y up).
BOARD = "# a board\nv -0.2 0 0\nv 0.2 0 0\nv 0.2 0.4 0\nv -0.2 0.4 0\nf 1/1 2/2 3/3 4/4\n"
#: Frame: depth of the board and height of its lower edge above the wrist, metres; None for no object.
FRAMES = {
    "no object": None,
    "board before the hand": (0.35, -0.15),
    "board behind the hand": (0.70, -0.15),
    "board before the fingers": (0.45, 0.045),
}
FINGERS = [JOINTS.index(f"{finger}_{i}") for finger in ("index", "middle", "ring", "pinky") for i in (2, 3, 4)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset root with one open hand, 5 cm below the middle of the image, under every board."""
    mesh = HandLayer(load_hand(), tips="ho3d")(torch.zeros(1, 45))
    place = np.array([0, 0.05, 0.5]) - PALM @ mesh.joints[0, 0].numpy()
    hand = PROTOCOL.points_to_official(mesh.vertices[0].numpy() @ PALM.T + place)
    joints = PROTOCOL.joints_to_official(mesh.joints[0].numpy() @ PALM.T + place)
    (tmp_path / "evaluation_xyz.json").write_text(json.dumps([joints.tolist()] * len(FRAMES)))
    (tmp_path / "evaluation_verts.json").write_text(json.dumps([hand.tolist()] * len(FRAMES)))
    (tmp_path / "evaluation.txt").write_text("".join(f"S/{i:04d}\n" for i in range(len(FRAMES))))
    (tmp_path / "models" / "board").mkdir(parents=True)
    (tmp_path / "models" / "board" / "textured_simple.obj").write_text(BOARD)
    (tmp_path / "evaluation" / "S" / "meta").mkdir(parents=True)
    for number, board in enumerate(FRAMES.values()):
        meta: dict[str, Any] = {"camMat": CAMERA}
        if board is not None:
            depth, height = board
            meta |= {"objName": "board", "objRot": np.zeros((3, 1)), "objTrans": np.array([0, height - 0.05, -depth])}
        path = tmp_path / "evaluation" / "S" / "meta" / f"{number:04d}.pkl"
        path.write_bytes(pickle.dumps(meta, protocol=2))
    return tmp_path


def test_what_an_open_hand_shows(root: Path) -> None:
    truth = read_ground_truth(root)
    visible = joint_visibility(truth, truth.open_scenes(), FACES)[:, reorder("ho3d", "handlit")]
    seen = dict(zip(FRAMES, visible, strict=True))
    assert seen["no object"].all()
    assert not seen["board before the hand"].any()
    assert seen["board behind the hand"].all()
    # seen from the camera the lower edge lies higher than the finger's first joints
    assert not seen["board before the fingers"][FINGERS].any()
    assert seen["board before the fingers"][[0, JOINTS.index("thumb_1")]].all()


def test_a_hand_outside_the_image_is_not_seen(root: Path) -> None:
    truth = read_ground_truth(root)
    for path in (root / "evaluation" / "S" / "meta").iterdir():
        # the middle of the image is now at the finger tips' right
        path.write_bytes(pickle.dumps({"camMat": CAMERA - [[0, 0, 900], [0, 0, 0], [0, 0, 0]]}, protocol=2))
    assert not joint_visibility(truth, truth.open_scenes(), FACES).any()


def test_what_is_missing_is_named(root: Path) -> None:
    truth = read_ground_truth(root)
    scenes = truth.open_scenes()
    assert scenes.has_all_cameras()
    assert scenes.image(0) is None
    with pytest.raises(InputError, match="--mano_path"):
        joint_visibility(truth, scenes, np.random.default_rng(0).permutation(778)[FACES])
    (root / "evaluation" / "S" / "meta" / "0002.pkl").unlink()
    assert not scenes.has_all_cameras()
    with pytest.raises(InputError, match="S/0002"):
        joint_visibility(truth, scenes, FACES)
