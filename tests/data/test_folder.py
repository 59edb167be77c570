"""Own pictures: boxes or labels in, crops out, left hands mirrored, and clear messages."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit.data.folder import HandFolder
from handlit.errors import InputError
from handlit.formats.folder import read_label_mask
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.types import HandBatch

HAND = {"box": [40, 30, 120, 110], "hand": "right"}


def write_folder(folder: Path, boxes: object, size: tuple[int, int] = (200, 160)) -> Path:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (16, 20, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "a.png"), image)
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def predict_batch(root: Path, **options: Any) -> tuple[Any, HandBatch]:
    module = HandFolder(str(root), image_size=64, crop="plain", **options)
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
        ({"a.png": [{"hand": "right"}]}, "needs 'box'"),
        ({"a.png": [{"hand": "right", "box": [0, 0, "5", 5]}]}, "four finite numbers"),
        ({"a.png": [{"hand": "left", "box": [9, 9, 3, 3]}]}, "is empty"),
        ({"a.png": [{**HAND, "camera": [1, 2]}]}, "'camera' must be four"),
        # as one array it would take 400 GB
        ({"a.png": [{**HAND, "camera": ["9" * 10**6, *["9"] * 10**5]}]}, "'camera' must be four"),
        ({"a.png": [{**HAND, "box": [0, 0, True, 5]}]}, "four finite numbers"),
        ({"a.png": [{**HAND, "joints_2d": [[1, 2]] * 20 + [[1]]}]}, "shape 21 x 2"),
    ],
)
def test_bad_boxes_are_explained(tmp_path: Path, boxes: object, message: str) -> None:
    write_folder(tmp_path, boxes)
    with pytest.raises(InputError, match=message):
        predict_batch(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_image_that_is_named_twice_is_refused(tmp_path: Path, encoding: str) -> None:
    write_folder(tmp_path, {"a.png": [HAND]})
    hand = json.dumps([HAND])
    for text in (f'{{"a.png": {hand}, "a.png": {hand}}}', f'{{"a.png": {hand}, "a.png": []}}'):
        (tmp_path / "boxes.json").write_text(text, encoding)
        with pytest.raises(InputError, match=r"boxes\.json names a\.png twice: list all hands"):
            predict_batch(tmp_path)
    # within a hand, too; what only looks so is no fault
    (tmp_path / "boxes.json").write_text(f'{{"a.png": [{{"hand": "left", {hand[2:]}}}', encoding)
    with pytest.raises(InputError, match="names hand twice"):
        predict_batch(tmp_path)
    (tmp_path / "boxes.json").write_text(f'{{"a.png": {hand}, "\\"hand\\": b.png": []}}', encoding)
    with pytest.raises(FileNotFoundError, match="which is not in"):
        predict_batch(tmp_path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("images", np.array(["../b.png"])),
        ("masks", np.array(["/etc/hostname"])),
        ("boxes", np.zeros((2, 4))),
        ("splits", np.zeros(1)),
        ("splits", None),
    ],
)
def test_an_index_that_came_with_a_folder_is_not_trusted(tmp_path: Path, name: str, array: np.ndarray | None) -> None:
    write_folder(tmp_path, {"a.png": [HAND]})
    predict_batch(tmp_path)
    (folder,) = (tmp_path / ".handlit").iterdir()
    (folder / f"{name}.npy").unlink()
    if array is not None:
        np.save(folder / f"{name}.npy", array)
    listed = {"identity": folder.name[-32:], "arrays": sorted(path.stem for path in folder.glob("*.npy"))}
    (folder / "index.json").write_text(json.dumps(listed))
    module, batch = predict_batch(tmp_path)
    assert batch.key == ["a.png#0"]
    assert module.datasets["predict"].frames.images.tolist() == ["a.png"]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"annotations\.json is missing"):
        predict_batch(tmp_path / "nowhere")
    write_folder(tmp_path, {"b.png": [HAND]})
    with pytest.raises(FileNotFoundError, match=r"names b\.png"):
        predict_batch(tmp_path)
    (tmp_path / "boxes.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        predict_batch(tmp_path)


CAMERA = [300.0, 310.0, 90.0, 70.0]


def labelled(side: str = "right", **changes: Any) -> dict[str, Any]:
    """A hand with every label, in the picture's own camera; a left hand is a right one mirrored in x."""
    rng = np.random.default_rng(1)
    pose, betas = torch.from_numpy(0.2 * rng.normal(size=48)), torch.from_numpy(0.3 * rng.normal(size=10))
    layer = HandLayer(load_hand(None), tips="manopth", dtype=torch.float64)
    mesh = layer(pose[3:], betas, pose[:3])
    joints = mesh.joints - mesh.joints[0] + torch.tensor([0.05, 0.02, 0.5])
    pose = pose.view(16, 3)
    if side == "left":
        joints, pose = joints * torch.tensor([-1.0, 1, 1]), pose * torch.tensor([1.0, -1, -1])
    matrix = torch.tensor([[CAMERA[0], 0, CAMERA[2]], [0, CAMERA[1], CAMERA[3]], [0, 0, 1]], dtype=torch.float64)
    hand = {
        "hand": side,
        "camera": CAMERA,
        "joints_cam": joints.tolist(),
        "joints_2d": project(joints, matrix).tolist(),
        "pose": pose.flatten().tolist(),
        "betas": betas.tolist(),
        "visible": [True] * 20 + [False],
        "split": "train",
    }
    return {key: value for key, value in {**hand, **changes}.items() if value is not None}


