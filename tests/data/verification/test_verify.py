"""Whole trees have no findings but notes; other folders are no datasets."""

from pathlib import Path

import pytest

from handlit.data.verification import verify
from handlit.errors import InputError
from handlit.formats.registry import recognise
from tests.data.verification.broken_trees import check


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
