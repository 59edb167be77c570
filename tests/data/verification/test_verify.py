"""Whole trees have no findings but notes; each way to break one gives exactly the finding that names it."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from handlit.data.packing.write import pack
from handlit.data.synthesis import synthesise
from handlit.data.synthesis.generate import template_md5
from handlit.data.verification import Report, verify
from handlit.data.verification.images import spread_rows
from handlit.errors import InputError
from handlit.findings import Finding
from handlit.formats.registry import recognise
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS, TIP_VERTICES, TIPS, reorder
from tests.data.packing.packed_data import Small, write_pack, write_small

HO3D_TO_HANDLIT, HANDLIT_TO_HO3D = reorder("ho3d", "handlit"), reorder("handlit", "ho3d")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    sizes: dict[Any, int] = {"ho3d_v3": 20, "ho3d_v2": 3, "freihand": 6}
    for layout, train in sizes.items():
        synthesise(folder / layout, layout, train=train, evaluation=3, seed=4, preset="easy", workers=0, progress=False)
    return folder


@pytest.fixture
def ho3d(trees: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trees / "ho3d_v3", tmp_path / "tree", copy_function=os.link))


@pytest.fixture
def freihand(trees: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trees / "freihand", tmp_path / "tree", copy_function=os.link))


def replace(path: Path, content: bytes) -> None:
    # copies are hard links: the original must not be written to
    path.unlink()
    path.write_bytes(content)


def edit_metas(
    root: Path, change: Callable[[dict[str, Any]], dict[str, Any]], split: str = "train", rows: slice = slice(None)
) -> None:
    for path in sorted(root.glob(f"{split}/*/meta/*.pkl"))[rows]:
        meta = pickle.loads(path.read_bytes())
        replace(path, pickle.dumps({**meta, **change(meta)}, protocol=2))


def edit_list(root: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = root / f"{name}.json"
    replace(path, json.dumps(change(np.array(json.loads(path.read_text()))).tolist()).encode())


def check(root: Path, **options: Any) -> Report:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    report = verify(root, workers=0, **options)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before  # nothing is written
    return report


def only_problem(root: Path, kind: str, **options: Any) -> Finding:
    report = check(root, **options)
    assert [finding.name for finding in report.problems] == [kind]
    return report.problems[0]


@pytest.mark.parametrize(
    ("layout", "name", "frames"),
    [("ho3d_v3", "HO-3D v3", 20), ("ho3d_v2", "HO-3D v2", 3), ("freihand", "FreiHAND", 6)],
)
def test_whole_trees_are_recognised_and_have_no_problem(trees: Path, layout: str, name: str, frames: int) -> None:
    report = check(trees / layout)
    assert report.dataset == name
    assert report.problems == []
    assert {finding.name for finding in report.findings} == {"size"}
    split = "training" if layout == "freihand" else "train"
    images = 4 * frames if layout == "freihand" else frames
    expected = {"listed": images, "images": images, "images decoded": images, "images unreadable": 0}
    assert expected.items() <= report.counts[split].items()
    assert report.counts[split]["masks decoded"] == frames
    measures = report.measures[split]
    assert measures["frames with joints"] == frames
    assert measures["joints in the image"] > 0.95
    assert measures["joints to mesh, largest, mm"] < 0.01
    assert report.measures["evaluation"]["tips to stored vertices, largest, mm"] < 1e-6


def test_folders_that_are_no_dataset_are_refused_with_a_hint(trees: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"freihand is one \(FreiHAND\): give that folder"):
        recognise(trees)
    with pytest.raises(InputError, match=r"HO-3D v3 has train\.txt or evaluation\.txt"):
        recognise(tmp_path)
    with pytest.raises(FileNotFoundError):
        recognise(tmp_path / "none")
    with pytest.raises(InputError, match="number of frames to decode"):
        verify(trees / "ho3d_v3", sample=0)


def cut(path: Path) -> None:
    replace(path, path.read_bytes()[:-200])


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[1]


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("missing images", "train/*/rgb/*.jpg"),
        ("missing depth images", "train/*/depth/*.png"),
        ("missing segmentations", "train/*/seg/*.png"),
        ("missing annotations", "evaluation/*/meta/*.pkl"),
    ],
)
def test_missing_files_are_counted_and_named(ho3d: Path, kind: str, pattern: str) -> None:
    path = first(ho3d, pattern)
    path.unlink()
    finding = only_problem(ho3d, kind)
    assert finding.count == 1
    assert finding.examples == (f"{path.parents[1].name}/{path.stem}",)
    assert finding.split == path.parents[2].name


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("unreadable images", "train/*/rgb/*.jpg"),
        ("unreadable masks", "train/*/seg/*.png"),
        ("unreadable depths", "train/*/depth/*.png"),
        ("damaged annotations", "train/*/meta/*.pkl"),
        ("damaged annotations", "evaluation/*/meta/*.pkl"),
    ],
)
def test_cut_files_are_counted_and_named(ho3d: Path, kind: str, pattern: str) -> None:
    path = first(ho3d, pattern)
    cut(path)
    finding = only_problem(ho3d, kind)
    assert finding.count == 1
    assert path.name in finding.examples[0]


def test_masks_and_depths_that_show_nothing_are_noted(ho3d: Path) -> None:
    mask, depth = first(ho3d, "train/*/seg/*.png"), first(ho3d, "train/*/depth/*.png")
    for path in (mask, depth):
        replace(path, cv2.imencode(".png", np.zeros((480, 640, 3), np.uint8))[1].tobytes())
    found = {finding.name: finding for finding in check(ho3d, full=True).findings}
    for name, path in (("empty masks", mask), ("empty depth", depth)):
        assert found[name].examples == (f"{path.parts[-3]}/{path.stem}",)


def test_empty_files_are_found_without_decoding(ho3d: Path) -> None:
    path = first(ho3d, "train/*/rgb/*.jpg")
    replace(path, b"")
    report = check(ho3d, sample=1)
    assert report.problems[0].name == "empty files"
    assert report.problems[0].examples == (path.relative_to(ho3d).as_posix(),)
    assert {finding.name for finding in check(ho3d, full=True).problems} == {"empty files", "unreadable images"}


def test_images_of_another_size_are_named(ho3d: Path) -> None:
    path = first(ho3d, "train/*/rgb/*.jpg")
    replace(path, cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))[1].tobytes())
    assert "320x240" in only_problem(ho3d, "unreadable images").examples[0]


def test_frames_without_annotation_and_extra_files_are_notes(ho3d: Path) -> None:
    edit_metas(ho3d, lambda meta: {"handPose": None, "handJoints3D": None}, rows=slice(2, 5))
    (first(ho3d, "train/*/rgb/*.jpg").parent / "9999.jpg").write_bytes(b"x")
    (ho3d / "train" / "ZZ1").mkdir()
    report = check(ho3d)
    assert report.problems == []
    counts = report.counts["train"]
    assert (counts["without hand annotation"], counts["extra files"]) == (3, 2)
    kinds = {finding.name: finding for finding in report.findings if finding.split == "train"}
    assert kinds["without annotation"].count == 3
    assert {Path(name).name for name in kinds["extra files"].examples} == {"9999.jpg", "ZZ1"}


def test_layouts_without_depth_and_masks_are_whole(ho3d: Path) -> None:
    for path in [*ho3d.glob("*/*/depth"), *ho3d.glob("*/*/seg")]:
        shutil.rmtree(path)
    report = check(ho3d)
    assert report.problems == []
    assert {"missing depth images", "missing segmentations"} <= {finding.name for finding in report.findings}


def test_bad_lists_are_counted(ho3d: Path) -> None:
    path = ho3d / "train.txt"
    names = path.read_text().splitlines()
    replace(path, "\n".join([*names, names[0], "../../etc/passwd"]).encode())
    report = check(ho3d)
    assert [(finding.name, finding.examples) for finding in report.problems] == [
        ("lists", ("../../etc/passwd",)),
        ("lists", (names[0],)),
    ]
    assert report.counts["train"]["listed"] == len(names)
    path.unlink()
    assert only_problem(ho3d, "missing lists").split == "train"


@pytest.mark.parametrize(
    ("field", "value"), [("handPose", np.full(48, np.nan)), ("handBeta", np.zeros(9)), ("camMat", np.eye(4))]
)
def test_nan_and_wrong_shapes_are_damaged_annotations(ho3d: Path, field: str, value: np.ndarray) -> None:
    edit_metas(ho3d, lambda meta: {field: value}, rows=slice(3, 5))
    finding = only_problem(ho3d, "damaged annotations")
    assert finding.count == 2
    assert f"'{field}'" in finding.examples[0]


def test_a_pickle_that_runs_code_is_named_and_not_run(ho3d: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    replace(first(ho3d, "train/*/meta/*.pkl"), pickle.dumps(Bomb()))
    assert "posix.mkdir" in only_problem(ho3d, "damaged annotations").examples[0]
    assert not (tmp_path / "ran").exists()


def in_opencv(meta: dict[str, Any]) -> dict[str, Any]:
    return {"handJoints3D": meta["handJoints3D"] * [1, -1, -1]}


def in_millimetres(meta: dict[str, Any]) -> dict[str, Any]:
    return {"handJoints3D": meta["handJoints3D"] * 1000}


def in_handlit_order(meta: dict[str, Any]) -> dict[str, Any]:
    # ring and pinky exchanged, and nothing else
    names = [name.replace("ring", "*").replace("pinky", "ring").replace("*", "pinky") for name in JOINTS]
    joints = meta["handJoints3D"][HO3D_TO_HANDLIT][[JOINTS.index(name) for name in names]]
    return {"handJoints3D": joints[HANDLIT_TO_HO3D]}


def with_wrist_at_origin(meta: dict[str, Any]) -> dict[str, Any]:
    return {"handJoints3D": meta["handJoints3D"] - meta["handJoints3D"][:1]}


def of_another_camera(meta: dict[str, Any]) -> dict[str, Any]:
    return {"camMat": np.array([[2400.0, 0, 700], [0, 2400, 20], [0, 0, 1]])}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (in_opencv, "axes", "OpenGL and OpenCV axes are mixed up"),
        (in_millimetres, "units", "these are millimetres"),
        (in_handlit_order, "joint order", "pinky and ring are exchanged"),
        (with_wrist_at_origin, "relative joints", "not relative to the wrist"),
    ],
)
def test_mistakes_of_all_joints_are_named_once(ho3d: Path, change: Callable[..., Any], kind: str, words: str) -> None:
    edit_metas(ho3d, change)
    assert words in only_problem(ho3d, kind).message


def test_another_camera_shows_in_projections_and_masks(ho3d: Path) -> None:
    edit_metas(ho3d, of_another_camera)
    assert "projection" in {finding.name for finding in check(ho3d).problems}


def test_single_odd_frames_are_named(ho3d: Path) -> None:
    def stretched(meta: dict[str, Any]) -> dict[str, Any]:
        joints = meta["handJoints3D"].copy()
        joints[20] += [0, 0, -0.3]
        return {"handJoints3D": joints}

    edit_metas(ho3d, stretched, rows=slice(1, 2))
    report = check(ho3d)
    assert [finding.name for finding in report.problems] == ["bone lengths", "joints and meshes"]
    assert all(finding.count == 1 and finding.examples[0].endswith("/0001") for finding in report.problems)
    edit_metas(ho3d, in_opencv, rows=slice(1, 2))
    assert "behind the camera" in {finding.name for finding in check(ho3d).problems}


MEAN = load_hand(None).pose_mean


def posed(difference: np.ndarray) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda meta: {"handPose": meta["handPose"] + np.concatenate([np.zeros(3), difference])}


def with_exchanged_pose(meta: dict[str, Any]) -> dict[str, Any]:
    pose = meta["handPose"].reshape(16, 3)
    # MANO's order: index, middle, pinky, ring, thumb
    return {"handPose": pose[[*range(7), 10, 11, 12, 7, 8, 9, *range(13, 16)]].ravel()}


def in_half_turned_axes(meta: dict[str, Any]) -> dict[str, Any]:
    rotation = cv2.Rodrigues(np.diag([1.0, -1, -1]) @ cv2.Rodrigues(meta["handPose"][:3])[0])[0]
    return {"handPose": np.concatenate([rotation[:, 0], meta["handPose"][3:]])}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (posed(-MEAN), "the mean pose is not added"),
        (posed(MEAN), "the mean pose is added to the pose twice"),
        (with_exchanged_pose, "pinky and ring are exchanged in the pose"),
        (in_half_turned_axes, "the global rotation is in other axes"),
        (lambda meta: {"handBeta": meta["handBeta"] + 2}, "no known mistake explains it"),
    ],
)
def test_joints_that_leave_the_mesh_have_their_likely_cause_named(
    ho3d: Path, change: Callable[..., Any], cause: str
) -> None:
    edit_metas(ho3d, change)
    finding = only_problem(ho3d, "joints and meshes")
    assert finding.count == 20
    assert cause in finding.message


def test_tips_of_another_convention_are_named(freihand: Path) -> None:
    vertices = np.array(json.loads((freihand / "training_verts.json").read_text()))

    def with_other_tips(joints: np.ndarray) -> np.ndarray:
        joints[:, [JOINTS.index(tip) for tip in TIPS]] = vertices[:, TIP_VERTICES["manopth"]]
        return joints

    edit_list(freihand, "training_xyz", with_other_tips)
    report = check(freihand)
    assert [finding.name for finding in report.problems] == ["tips and vertices", "joints and meshes"]
    assert all("those of manopth" in finding.message for finding in report.problems)


def test_real_data_is_not_judged_by_the_stand_in_hand(ho3d: Path) -> None:
    edit_metas(ho3d, posed(MEAN))
    (ho3d / "synthesis.json").unlink()
    report = check(ho3d)
    assert report.problems == []
    assert "meshes not compared" in {finding.name for finding in report.findings}
    assert "joints to mesh, median, mm" not in report.measures["train"]


def test_depth_in_another_unit_is_named(ho3d: Path) -> None:
    for path in sorted(ho3d.glob("train/*/depth/*.png")):
        depth: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth[..., 1] //= 2
        replace(path, cv2.imencode(".png", depth)[1].tobytes())
    assert "is the depth's unit right?" in only_problem(ho3d, "depth and joints").message


def test_masks_of_other_frames_are_named(ho3d: Path) -> None:
    for path in sorted(ho3d.glob("train/*/seg/*.png")):
        replace(path, cv2.imencode(".png", cv2.imread(str(path))[::-1, ::-1])[1].tobytes())
    assert only_problem(ho3d, "masks and joints").split == "train"


def test_ground_truth_is_checked_against_the_list(ho3d: Path) -> None:
    for name in ("evaluation_xyz", "evaluation_verts"):
        edit_list(ho3d, name, lambda values: values[[1, 0, 2]])
    finding = only_problem(ho3d, "ground truth")
    assert finding.count == 2
    for name in ("evaluation_xyz", "evaluation_verts"):
        edit_list(ho3d, name, lambda values: values[:2])
    assert "evaluation.txt names 3 images, evaluation_xyz.json has 2" in only_problem(ho3d, "ground truth").message
    path = ho3d / "evaluation.txt"
    replace(path, f"{path.read_text().splitlines()[0]}\nnothing\n".encode())
    problems = check(ho3d).problems
    assert [finding.name for finding in problems] == ["lists", "ground truth"]
    assert "2 entries, evaluation.txt 1" in problems[1].message


def test_freihand_lists_of_other_lengths_are_named(freihand: Path) -> None:
    edit_list(freihand, "training_scale", lambda values: values[:-1])
    assert "training_scale.json: 5" in only_problem(freihand, "list lengths").examples


def test_freihand_meshes_of_another_length_are_named(freihand: Path) -> None:
    edit_list(freihand, "training_verts", lambda values: values[:-2])
    assert only_problem(freihand, "list lengths").examples[0] == "training_verts.json: 4"


def test_freihand_scales_are_the_bone(freihand: Path) -> None:
    edit_list(freihand, "evaluation_scale", lambda values: values * [1, 1, 1.02])
    assert only_problem(freihand, "scale").examples == ("00000002",)


def test_freihand_damage_is_counted(freihand: Path) -> None:
    edit_list(freihand, "training_xyz", lambda values: np.where(np.arange(6)[:, None, None] == 4, np.nan, values))
    finding = only_problem(freihand, "damaged annotations")
    assert (finding.count, finding.examples) == (1, ("entry 4",))
    cut(freihand / "training_K.json")
    assert "damaged lists" in {found.name for found in check(freihand).problems}


def test_freihand_images_and_masks(freihand: Path) -> None:
    (freihand / "training" / "rgb" / "00000009.jpg").unlink()
    (freihand / "training" / "mask" / "00000002.jpg").unlink()
    cut(freihand / "training" / "rgb" / "00000003.jpg")
    (freihand / "training" / "rgb" / "00000099.jpg").write_bytes(b"x")
    report = check(freihand)
    assert [(finding.name, finding.count) for finding in report.problems] == [
        ("missing images", 1),
        ("missing segmentations", 1),
        ("unreadable images", 1),
    ]
    assert report.problems[0].examples == ("00000009.jpg",)
    assert report.counts["training"]["extra files"] == 1


def test_freihand_of_release_one_is_whole_with_a_note(freihand: Path) -> None:
    for number in range(6, 24):
        (freihand / "training" / "rgb" / f"{number:08d}.jpg").unlink()
    report = check(freihand)
    assert report.problems == []
    assert sum(finding.name == "missing versions" for finding in report.findings) == 3


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


def test_names_that_cannot_be_shown_are_shown_as_far_as_that_goes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((160, 200, 3), np.uint8))
    (tmp_path / os.fsdecode(b"\xff\n.png")).write_bytes(b"")
    hands = {"a.png": [{"hand": "right", "box": [40, 30, 120, 110]}], "x\n\x1b[31m": [], "y" * 5000: []}
    (tmp_path / "annotations.json").write_text(json.dumps(hands))
    report = check(tmp_path)
    text = report.write(tmp_path.with_suffix(".json")).read_text()
    assert report.problems[0].examples == ("x??[31m", "y" * 1000 + "...")
    assert "??.png" in text
    assert "\x1b" not in text


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


def test_packed_datasets(tmp_path: Path) -> None:
    pack(Small(write_small(tmp_path / "source")), tmp_path / "packed", stages=["fit"], workers=0)
    root = tmp_path / "packed"
    report = check(root, full=True)
    assert report.dataset == "packed dataset"
    assert not {"damaged pack", "unreadable images"} & {finding.name for finding in report.problems}
    assert report.counts["train+val"]["images decoded"] == report.counts["train+val"]["listed"] > 0
    shard = next(root.glob("images/*.tar"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    damaged = [finding for finding in check(root, full=True).problems if finding.name == "damaged pack"]
    assert damaged[0].examples == (shard.relative_to(root).as_posix(),)
    shard.write_bytes(content[:-1])
    assert "bytes" in only_problem(root, "damaged pack").message


def test_packed_images_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    root = write_pack(tmp_path)
    member = np.load(root / "labels" / "members.npy")[1]
    shard = sorted(root.glob("images/*.tar"))[member[0]]
    content = bytearray(shard.read_bytes())
    content[member[1] : member[1] + 20] = bytes(20)
    shard.write_bytes(content)
    found = {finding.name: finding for finding in check(root).problems}["unreadable images"]
    assert found.count == 1
    assert "cannot be decoded" in found.examples[0]


def test_only_examples_that_are_left_out_are_counted() -> None:
    report = Report("ROOT", "none", "stand-in hand", "full")
    for name, number in (("all", 2), ("some", 200)):
        report.add(name, "", "files are odd", [f"{name} {i}" for i in range(number)])
    report.print(Console(file=(shown := io.StringIO()), width=200))
    assert [line.strip() for line in shown.getvalue().splitlines() if " more" in line] == ["and 190 more"]


def test_the_sample_is_spread_and_seeded() -> None:
    rows = spread_rows(1000, 10, np.random.default_rng(3))
    assert (rows // 100).tolist() == list(range(10))
    again = spread_rows(1000, 10, np.random.default_rng(3))
    assert rows.tolist() == again.tolist()


def test_full_decodes_what_a_sample_leaves(ho3d: Path) -> None:
    assert check(ho3d, sample=5).counts["train"]["images decoded"] == 5
    assert check(ho3d, sample=5, full=True).counts["train"]["images decoded"] == 20