def train_batch(root: Path, stage: str = "fit", **options: Any) -> HandBatch:
    module = HandFolder(str(root), image_size=64, crop="plain", batch_size=4, **options)
    module.setup(stage)
    loader = {"fit": module.train_dataloader, "test": module.test_dataloader}[stage]()
    return module.on_after_batch_transfer(next(iter(loader)), 0)


def test_states_of_fingers_are_labels(tmp_path: Path) -> None:
    states = [None, "stretched", "bent", "touching", None]
    hands = [labelled(fingers=states), labelled(), labelled(fingers=[None] * 5)]
    hands = [{**hand, "split": "test"} for hand in hands]
    write_folder(tmp_path, {"a.png": hands})
    batch = train_batch(tmp_path, "test")
    order = batch.index.argsort()
    assert batch.valid["fingers"][order].tolist() == [True, False, False]
    assert batch.fingers[order[0]].tolist() == [-1, 1, 0, 2, -1]
    write_folder(tmp_path, {"a.png": [labelled(split="test")]})
    assert not train_batch(tmp_path, "test").valid["fingers"].any()


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_agree_with_each_other(tmp_path: Path, side: str) -> None:
    """Vertices from the pose, joints and pixels are one right hand, also of a mirrored left one."""
    write_folder(tmp_path, {"a.png": [labelled(side, split="test")]})
    batch = train_batch(tmp_path, "test")
    assert all(batch.valid[name].all() for name in ("joints_cam", "vertices_cam", "pose", "betas", "root_cam"))
    torch.testing.assert_close(batch.vertices_cam[:, 444], batch.joints_cam[:, 12], atol=1e-6, rtol=0)
    torch.testing.assert_close(batch.vertices_cam[:, 745], batch.joints_cam[:, 4], atol=1e-6, rtol=0)
    torch.testing.assert_close(project(batch.joints_cam, batch.intrinsics), batch.joints_2d, atol=1e-3, rtol=0)
    assert batch.visible[0, :20].all()
    assert not batch.visible[0, 20]
    # in the picture's own pixels they are what the file says
    source = (batch.joints_2d[0] - batch.crop_transform[0, :, 2]) @ batch.crop_transform[0, :, :2].inverse().T
    expected = torch.tensor(labelled(side)["joints_2d"])
    torch.testing.assert_close(source, expected, atol=1e-3, rtol=0)


def test_partial_labels_train_together(tmp_path: Path) -> None:
    flat = labelled(joints_cam=None, camera=None, pose=None, betas=None, visible=None)
    write_folder(tmp_path, {"a.png": [labelled(), flat, {**HAND, "split": "val"}, {**HAND, "split": "train"}]})
    batch = train_batch(tmp_path)
    rows = {key: row for row, key in enumerate(batch.key)}
    assert sorted(rows) == ["a.png#0", "a.png#1", "a.png#3"]
    for name, known in (("joints_cam", [0]), ("joints_2d", [0, 1]), ("vertices_cam", [0]), ("visible", [0])):
        assert [number for number in (0, 1, 3) if batch.valid[name][rows[f"a.png#{number}"]]] == known
    torch.testing.assert_close(batch.joints_2d[rows["a.png#1"]], batch.joints_2d[rows["a.png#0"]], atol=1e-3, rtol=0)


