"""What a report shows of names and numbers."""

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from handlit.data.verification import Report
from tests.data.verification.broken_trees import check


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


def test_only_examples_that_are_left_out_are_counted() -> None:
    report = Report("ROOT", "none", "stand-in hand", "full")
    for name, number in (("all", 2), ("some", 200)):
        report.add(name, "", "files are odd", [f"{name} {i}" for i in range(number)])
    report.print(Console(file=(shown := io.StringIO()), width=200))
    assert [line.strip() for line in shown.getvalue().splitlines() if " more" in line] == ["and 190 more"]
