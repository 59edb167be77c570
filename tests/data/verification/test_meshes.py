"""Joints that leave their mesh have the likely cause named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handlit.hand.loading import load_hand
from tests.data.verification.broken_trees import check, edit_metas, only_problem

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


def test_real_data_is_not_judged_by_the_stand_in_hand(ho3d: Path) -> None:
    edit_metas(ho3d, posed(MEAN))
    (ho3d / "synthesis.json").unlink()
    report = check(ho3d)
    assert report.problems == []
    assert "meshes not compared" in {finding.name for finding in report.findings}
    assert "joints to mesh, median, mm" not in report.measures["train"]