def test_joints_may_be_trusted_in_part(tmp_path: Path) -> None:
    confidence = np.linspace(0, 1, 21).tolist()
    flat = labelled(joints_cam=None, camera=None, pose=None, betas=None, joints_2d_confidence=confidence)
    flat["joints_2d"][0] = [-4000, 0]
    write_folder(
        tmp_path, {"a.png": [flat, labelled(), labelled(joints_2d_confidence=confidence), {**HAND, "split": "val"}]}
    )
    batch = train_batch(tmp_path)
    rows = [batch.key.index(f"a.png#{number}") for number in range(3)]
    # confidence is of the given 2D joints; those that follow from 3D are certain
    assert batch.valid["confidence"][rows].tolist() == [True, False, False]
    torch.testing.assert_close(batch.confidence[rows[0]], torch.tensor(confidence))
    assert batch.valid["detected"][rows].tolist() == [True, False, True]
    detected = torch.cat([batch.joints_2d, batch.confidence[..., None]], 2)
    torch.testing.assert_close(batch.detected[rows[0]], detected[rows[0]])
    # a joint of which nothing is known does not stretch the box
    zoom = batch.crop_transform[rows, 0, 0].tolist()
    assert zoom[0] == pytest.approx(zoom[1], rel=0.2)


@pytest.mark.parametrize("side", ["right", "left"])
def test_lifted_joints_are_labels_of_training_where_that_is_asked_for(tmp_path: Path, side: str) -> None:
    true = labelled(side)
    root = np.array(true["joints_cam"][0])
    hand = {"hand": side, "camera": CAMERA, "joints_2d": true["joints_2d"], "split": "train"}
    hand["joints_lifted"] = (np.array(true["joints_cam"]) - root).tolist()
    points = np.array(true["joints_2d"])
    hand["box"] = [*points.min(0).tolist(), *points.max(0).tolist()]
    images = {"a.png": [hand, {**hand, "split": "test"}, {**HAND, "split": "val"}, {**true, "joints_lifted": None}]}
    write_folder(tmp_path, images)
    assert train_batch(tmp_path).valid["joints_cam"].tolist().count(True) == 1
    batch = train_batch(tmp_path, lifted=True)
    assert batch.valid["joints_cam"].all()
    torch.testing.assert_close(batch.joints_cam[0], batch.joints_cam[1], atol=1e-4, rtol=0)
    assert not train_batch(tmp_path, "test", lifted=True).valid["joints_cam"].any()
    # two joints place a hand, one does not
    for known, placed in ((2, 2), (1, 1)):
        hand["joints_2d_confidence"] = [1.0] * known + [0.0] * (21 - known)
        write_folder(tmp_path, {**images, "a.png": [hand, *images["a.png"][1:]]})
        assert train_batch(tmp_path, lifted=True).valid["joints_cam"].sum() == placed


def test_masks_name_hand_and_object(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [{**HAND, "split": "test", "mask": "m.png"}]})
    mask = np.zeros((160, 200), np.uint8)
    mask[60:80, 70:90], mask[30:50, 70:90] = 1, 2
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    batch = train_batch(tmp_path, "test", masks=True)
    # the crop's side is 120 pixels of the source
    for name in ("hand_mask", "object_mask"):
        assert getattr(batch, name).sum() == pytest.approx(400 * (64 / 120) ** 2, rel=0.15)
    rows = [getattr(batch, name)[0].nonzero()[:, 0].float().mean() for name in ("object_mask", "hand_mask")]
    assert rows[1] - rows[0] == pytest.approx(30 * 64 / 120, abs=1)
    cv2.imwrite(str(tmp_path / "m.png"), mask * 100)
    with pytest.raises(InputError, match=r"m\.png.*values up to 200"):
        read_label_mask(tmp_path / "m.png")


