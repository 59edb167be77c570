from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handlit.errors import InputError
from handlit.formats.video import VideoReader, VideoWriter, Webcam, upright

av: Any = pytest.importorskip("av", reason="PyAV is not installed")

SIZE = (48, 64)


def picture(number: int) -> np.ndarray:
    """A bright square that wanders over grey."""
    image = np.full((*SIZE, 3), 60, np.uint8)
    image[8:24, 2 * number : 2 * number + 16] = (250, 200, 30)
    return image


def write(path: Path, count: int = 20, **options: Any) -> Path:
    with VideoWriter(path, Fraction(25), **options) as writer:
        for number in range(count):
            writer.write(picture(number))
    return path


def encode(path: Path, rotation: int = 0, count: int = 40, noise: bool = False, sound: bool = False) -> Path:
    """A file by PyAV alone: with a mark of rotation, or of noise, which does not compress, or with a tone."""
    # the table of contents at the front, so that a part of the file is a video
    container = av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {})
    stream = container.add_stream("libx264", rate=25)
    stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
    tone = container.add_stream("aac", rate=8000) if sound else None
    if rotation and not hasattr(stream, "set_display_rotation"):
        pytest.skip("this PyAV writes no marks of rotation")
    if rotation:
        stream.set_display_rotation(rotation)
    random = np.random.default_rng(0)
    for number in range(count):
        image = random.integers(0, 255, (*SIZE, 3), dtype=np.uint8) if noise else picture(min(number, 20))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    container.mux(stream.encode())
    if tone:
        wave = (8000 * np.sin(np.arange(8000 * count // 25) / 5)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(tone.encode(frame))
        container.mux(tone.encode())
    container.close()
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    reader = VideoReader(write(tmp_path / "video.mp4"))
    frames = list(reader)
    assert reader.rate == Fraction(25)
    assert reader.num_frames == 20
    assert reader.damage is None
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(20)]
    for number, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - picture(number)).mean() < 6
    assert list(tmp_path.iterdir()) == [tmp_path / "video.mp4"]


def test_uneven_times_and_odd_sides_are_kept_as_far_as_possible(tmp_path: Path) -> None:
    times = [Fraction(1), Fraction(1) + Fraction(1, 10), Fraction(1) + Fraction(1, 10), Fraction(3)]
    with VideoWriter(tmp_path / "video.mp4", Fraction(10)) as writer:
        for time in times:
            writer.write(np.zeros((33, 47, 3), np.uint8), time)
    frames = list(VideoReader(tmp_path / "video.mp4"))
    assert [frame.image.shape for frame in frames] == [(32, 46, 3)] * 4
    seconds = [float(frame.time) for frame in frames]
    assert seconds == pytest.approx([0, 0.1, 0.1, 2], abs=1e-4)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_phone_s_mark_turns_the_frames_as_another_player_does(tmp_path: Path, rotation: int) -> None:
    path = encode(tmp_path / "video.mp4", rotation)
    frame = next(iter(VideoReader(path)))
    read, expected = cv2.VideoCapture(str(path)).read()
    if not read:
        pytest.skip("this OpenCV reads no H.264")
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected[..., ::-1]).mean() < 2
    corner = upright(picture(0), rotation)
    assert np.abs(frame.image.astype(int) - corner).mean() < 6


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv"])
def test_a_cut_off_video_gives_what_is_there_and_says_so(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, noise=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    reader = VideoReader(path)
    assert 5 < len(list(reader)) < 35
    assert "seems cut off" in reader.damage
    assert str(path) in reader.damage


def test_sound_is_copied(tmp_path: Path) -> None:
    reader = VideoReader(encode(tmp_path / "video.mp4", sound=True))
    with VideoWriter(tmp_path / "copy.mp4", reader.rate, reader.sound_stream) as writer:
        for frame in reader:
            writer.write(frame.image, frame.time, reader.take_sound())
        writer.write(picture(0), None, reader.take_sound())
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        samples = sum(frame.samples for frame in copy.decode(audio=0))
    assert samples == pytest.approx(40 / 25 * 8000, abs=2048)


def test_a_video_that_ends_in_an_error_keeps_its_frames_and_one_without_frames_is_not_written(tmp_path: Path) -> None:
    def stop() -> None:
        with VideoWriter(tmp_path / "stopped.mp4", Fraction(25)) as writer:
            writer.write(picture(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert len(list(VideoReader(tmp_path / "stopped.mp4"))) == 1
    write(tmp_path / "empty.mp4", count=0)
    assert [path.name for path in tmp_path.iterdir()] == ["stopped.mp4"]


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with pytest.raises(FileNotFoundError, match=r"video\.mp4 is missing"):
        VideoReader(path)
    path.write_text("no video")
    with pytest.raises(InputError, match="cannot be opened"):
        VideoReader(path)
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=8000)
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        wave.sample_rate = 8000
        container.mux(tone.encode(wave))
        container.mux(tone.encode())
    with pytest.raises(InputError, match="no moving images"):
        VideoReader(path)


def test_a_missing_webcam_is_one_line() -> None:
    with pytest.raises(InputError, match="webcam:97 gives no image"):
        Webcam(97)


def test_a_webcam_s_frames_come_with_their_times_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Capture:
        """What OpenCV gives of a camera: four images, the first of which shows that it works."""

        left = 4

        def __init__(self, number: int) -> None:
            assert number == 1

        def isOpened(self) -> bool:
            return True

        def get(self, what: int) -> float:
            return 15.0

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            return (True, picture(0)[..., ::-1].copy()) if self.left >= 0 else (False, None)

        def release(self) -> None:
            self.left = 0

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    camera = Webcam(1)
    frames = list(camera)
    assert camera.rate == 15
    assert [frame.image.tolist() for frame in frames] == [picture(0).tolist()] * 3
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)
    assert camera.damage == "the webcam gives no more images"
    camera.close()
