"""Photographs and videos to a folder of own data (docs/how_to/own_data.md), with the 2D joints of a detector."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from handlit.annotation.journal import Journal
from handlit.annotation.splits import deal, person_of
from handlit.errors import InputError, check_number, describe
from handlit.files import whole, write_bytes
from handlit.formats.folder_hand import FolderSplit, check_hand
from handlit.formats.images import read_image
from handlit.formats.media import MediaFile, find_media
from handlit.landmarks import DetectedHand, HandDetector
from handlit.reconstruct import ReconstructedHand, Reconstructor

#: Folder of the images beside their list.
IMAGES = "images"
#: Of the frames that are taken from videos, as JPEG's writers count it.
JPEG_QUALITY = 95

FoundHand = DetectedHand | ReconstructedHand
Detector = Callable[[np.ndarray], Sequence[FoundHand]]


@dataclass(frozen=True)
class Annotated:
    """What came of the inputs.

    Attributes:
        path: The list that was written.
        files: Photographs and videos.
        images: Those photographs and frames that show hands.
        hands: Of each split.
        incomplete: Files of which all or something was left out: no hand, unreadable, damaged.
        left_out: The first of them and why; "" for none.
    """

    path: Path
    files: int
    images: int
    hands: dict[str, int]
    incomplete: int
    left_out: str


def annotate(
    inputs: Sequence[str | Path],
    out: Path,
    *,
    every: int = 10,
    person: str | None = None,
    val: float = 0.1,
    test: float = 0.1,
    lift: bool = False,
    detector: Detector | None = None,
) -> Annotated:
    """Find the hands of photographs and videos, and write them as own data.

    One image is in memory at a time. An interrupted call resumes with the same arguments; the list appears when it is
    whole. Files without a hand, or that cannot be read, are left out and counted.

    Args:
        inputs: Images, videos, and folders of them.
        out: Folder to write: ``images/`` (photographs as they are, frames as JPEG) and ``annotations.json``.
        every: Take one frame in so many of a video.
        person: Regular expression that finds in a file's path who it shows: people are then split, otherwise files.
        val: Share of the files or people for validation.
        test: Share for testing.
        lift: Also write 3D joints that the package's `Lift` makes of the 2D ones: pseudo-labels, marked as such.
        detector: From an image (H, W, 3) uint8 RGB to its hands; a `HandDetector`, or a `Reconstructor` to lift.

    Raises:
        FileNotFoundError: An input is not there.
        InputError: An argument is wrong, the detector is not fetched, no hand is found, or the folder holds a list.
    """
    check_number("--every", every, least=1, whole=True)
    found = find_media(inputs, leave_out=out)
    webcams = [media.name for media in found if media.kind == "webcam"]
    if webcams:
        raise InputError(f"{webcams[0]} has no end: record a video and give that")
    people = [person_of(media.path, person) for media in found]
    splits = deal(people, val, test)
    detect: Detector = detector or (Reconstructor() if lift else HandDetector())
    names = [str(media.path.absolute()) for media in found]
    settings = {"files": names, "every": every, "person": person, "val": val, "test": test, "lift": lift}
    journal = Journal(out, settings)
    try:
        for media, who in track(list(zip(found, people, strict=True)), "annotating", transient=True):
            if media.name not in journal.done:
                _annotate_file(media, splits[who], every, detect, journal)
        path = journal.publish()
    finally:
        journal.close()
    counts = journal.counts
    hands = {split: counts[split] for split in ("train", "val", "test")}
    return Annotated(path, counts["files"], counts["images"], hands, counts["incomplete"], journal.left_out)


@dataclass(frozen=True)
class _View:
    """A photograph or a frame: its name below `IMAGES`, its pixels, and its file where it is one."""

    name: str
    image: np.ndarray
    file: Path | None


def _annotate_file(media: MediaFile, split: FolderSplit, every: int, detect: Detector, journal: Journal) -> None:
    """Add the hands of one file to the journal."""
    reasons: list[str] = []
    images = hands = 0
    for view in _views(media, every, reasons):
        listed = [entry for hand in detect(view.image) if (entry := _entry(hand, view, split, reasons))]
        if listed:
            name = f"{IMAGES}/{view.name}"
            _keep(view, journal.out / name)
            journal.add(name, listed)
            images, hands = images + 1, hands + len(listed)
    if not images:
        reasons.append("no hand was found")
    journal.finish(media.name, {"images": images, split: hands}, reasons[0] if reasons else "")


def _views(media: MediaFile, every: int, reasons: list[str]) -> Iterator[_View]:
    """The photograph, or frames of the video; what cannot be read ends it and is added to the reasons."""
    try:
        if media.kind == "image":
            yield _View(media.name, read_image(media.path), media.path)
            return
        video = media.open_video()
        try:
            for number, frame in enumerate(video):
                if number % every == 0:
                    yield _View(f"{media.name}/{number:06d}.jpg", frame.image, None)
        finally:
            video.close()
        if video.damage:
            reasons.append(video.damage)
    except (InputError, OSError) as error:
        reasons.append(describe(error))


def _entry(hand: FoundHand, view: _View, split: FolderSplit, reasons: list[str]) -> dict[str, Any] | None:
    """A hand as the list has it; None with a reason for one that is no sensible label."""
    entry = {
        "hand": "right" if hand.right else "left",
        "box": _rounded(hand.box, 2),
        "joints_2d": _rounded(hand.joints_2d, 2),
        "joints_2d_confidence": _rounded(hand.confidence, 3),
        "split": split,
    }
    if isinstance(hand, ReconstructedHand):
        entry["joints_lifted"] = _rounded(hand.joints_root, 5)
    height, width = view.image.shape[:2]
    try:
        check_hand(entry, (width, height), view.name)
    except InputError as error:
        reasons.append(str(error))
        return None
    return entry


def _rounded(values: np.ndarray, digits: int) -> list[Any]:
    rounded: list[Any] = values.astype(np.float64).round(digits).tolist()
    return rounded


def _keep(view: _View, path: Path) -> None:
    """Copy a photograph as it is; encode a frame."""
    if view.file is not None:
        with whole(path, durable=False) as temporary:
            shutil.copyfile(view.file, temporary)
        return
    bgr = cv2.cvtColor(view.image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    write_bytes(path, jpeg.tobytes(), durable=False)