def scaled(factor: float, *axes: float) -> list[Any]:
    return (np.array(labelled()["joints_cam"]) * factor * (axes or (1, 1, 1))).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints_cam": scaled(1000)}, "millimetres"),
        ({"joints_cam": scaled(1, 1, -1, -1)}, "negative z.*OpenGL"),
        ({"joints_cam": labelled()["joints_cam"][:20]}, "21 x 3"),
        ({"camera": None}, "needs 'camera'"),
        ({"camera": [1.2, 1.2, 0.5, 0.5]}, "in pixels"),
        ({"camera": [300, 310, 900, 70], "joints_2d": None}, "all joints lie outside the 200x160"),
        ({"camera": [300, 310, 120, 70]}, "away from 'joints_2d'"),
        ({"root_cam": [0, 0, 0.7]}, "not the wrist"),
        ({"pose": [90.0] * 48}, "radians"),
        ({"betas": [0.0] * 9}, "shape 10"),
        ({"joints_lifted": scaled(1)}, "wrist, the first, at the origin"),
        ({"joints_2d_confidence": [1.0] * 20}, "shape 21"),
        ({"joints_2d_confidence": [1.0] * 20 + [1.5]}, "from 0 to 1"),
        ({"joints_2d_confidence": [1.0] * 21, "joints_2d": None}, "is missing"),
        ({"joints_2d_confidence": [0.0] * 21, "joints_cam": None, "camera": None, "pose": None}, "needs 'box'"),
        ({"visible": [1] * 21}, "true or false"),
        ({"fingers": ["bent"] * 4}, 'five of "bent", "stretched", "touching" or null'),
        ({"fingers": ["bent"] * 4 + ["open"]}, "five of"),
        ({"fingers": ["touching", None, None, None, "touching"]}, "thumb touches the thumb"),
        ({"split": "training"}, "'split' must be one of train"),
        ({"keypoints": []}, "unknown key 'keypoints'"),
    ],
)
def test_bad_labels_are_explained(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_folder(tmp_path, {"a.png": [labelled(), labelled(**changes)]})
    with pytest.raises(InputError, match=f"a\\.png, hand 1: .*{message}"):
        predict_batch(tmp_path)


def test_a_root_may_be_a_millimetre_from_the_wrist(tmp_path: Path) -> None:
    x, y, z = labelled()["joints_cam"][0]
    write_folder(tmp_path, {"a.png": [labelled(root_cam=[x, y, z + 0.0009])]})
    assert len(predict_batch(tmp_path)[1]) == 1
    write_folder(tmp_path, {"a.png": [labelled(root_cam=[x, y, z + 0.0011])]})
    with pytest.raises(InputError, match="not the wrist"):
        predict_batch(tmp_path)


def test_splits_that_are_needed_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [HAND]})
    for stage, split in (("fit", "train"), ("validate", "val"), ("test", "test")):
        with pytest.raises(InputError, match=f"'split': '{split}'"):
            HandFolder(str(tmp_path)).setup(stage)


@pytest.mark.parametrize("name", ["../out.png", "{outside}/out.png", "link.png", "folder/out.png"])
@pytest.mark.parametrize("kind", ["image", "mask"])
def test_files_outside_the_folder_are_read_where_that_is_allowed(tmp_path: Path, name: str, kind: str) -> None:
    root = tmp_path / "own"
    root.mkdir()
    cv2.imwrite(str(tmp_path / "out.png"), np.zeros((160, 200), np.uint8))
    (root / "link.png").symlink_to(tmp_path / "out.png")
    (root / "folder").symlink_to(tmp_path, target_is_directory=True)
    name = name.format(outside=tmp_path)
    write_folder(root, {name: [HAND]} if kind == "image" else {"a.png": [{**HAND, "mask": name}]})
    # what was allowed once is not remembered
    for _ in range(2):
        with pytest.raises(InputError, match=r"boxes.json.* names .*, which lies outside .*own: .*allow_outside"):
            predict_batch(root)
        assert len(predict_batch(root, allow_outside=True)[1]) == 1


def test_files_within_the_folder_may_be_named_by_any_path(tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(write_folder(tmp_path, {}), target_is_directory=True)
    write_folder(tmp_path, {"./a.png": [HAND], "linked/a.png": [HAND], "linked/linked/a.png": [HAND]})
    assert len(predict_batch(tmp_path / "linked")[1]) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": [0.31, 0.25, 0.66, 0.75]}, "shares of its width"),
        ({"box": [-90, -90, -10, -10]}, "top-left corner"),
        ({"box": [300, 20, 400, 90]}, "another size"),
        ({"box": [20, 165, 120, 195]}, "EXIF"),
        ({"box": [90, 60, 80, 70]}, "is empty.*is it x, y, width, height"),
        ({"box": [62, 36, 100, 104], "joints_2d": np.linspace((60, 40), (190, 138), 21).tolist()}, "width, height"),
        ({"box": [2, 2, 9, 9], "joints_2d": np.linspace((60, 40), (190, 138), 21).tolist()}, "holds 0%"),
    ],
)
def test_boxes_of_other_images_are_explained(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_folder(tmp_path, {"a.png": [HAND, {**HAND, **changes}]})
    with pytest.raises(InputError, match=f"a\\.png, hand 1: .*{message}"):
        predict_batch(tmp_path)


def test_boxes_at_the_edge_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(tmp_path, {"a.png": [HAND, {**HAND, "box": [170, 20, 250, 90]}]})
    assert len(predict_batch(tmp_path)[1]) == 2
    assert "1 of 2 boxes lie more than half outside their image, a.png#1 first" in caplog.text


def test_two_lists_are_one_too_many(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [HAND]})
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(InputError, match="keep one of them"):
        predict_batch(tmp_path)


def test_annotations_are_read_once_until_they_change(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.png": [HAND]})
    predict_batch(tmp_path)
    assert (tmp_path / ".handlit").is_dir()
    write_folder(tmp_path, {"a.png": [HAND, HAND]})
    assert len(predict_batch(tmp_path)[1]) == 2
