"""Photographs, videos and webcams become hands in 3D: overlays, meshes, numbers and a line for each hand."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from handlit.demo.drawing import CELL, TITLES, frame_with_views, hand_row
from handlit.demo.given_boxes import GivenHand, find_given
from handlit.demo.records import Records
from handlit.demo.tracks import Tracks
from handlit.errors import InputError, describe
from handlit.files import file_stem
from handlit.formats.hand_files import write_image
from handlit.formats.images import read_image
from handlit.formats.media import MediaFile
from handlit.formats.video import Frame, VideoReader, VideoWriter, Webcam
from handlit.landmarks import DetectedHand
from handlit.reconstruct import ReconstructedHand, Reconstructor
from handlit.reconstruct.reconstructor import camera_of
from handlit.reconstruct.smoothing import StreamSmoother
from handlit.render.figures import contact_sheet

#: Follows the hands of a stream from frame to frame.
Tracker: TypeAlias = Callable[[np.ndarray], list[DetectedHand]]
#: Hands on the sheet of all images.
SHEET_ROWS = 12
#: Frames that may wait to be drawn.
_WAITING = 4


@dataclass
class Demo:
    """Turns images and videos into files of hands, one after the other; what is finished is not done again.

    Args:
        out: Folder: ``hands.jsonl`` and ``files.jsonl`` (`records.Records`), ``overlays/``, ``meshes/`` (glb),
            ``numbers/`` (npz), ``sheet.jpg``.
        reconstructor: Finds and reconstructs the hands of images.
        make_tracker: Makes the tracker of a video.
        focal_px: Focal length of every camera, pixels; or
        fov_deg: its field of view across the longer side, degrees.
        smoothing: Smooth the hands of videos in time.
        files: Write more than the lines.
        max_frames: Of a video; all by default.
        boxes: Where the hands of images are, by name; in images without an entry they are looked for.

    Attributes:
        skipped: Why files were left out, by name.
    """

    out: Path
    reconstructor: Reconstructor
    make_tracker: Callable[[], Tracker]
    focal_px: float | None = None
    fov_deg: float | None = None
    smoothing: bool = True
    files: bool = True
    max_frames: int | None = None
    boxes: Mapping[str, Sequence[GivenHand]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    _rows: list[list[np.ndarray]] = field(default_factory=list)

    def run(self, media: Sequence[MediaFile], records: Records) -> None:
        """Do every file that is not finished; one that cannot be read is named in `skipped`.

        Raises:
            InputError: None can be read, or the folder holds a recording of the webcam.
            KeyboardInterrupt: It was stopped; everything that was done is on the disk.
        """
        recorded = [each.name for each in media if each.kind == "webcam" and each.name in records.finished]
        if recorded:
            raise InputError(f"{self.out} holds a recording of {recorded[0]} already: choose another --out")
        waiting = [each for each in media if each.name not in records.finished]
        records.prepare(waiting)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True) as bar, records:
            row = bar.add_task("files", total=len(waiting))
            for each in waiting:
                try:
                    if each.kind == "image":
                        self._do_image(each, records)
                    else:
                        self._do_video(each, records, bar)
                except _UnreadableError as error:
                    self.skipped[each.name] = describe(error.reason)
                bar.advance(row)
        if self.files and len(self._rows) > 1:
            write_image(self.out / "sheet.jpg", contact_sheet(self._rows, TITLES, CELL))
        if self.skipped and len(self.skipped) == len(media):
            raise InputError(next(iter(self.skipped.values())))

    def _do_image(self, media: MediaFile, records: Records) -> None:
        try:
            image = read_image(media.path)
        except (InputError, OSError) as error:
            raise _UnreadableError(error) from error
        given = self.boxes.get(media.name)
        find = self.reconstructor.detector
        try:
            detected = find(image, None) if given is None else find_given(find, image, given)
        except InputError as error:
            raise _UnreadableError(InputError(f"{media.path}: {error}")) from error
        intrinsics = camera_of((image.shape[1], image.shape[0]), self.focal_px, self.fov_deg)
        hands = self.reconstructor.reconstruct(image, detected, intrinsics)
        if self.files and hands:
            rows = [hand_row(image, hand) for hand in hands]
            self._rows += rows[: SHEET_ROWS - len(self._rows)]
            write_image(self.out / "overlays" / f"{file_stem(media.name)}.jpg", contact_sheet(rows, TITLES, CELL))
            for number, hand in enumerate(hands):
                stem = file_stem(f"{media.name}#{number}")
                hand.save(self.out / "meshes" / f"{stem}.glb")
                hand.save(self.out / "numbers" / f"{stem}.npz")
        records.write(media.name, None, hands)
        records.finish(media.name, 1, int(bool(hands)), len(hands), None)

    def _do_video(self, media: MediaFile, records: Records, bar: Progress) -> None:
        try:
            video = media.open_video()
        except (InputError, OSError) as error:
            raise _UnreadableError(error) from error
        tracks, counts, stem = Tracks(), _Counts(), file_stem(media.name)
        row = bar.add_task(media.name, total=video.num_frames)
        try:
            with closing(video), _Drawing(self.out / "overlays" / f"{stem}.mp4", video, self.files) as drawing:
                for frame, hands in self._frames(video):
                    records.write(media.name, counts.frames, hands)
                    tracks.add(hands, counts.frames)
                    drawing.add(frame, hands)
                    counts.add(hands)
                    bar.advance(row)
        except KeyboardInterrupt:
            # that is how a recording ends
            if media.kind != "webcam":
                raise
        finally:
            bar.remove_task(row)
            for number, track in tracks.by_number.items() if self.files else ():
                track.write(self.out / "numbers" / f"{stem}_{number}.npz")
                track.best[0].save(self.out / "meshes" / f"{stem}_{number}.glb")
        if not counts.frames:
            raise _UnreadableError(InputError(video.damage or f"{media.path} holds no frames"))
        records.finish(media.name, counts.frames, counts.with_hands, counts.hands, video.damage)

    def _frames(self, video: VideoReader | Webcam) -> Iterator[tuple[Frame, list[ReconstructedHand]]]:
        """The frames of a video with their hands, smoothed in time."""
        tracker, smoother = self.make_tracker(), StreamSmoother()
        last: Fraction | None = None
        for frame in islice(video, self.max_frames):
            height, width = frame.image.shape[:2]
            intrinsics = camera_of((width, height), self.focal_px, self.fov_deg)
            hands = self.reconstructor.reconstruct(frame.image, tracker(frame.image), intrinsics)
            if self.smoothing:
                passed = None if last is None or frame.time is None else frame.time - last
                hands = smoother(hands, float(passed if passed and passed > 0 else 1 / video.rate))
            last = frame.time
            yield frame, hands


@dataclass
class _Counts:
    """Of a video: frames, frames with hands, and hands."""

    frames: int = 0
    with_hands: int = 0
    hands: int = 0

    def add(self, hands: list[ReconstructedHand]) -> None:
        """Count a frame with its hands."""
        self.frames += 1
        self.with_hands += bool(hands)
        self.hands += len(hands)


class _Drawing:
    """Draws and encodes the frames of a video in a thread of its own, while the next ones are looked at."""

    def __init__(self, path: Path, video: VideoReader | Webcam, enabled: bool) -> None:
        self._video = video
        self._writer = VideoWriter(path, video.rate, video.sound_stream) if enabled else None
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def add(self, frame: Frame, hands: list[ReconstructedHand]) -> None:
        """Draw the hands of the next frame; waits where too many frames do."""
        # taken in any case, or it would fill the memory
        sound = self._video.take_sound()
        if self._writer is None:
            return
        self._waiting.append(self._pool.submit(self._draw, frame, hands, sound))
        if len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def _draw(self, frame: Frame, hands: list[ReconstructedHand], sound: list[object]) -> None:
        assert self._writer is not None
        self._writer.write(frame_with_views(frame.image, hands), frame.time, sound)

    def __enter__(self) -> "_Drawing":
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what was given, and finish the file, also after an error or Ctrl-C."""
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown()
            if self._writer is not None:
                self._writer.__exit__(None, None, None)


class _UnreadableError(Exception):
    """A file cannot be read; others can."""

    def __init__(self, reason: InputError | OSError) -> None:
        super().__init__(reason)
        self.reason = reason
