"""Which images are decoded, and what is said of those that cannot be."""

from pathlib import Path

import cv2
import numpy as np

from handlit.data.verification.images import spread_rows
from tests.data.verification.broken_trees import check, first, only_problem, replace


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


def test_the_sample_is_spread_and_seeded() -> None:
    rows = spread_rows(1000, 10, np.random.default_rng(3))
    assert (rows // 100).tolist() == list(range(10))
    again = spread_rows(1000, 10, np.random.default_rng(3))
    assert rows.tolist() == again.tolist()


def test_full_decodes_what_a_sample_leaves(ho3d: Path) -> None:
    assert check(ho3d, sample=5).counts["train"]["images decoded"] == 5
    assert check(ho3d, sample=5, full=True).counts["train"]["images decoded"] == 20
