"""Folders of own data from photographs and videos: what is written, split, left out and resumed."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handlit.annotation.annotate import annotate
from handlit.annotation.journal import JOURNAL
from handlit.cli import main
from handlit.data.folder import HandFolder
from handlit.errors import InputError
from handlit.landmarks import DetectedHand
from handlit.reconstruct import ReconstructedHand

OFFSETS = np.stack([np.linspace(-15, 15, 21), np.linspace(-20, 20, 21)], axis=1)


def find(image: np.ndarray) -> list[DetectedHand]:
    """A stand-in for the detector: a right hand around a red pixel, a left one around a blue one."""
    hands = []
    for right, channel in ((True, 0), (False, 2)):
        rows, columns = np.nonzero((image[:, :, channel] > 200) & (image[:, :, 1] < 100))
        if len(rows):
            joints = OFFSETS + np.array([columns.mean(), rows.mean()])
            box = np.concatenate([joints.min(0), joints.max(0)])
            hands.append(DetectedHand(box, right, float(right), joints, np.linspace(0, 1, 21), 0.9))
    return hands


def photograph(path: Path, *hands: tuple[str, int, int]) -> Path:
    """An image of 120 x 100 with hands of a side at a place."""
    image = np.full((100, 120, 3), 128, np.uint8)
    for side, u, v in hands:
        image[v - 2 : v + 3, u - 2 : u + 3] = (0, 0, 255) if side == "right" else (255, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


def write_inputs(folder: Path, people: int = 6) -> Path:
    for person in range(people):
        photograph(folder / f"person{person}" / "one.png", ("right", 50, 40))
        photograph(folder / f"person{person}" / "two.png", ("right", 50, 40), ("left", 90, 60))
    photograph(folder / "person0" / "empty.png")
    (folder / "person1" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return folder


def listed(out: Path) -> dict[str, list[dict[str, Any]]]:
    content: dict[str, list[dict[str, Any]]] = json.loads((out / "annotations.json").read_text())
    return content


def test_photographs_become_own_data(tmp_path: Path) -> None:
    source, out = write_inputs(tmp_path / "in"), tmp_path / "out"
    done = annotate([source], out, person=r"person(\d+)", detector=find)
    images = listed(out)
    assert (done.files, done.images, sum(done.hands.values()), done.incomplete) == (14, 12, 18, 2)
    assert done.left_out == "person0/empty.png: no hand was found"
    # whole people, each in one split, and every split has some
    splits: dict[str, set[str]] = {}
    for name, hands in images.items():
        splits.setdefault(name.split("/")[1], set()).update(hand["split"] for hand in hands)
        assert (out / name).read_bytes() == (source / name.removeprefix("images/")).read_bytes()
    assert all(len(found) == 1 for found in splits.values())
    assert sorted(set.union(*splits.values())) == ["test", "train", "val"]
    first, second = images["images/person2/two.png"]
    assert (first["hand"], second["hand"]) == ("right", "left")
    np.testing.assert_allclose(second["joints_2d"], OFFSETS + [90, 60], atol=0.01)
    np.testing.assert_allclose(second["joints_2d_confidence"], np.linspace(0, 1, 21), atol=1e-3)
    # what it wrote is read as training data, left hands mirrored
    module = HandFolder(str(out), image_size=64, batch_size=2)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch.valid["joints_2d"].all()
    assert batch.valid["confidence"].all()
    assert not batch.valid["joints_cam"].any()


def test_an_interrupted_command_resumes(tmp_path: Path) -> None:
    source, out = write_inputs(tmp_path / "in"), tmp_path / "out"
    calls = 0

    def stopped(image: np.ndarray) -> list[DetectedHand]:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return find(image)

    with pytest.raises(KeyboardInterrupt):
        annotate([source], out, detector=stopped)
    assert (out / JOURNAL).is_file()
    assert not (out / "annotations.json").exists()
    with pytest.raises(InputError, match="other inputs or settings"):
        annotate([source], out, every=3, detector=stopped)
    resumed = annotate([source], out, detector=stopped)
    # 13 photographs can be read; the interrupted one is looked at twice
    assert calls == 14
    assert resumed == annotate([source], tmp_path / "again", detector=find).__class__(
        **{**vars(resumed), "path": out / "annotations.json"}
    )
    assert listed(out) == listed(tmp_path / "again")
    assert sorted(path.name for path in out.iterdir()) == ["annotations.json", "images"]


def test_videos_give_some_of_their_frames_to_one_split(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av", reason="PyAV is not installed")
    from handlit.formats.video import VideoWriter

    del av
    frame = cv2.cvtColor(cv2.imread(str(photograph(tmp_path / "f.png", ("right", 50, 40)))), cv2.COLOR_BGR2RGB)
    frame[30:50, 40:60] = (255, 0, 0)
    with VideoWriter(tmp_path / "in" / "a.mp4", 30) as video:  # type: ignore[arg-type]
        for number in range(12):
            video.write(frame if number < 8 else np.full_like(frame, 128))
    done = annotate([tmp_path / "in"], tmp_path / "out", every=4, detector=find)
    images = listed(tmp_path / "out")
    assert list(images) == ["images/a.mp4/000000.jpg", "images/a.mp4/000004.jpg"]
    assert {hand["split"] for hands in images.values() for hand in hands} == {"train"}
    assert (done.images, done.hands["train"], done.left_out) == (2, 2, "")
    saved = cv2.imread(str(tmp_path / "out" / "images/a.mp4/000004.jpg"))
    assert np.abs(saved[:, :, ::-1].astype(int) - frame).mean() < 10


def test_lifted_joints_are_written_as_such(tmp_path: Path) -> None:
    joints = np.concatenate([OFFSETS - OFFSETS[0], np.zeros((21, 1))], axis=1) / 500

    def lift(image: np.ndarray) -> list[ReconstructedHand]:
        (found,) = find(image)
        hand = object.__new__(ReconstructedHand)
        for name, value in {**vars(found), "joints_root": joints.astype(np.float32)}.items():
            object.__setattr__(hand, name, value)
        return [hand]

    photograph(tmp_path / "in" / "a.png", ("right", 50, 40))
    annotate([tmp_path / "in"], tmp_path / "out", lift=True, detector=lift)
    ((hand,),) = listed(tmp_path / "out").values()
    np.testing.assert_allclose(hand["joints_lifted"], joints, atol=1e-5)
    assert "joints_cam" not in hand


def test_hands_that_are_no_sensible_labels_are_left_out(tmp_path: Path) -> None:
    def beside(image: np.ndarray) -> list[DetectedHand]:
        (hand,) = find(image)
        far = DetectedHand(hand.box + 500, True, 1.0, hand.joints_2d + 500, hand.confidence, 0.9)
        return [far, hand]

    photograph(tmp_path / "in" / "a.png", ("right", 50, 40))
    done = annotate([tmp_path / "in"], tmp_path / "out", detector=beside)
    assert (sum(done.hands.values()), done.incomplete) == (1, 1)
    assert "outside the 120x100 image" in done.left_out


def test_wrong_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph(tmp_path / "in" / "a.png")
    for options, words in (
        ([str(tmp_path / "in"), "--every", "0"], "--every must be"),
        ([str(tmp_path / "in"), "--person", "("], "no regular expression"),
        ([str(tmp_path / "in"), "--val", "2"], "--val must be"),
        ([str(tmp_path / "nowhere")], "is not there"),
        (["webcam:0"], "has no end"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["annotate", *options, "--out", str(tmp_path / "out")])
        assert exit_.value.code == 2
        assert words in capsys.readouterr().err
    with pytest.raises(InputError, match="no hand was found in 1 files"):
        annotate([tmp_path / "in"], tmp_path / "out", detector=find)
    assert not list((tmp_path / "out").iterdir())
