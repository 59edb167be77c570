"""Images and videos become files, whole or not there; what is finished is not done again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from handlit.demo.given_boxes import GivenHand
from handlit.demo.records import Records
from handlit.demo.run import Demo
from handlit.demo.summary import summary
from handlit.errors import InputError
from handlit.files import file_stem
from handlit.formats.media import find_media
from handlit.formats.video import Frame, VideoReader, VideoWriter
from handlit.landmarks import DetectedHand
from handlit.reconstruct import Reconstructor
from handlit.reconstruct.reconstructor import LiftedHands
from tests.formats.test_video import encode
from tests.reconstruct.fakes import FakeDetector, FakeLift, detected_hand, mirrored, picture

HAND = detected_hand()
OTHER = mirrored(detected_hand((60, 80), 50), 240)
KEYS = [
    *("file", "frame", "track", "hand", "box", "joints_2d", "joints_root", "joint_scale", "pose", "betas", "camera"),
    *("presence", "spread_mm"),
]
SHAPES = {
    "box": (4,),
    "joints_2d": (21, 2),
    "joints_root": (21, 3),
    "joint_scale": (21, 3),
    "pose": (48,),
    "betas": (10,),
    "camera": (3,),
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Scene:
    """A demo of a folder, with a detector that sees one right and one left hand, and none in small images."""

    def __init__(self, root: Path) -> None:
        self.root, self.out = root / "in", root / "out"
        self.root.mkdir()
        self.seen: list[tuple[int, ...]] = []

    def detect(self, image: np.ndarray, boxes: np.ndarray | None = None) -> list[DetectedHand]:
        self.seen.append(image.shape)
        return [] if image.shape[0] < 100 or (boxes is not None and not len(boxes)) else [HAND, OTHER]

    def tracker(self) -> Callable[[np.ndarray], list[DetectedHand]]:
        return lambda image: [replace(hand, track=number) for number, hand in enumerate(self.detect(image), 1)]

    def demo(self, **options: Any) -> tuple[Demo, list[str]]:
        reconstructor = Reconstructor(LiftedHands(FakeLift()), detector=self.detect)
        demo = Demo(self.out, reconstructor, self.tracker, **options)
        media, records = find_media([self.root]), Records(self.out, {"smoothing": demo.smoothing})
        demo.run(media, records)
        return demo, summary(demo, media, records)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_images_become_lines_drawings_meshes_and_numbers(scene: Scene) -> None:
    for name in ("a.png", "b/c.png"):
        (scene.root / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(scene.root / name), picture()[..., ::-1])
    cv2.imwrite(str(scene.root / "tiny.png"), np.zeros((10, 10, 3), np.uint8))
    cv2.imwrite(str(scene.root / "deep.png"), np.full((120, 240), 40000, np.uint16))
    (scene.root / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    demo, said = scene.demo()
    written = lines(scene.out / "hands.jsonl")
    assert [(line["file"], line["frame"], line["track"], line["hand"]) for line in written] == [
        (name, None, None, side) for name in ("a.png", "deep.png", "b/c.png") for side in ("right", "left")
    ]
    for line in written:
        assert list(line) == KEYS
        assert {name: np.shape(line[name]) for name in SHAPES} == SHAPES
        assert line["spread_mm"] == pytest.approx(7)
        assert line["presence"] == pytest.approx(0.95)
    assert np.allclose(written[0]["joints_2d"], HAND.joints_2d, atol=1e-3)
    stems = [file_stem(f"{name}#{number}") for name in ("a.png", "b/c.png", "deep.png") for number in (0, 1)]
    for folder, suffix in (("meshes", "glb"), ("numbers", "npz")):
        assert {path.name for path in (scene.out / folder).iterdir()} == {f"{stem}.{suffix}" for stem in stems}
    mesh: Any = trimesh.load(scene.out / "meshes" / "a.png_0.glb", force="mesh")
    assert mesh.vertices.shape == (778, 3)
    numbers = np.load(scene.out / "numbers" / "a.png_1.npz")
    assert numbers["hand"] == "left"
    assert numbers["joints_root"].tolist() == np.float32(written[1]["joints_root"]).tolist()
    overlays = [cv2.imread(str(path)) for path in sorted((scene.out / "overlays").iterdir())]
    assert len(overlays) == 3
    assert {overlay.shape for overlay in overlays} == {(28 + 2 * 260, 5 * 260, 3)}
    assert cv2.imread(str(scene.out / "sheet.jpg")).shape == (28 + 6 * 260, 5 * 260, 3)
    assert list(demo.skipped) == ["cut.jpg"]
    assert said[0] == "6 hands in 3 of 4 images of 4 files"
    assert "no hand is seen in 1 file, tiny.png first" in said
    assert any("1 file left out, cut.jpg first" in line and "cut short" in line for line in said)


def test_finished_files_are_skipped_and_others_done_again(scene: Scene) -> None:
    for number in range(3):
        cv2.imwrite(str(scene.root / f"{number}.png"), picture()[..., ::-1])
    scene.demo()
    whole = (scene.out / "hands.jsonl").read_bytes()
    seen = len(scene.seen)
    scene.demo()
    assert len(scene.seen) == seen
    # killed between the lines of the last file, and in the middle of one
    hands = whole.splitlines(keepends=True)
    (scene.out / "hands.jsonl").write_bytes(b"".join(hands[:5]) + hands[5][:100])
    finished = (scene.out / "files.jsonl").read_bytes().splitlines(keepends=True)
    (scene.out / "files.jsonl").write_bytes(b"".join(finished[:2]) + finished[2][:10])
    cv2.imwrite(str(scene.root / "3.png"), picture()[..., ::-1])
    _, said = scene.demo()
    assert len(scene.seen) == seen + 2
    assert (scene.out / "hands.jsonl").read_bytes().startswith(whole)
    assert [line["file"] for line in lines(scene.out / "hands.jsonl")] == [f"{k // 2}.png" for k in range(8)]
    assert said[0] == "8 hands in 4 of 4 images of 4 files"


def test_a_folder_of_other_settings_is_refused(scene: Scene) -> None:
    cv2.imwrite(str(scene.root / "0.png"), picture()[..., ::-1])
    scene.demo()
    with pytest.raises(InputError, match="was written with smoothing=True, not False: choose another --out"):
        scene.demo(smoothing=False)


def test_where_nothing_can_be_read_the_first_reason_is_raised(scene: Scene) -> None:
    (scene.root / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"cut\.jpg \(3 bytes\) cannot be decoded"):
        scene.demo()
    assert lines(scene.out / "hands.jsonl") == []


def video(path: Path, count: int = 12) -> Path:
    with VideoWriter(path, Fraction(25)) as writer:
        for _ in range(count):
            writer.write(picture())
    return path


def test_a_video_gives_a_video_tracks_and_a_line_for_each_hand(scene: Scene) -> None:
    video(scene.root / "video.mp4")
    _, said = scene.demo()
    written = lines(scene.out / "hands.jsonl")
    assert [(line["frame"], line["track"], line["hand"]) for line in written] == [
        (frame, track, side) for frame in range(12) for track, side in ((1, "right"), (2, "left"))
    ]
    drawn = list(VideoReader(scene.out / "overlays" / "video.mp4.mp4"))
    assert len(drawn) == 12
    assert drawn[0].image.shape == (180, 240 + 90, 3)
    numbers = np.load(scene.out / "numbers" / "video.mp4_2.npz")
    assert numbers["frames"].tolist() == list(range(12))
    assert numbers["joints_root"].shape == (12, 21, 3)
    assert numbers["vertices"].shape == (778, 3)
    assert numbers["best_frame"] == 0
    assert {path.name for path in (scene.out / "meshes").iterdir()} == {"video.mp4_1.glb", "video.mp4_2.glb"}
    assert said[0] == "24 hands in 12 of 12 images of 1 file"


def test_a_cut_off_video_gives_what_it_holds_and_says_so(scene: Scene) -> None:
    content = encode(scene.root / "video.mp4", noise=True).read_bytes()
    (scene.root / "video.mp4").write_bytes(content[: len(content) // 2])
    shutil.copy(scene.root / "video.mp4", scene.root / "hopeless.mp4")
    (scene.root / "hopeless.mp4").write_bytes(content[:100])
    demo, said = scene.demo()
    (finished,) = lines(scene.out / "files.jsonl")
    assert finished["file"] == "video.mp4"
    assert 5 < finished["frames"] < 35
    assert finished["hands"] == 0
    assert "seems cut off" in finished["note"]
    assert finished["note"] in said
    assert len(list(VideoReader(scene.out / "overlays" / "video.mp4.mp4"))) == finished["frames"]
    assert list(demo.skipped) == ["hopeless.mp4"]


def test_a_portrait_video_is_turned_upright(scene: Scene) -> None:
    encode(scene.root / "video.mp4", rotation=90, count=3)
    scene.demo()
    assert scene.seen == [(64, 48, 3)] * 3
    assert next(iter(VideoReader(scene.out / "overlays" / "video.mp4.mp4"))).image.shape == (64, 80, 3)


def test_a_stopped_video_leaves_what_is_done_and_is_done_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    video(scene.root / "video.mp4")
    detect = scene.detect

    def stop(image: np.ndarray) -> list[DetectedHand]:
        if len(scene.seen) == 5:
            raise KeyboardInterrupt
        return detect(image)

    monkeypatch.setattr(scene, "detect", stop)
    with pytest.raises(KeyboardInterrupt):
        scene.demo()
    assert len(lines(scene.out / "hands.jsonl")) == 10
    assert len(list(VideoReader(scene.out / "overlays" / "video.mp4.mp4"))) == 5
    assert len(np.load(scene.out / "numbers" / "video.mp4_1.npz")["frames"]) == 5
    monkeypatch.setattr(scene, "detect", detect)
    scene.demo()
    assert [line["frame"] for line in lines(scene.out / "hands.jsonl")] == [k // 2 for k in range(24)]
    assert not list(scene.out.rglob(".*"))


def test_smoothing_the_number_of_frames_and_the_files_can_be_chosen(scene: Scene) -> None:
    video(scene.root / "video.mp4")
    scene.demo(files=False, max_frames=4, smoothing=False)
    assert len(lines(scene.out / "hands.jsonl")) == 8
    assert sorted(path.name for path in scene.out.iterdir()) == ["files.jsonl", "hands.jsonl", "settings.json"]


class FakeWebcam:
    """A camera that shows a hand until somebody presses Ctrl-C."""

    rate, num_frames, sound_stream, damage = Fraction(10), None, None, None

    def __iter__(self) -> Any:
        for _ in range(3):
            yield Frame(picture(), None)
        raise KeyboardInterrupt

    def take_sound(self) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed = True


def test_a_recording_of_a_webcam_ends_with_ctrl_c_and_is_not_overwritten(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlit.formats.media.Webcam", lambda number: FakeWebcam())
    media, records = find_media(["webcam:0"]), Records(scene.out, {})
    demo = Demo(scene.out, Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector()), scene.tracker)
    demo.run(media, records)
    assert summary(demo, media, records)[0] == "6 hands in 3 of 3 images of 1 file"
    assert len(list(VideoReader(scene.out / "overlays" / f"{file_stem('webcam:0')}.mp4"))) == 3
    with pytest.raises(InputError, match="holds a recording of webcam:0 already"):
        demo.run(media, records)


def test_given_boxes_say_where_the_hands_are(scene: Scene) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(scene.root / name), picture()[..., ::-1])
    boxes = {"a.png": [GivenHand(np.array([60.0, 50, 180, 130]), None)] * 2, "b.png": []}
    boxes["c.png"] = [GivenHand(np.array([600.0, 50, 700, 130]), None)]
    cv2.imwrite(str(scene.root / "c.png"), picture()[..., ::-1])
    demo, _ = scene.demo(boxes=boxes)
    assert [line["file"] for line in lines(scene.out / "hands.jsonl")] == ["a.png", "a.png"]
    assert "c.png: hand box" in demo.skipped["c.png"]
