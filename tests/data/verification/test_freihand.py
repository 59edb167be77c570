"""What is wrong in a FreiHAND tree is named once."""

import json
from pathlib import Path

import numpy as np

from handlit.skeleton import JOINTS, TIP_VERTICES, TIPS
from tests.data.verification.broken_trees import check, cut, edit_list, only_problem


def test_tips_of_another_convention_are_named(freihand: Path) -> None:
    vertices = np.array(json.loads((freihand / "training_verts.json").read_text()))

    def with_other_tips(joints: np.ndarray) -> np.ndarray:
        joints[:, [JOINTS.index(tip) for tip in TIPS]] = vertices[:, TIP_VERTICES["manopth"]]
        return joints

    edit_list(freihand, "training_xyz", with_other_tips)
    report = check(freihand)
    assert [finding.name for finding in report.problems] == ["tips and vertices", "joints and meshes"]
    assert all("those of manopth" in finding.message for finding in report.problems)


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
