"""Mistakes of axes, units, order and cameras are named once, single odd frames one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlit.skeleton import JOINTS, reorder
from tests.data.verification.broken_trees import check, edit_metas, only_problem

HO3D_TO_HANDLIT, HANDLIT_TO_HO3D = reorder("ho3d", "handlit"), reorder("handlit", "ho3d")


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
