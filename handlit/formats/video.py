"""Videos and webcams frame by frame, upright and in RGB; writing videos. Needs the wheel ``av`` (PyAV, with FFmpeg)."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from handlit.errors import InputError, one_line
from handlit.files import whole

#: Ticks of the clock of written videos, per second: a multiple of every usual frame rate.
_CLOCK = 90_000
#: Frame rate of a stream that does not state a sensible one, per second.
_USUAL_RATE = Fraction(30)
#: Quality of written videos, as x264's constant rate factor, and how long it may look for savings.
_ENCODING = {"crf": "23", "preset": "veryfast"}


@dataclass(frozen=True)
class Frame:
    """One frame of a stream.

    Attributes:
        image: (H, W, 3) uint8 RGB, turned upright.
        time: Seconds since the stream's origin; None where the stream does not say.
    """

    image: np.ndarray
    time: Fraction | None


class VideoReader:
    """A video file, frame by frame: one frame is in memory at a time.

    What a cut-off or damaged file still holds is given; then `damage` says what was wrong.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no video, or cut off before its table of contents; or PyAV is not installed.

    Attributes:
        rate: Frames per second, on average.
        num_frames: As the file states them; None where it does not.
        damage: What was wrong with the file, known when all frames are read; None for a sound one.
        sound_stream: The first sound stream, as `VideoWriter` takes it; None without one.
    """

    def __init__(self, path: Path) -> None:
        av = _import_av()
        if not path.is_file():
            raise FileNotFoundError(f"video {path} is missing")
        try:
            self._container = av.open(str(path))
        except av.error.FFmpegError as error:
            raise InputError(
                f"video {path} cannot be opened ({one_line(error)}): it is cut off before its end, or no video"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise InputError(f"{path} holds no moving images")
        self.path = path
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate) if rate and 0 < rate <= 1000 else _USUAL_RATE
        self.num_frames: int | None = self._stream.frames or self._counted_by_duration()
        self.sound_stream = self._container.streams.audio[0] if self._container.streams.audio else None
        self.damage: str | None = None
        self._sound: list[Any] = []

    def __iter__(self) -> Iterator[Frame]:
        """All frames in order, once."""
        size, count = None, 0
        for frame in self._decoded():
            image = upright(frame.to_ndarray(format="rgb24"), frame.rotation)
            size = size or image.shape
            if image.shape != size:
                self.damage = f"{self.path} changes the size of its frames after {count} frames: the rest is left out"
                return
            count += 1
            yield Frame(image, None if frame.pts is None else frame.pts * frame.time_base)
        if self._stream.frames > count or count < 0.9 * (self.num_frames or 0):
            self.damage = f"{self.path} seems cut off: it ends after {count} of {self.num_frames} frames"

    def _decoded(self) -> Iterator[Any]:
        """Frames of PyAV; a damaged packet costs its own frames alone, as what follows may be sound."""
        av = _import_av()
        packets = self._container.demux(*filter(None, (self._stream, self.sound_stream)))
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.stream_index == self._stream.index:
                    yield from packet.decode()
                elif packet.dts is not None:
                    self._sound.append(packet)
            except av.error.FFmpegError as error:
                self.damage = f"{self.path} is damaged ({one_line(error)})"

    def take_sound(self) -> list[Any]:
        """The packets of sound that were met since the last call, for `VideoWriter.write`."""
        packets, self._sound = self._sound, []
        return packets

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _counted_by_duration(self) -> int | None:
        duration = self._container.duration
        return None if not duration else max(1, round(float(duration) / 1e6 * float(self.rate)))


class Webcam:
    """A camera of this machine, frame by frame, without end; the interface is `VideoReader`'s.

    Args:
        number: Of the camera, from 0.

    Raises:
        InputError: There is none of that number, or it gives no image.
    """

    sound_stream = None
    num_frames = None

    def __init__(self, number: int) -> None:
        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened() or not self._capture.read()[0]:
            self._capture.release()
            raise InputError(
                f"webcam:{number} gives no image: is a camera connected, allowed, and used by nobody else?"
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if 0 < rate <= 1000 else _USUAL_RATE
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Frames as they come, with the time at which they came, until the camera ends."""
        start = monotonic()
        while True:
            read, image = self._capture.read()
            if not read:
                self.damage = "the webcam gives no more images"
                return
            time = Fraction(round(1e6 * (monotonic() - start)), 10**6)
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time)

    def take_sound(self) -> list[Any]:
        """None."""
        return []

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


class VideoWriter:
    """Writes a video (H.264 in mp4) that appears under its name when it is closed, also after an error or Ctrl-C.

    Args:
        path: The file, ``.mp4``.
        rate: Frames per second of frames without a time.
        sound_stream: Copied from a `VideoReader`; left out where mp4 does not take its codec.

    Raises:
        InputError: PyAV is not installed.
    """

    def __init__(self, path: Path, rate: Fraction, sound_stream: Any = None) -> None:
        av = _import_av()
        self._whole = whole(path)
        self._container: Any = av.open(str(self._whole.__enter__()), "w", format="mp4")
        self._rate = rate
        self._stream: Any = None
        self._sound: Any = None
        if sound_stream is not None and sound_stream.codec_context.name in self._container.supported_codecs:
            with suppress(av.error.FFmpegError, ValueError):
                self._sound = self._container.add_stream_from_template(sound_stream)
        self._ticks = -1
        self._origin: Fraction | None = None

    def write(self, image: np.ndarray, time: Fraction | None = None, sound: Sequence[Any] = ()) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8 RGB, of one size for all frames; an odd side loses its last pixels.
            time: Seconds; by default as the rate says.
            sound: Packets of the stream that was given, up to here.
        """
        av = _import_av()
        height, width = (side - side % 2 for side in image.shape[:2])
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=_ENCODING)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _CLOCK)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._ticks = self._next_ticks(time)
        frame.pts, frame.time_base = self._ticks, Fraction(1, _CLOCK)
        self._container.mux(self._stream.encode(frame))
        for packet in sound if self._sound is not None else ():
            packet.stream = self._sound
            self._container.mux(packet)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file; without a frame there is none."""
        failure: Exception | None = None
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if self._stream is None:
                failure = InputError("no frame was written")
        except Exception as reason:
            failure = reason
        self._whole.__exit__(None if failure is None else type(failure), failure, None)
        if failure is not None and self._stream is not None:
            raise failure

    def _next_ticks(self, time: Fraction | None) -> int:
        """The time of the next frame in ticks, later than the last one, the first frame at 0."""
        step = max(1, round(_CLOCK / self._rate))
        if time is None:
            return self._ticks + step if self._ticks >= 0 else 0
        self._origin = time if self._origin is None else self._origin
        return max(self._ticks + 1, round((time - self._origin) * _CLOCK))


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """An image (H, W, 3) turned counter-clockwise by degrees, a multiple of 90, as a phone's mark asks of a player."""
    return np.ascontiguousarray(np.rot90(image, round(rotation / 90) % 4))


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError('videos need PyAV: pip install "handlit[demo]"') from error
    return av
