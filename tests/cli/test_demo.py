"""The command: its options reach the work, its errors are one line, its end says what was done."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handlit.cli import main
from handlit.landmarks import DetectedHand
from handlit.reconstruct import Reconstructor
from handlit.reconstruct.reconstructor import LiftedHands
from tests.reconstruct.fakes import FakeLift, detected_hand, picture
from tests.test_cli import refused


class Detector:
    """Stands for the detector's networks."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __call__(self, image: np.ndarray, boxes: np.ndarray | None = None) -> list[DetectedHand]:
        return [detected_hand()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of an image; the networks are replaced."""
    monkeypatch.setattr("handlit.cli.demo.HandDetector", Detector)

    def reconstructor(method: Any, mano_path: str | None, detector: Any) -> Reconstructor:
        assert method is None
        return Reconstructor(LiftedHands(FakeLift()), detector=detector)

    monkeypatch.setattr("handlit.cli.demo.Reconstructor", reconstructor)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "image.png"), picture()[..., ::-1])
    return tmp_path


def test_a_folder_becomes_lines_files_and_a_viewer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["demo", str(folder / "in"), "--out", str(folder / "out"), "--focal_px", "300", "--viewer"]
    main(command)
    said = capsys.readouterr().out
    assert "1 hand in 1 of 1 image of 1 file" in said
    assert "1 of 1 hands to turn with the mouse" in said
    assert (folder / "out" / "viewer.html").stat().st_size > 100_000
    (line,) = (folder / "out" / "hands.jsonl").read_text().splitlines()
    assert json.loads(line)["file"] == "image.png"
    assert np.load(folder / "out" / "numbers" / "image.png_0.npz")["intrinsics"][0, 0] == 300
    main(command)
    assert len((folder / "out" / "hands.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--fov_deg 180", "fov_deg must be"),
        ("--fov_deg 50 --focal_px 300", "give one of them"),
        ("--hands 0", "--hands must be"),
        ("--max_frames 0", "--max_frames must be"),
        ("--viewer --lines_only", "give one of them"),
        ("--nonsense", "unrecognized arguments"),
    ],
)
def test_wrong_options_are_one_line_and_write_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], options: str, words: str
) -> None:
    command = ["demo", str(folder / "in"), "--out", str(folder / "out"), *options.split()]
    assert words in refused(command, capsys)
    assert not (folder / "out").exists()


def test_a_missing_input_and_a_missing_camera_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(folder / "out")]
    assert "is not there" in refused(["demo", str(folder / "none"), *out], capsys)
    assert "webcam:97 gives no image" in refused(["demo", "webcam:97", *out], capsys)


def test_ctrl_c_says_how_to_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(detector: Detector, image: np.ndarray, boxes: np.ndarray | None = None) -> list[DetectedHand]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "__call__", stop)
    with pytest.raises(SystemExit) as stopped:
        main(["demo", str(folder / "in"), "--out", str(folder / "out")])
    assert stopped.value.code == 130
    assert "stopped; the same command resumes" in capsys.readouterr().out
