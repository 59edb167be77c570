"""What is wrong in an HO-3D tree is named once."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data.verification.broken_trees import check, cut, edit_list, edit_metas, first, only_problem, replace


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
