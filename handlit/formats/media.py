"""Finds the images and videos that a user names: files, folders, webcams."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from handlit.errors import InputError
from handlit.formats.video import VideoReader, Webcam

_IMAGES = {"avif", "bmp", "heic", "heif", "jp2", "jpeg", "jpg", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"}
_VIDEOS = {"3gp", "avi", "flv", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "webm", "wmv"}
_WEBCAM = "webcam:"


@dataclass(frozen=True)
class MediaFile:
    """One image, video or webcam.

    Attributes:
        name: Relative to the input that it was found in, with ``/``; the file's own name where that is the input.
        path: The file; of a webcam its input.
        kind: What it is.
    """

    name: str
    path: Path
    kind: Literal["image", "video", "webcam"]

    def open_video(self) -> VideoReader | Webcam:
        """Open a video or a webcam; errors are those of `VideoReader` and `Webcam`."""
        return Webcam(int(self.name.removeprefix(_WEBCAM))) if self.kind == "webcam" else VideoReader(self.path)


def find_media(inputs: Sequence[str | Path], leave_out: Path | None = None) -> list[MediaFile]:
    """Images and videos, by their suffixes, in the order of the inputs.

    Those of a folder come by name, its own before those of its folders.

    Args:
        inputs: Files, folders (searched to every depth; hidden files are left out), or ``webcam:NUMBER``.
        leave_out: Folder whose files are no input, such as that of the output.

    Raises:
        FileNotFoundError: An input is not there.
        InputError: An input is neither, a folder holds none, or two files have the same name.
    """
    found: dict[str, MediaFile] = {}
    for given in map(str, inputs):
        for media in _media_of(given, leave_out):
            if media.name in found and found[media.name].path.resolve() != media.path.resolve():
                raise InputError(
                    f"{found[media.name].path} and {media.path} would both be called {media.name}: give the folder "
                    "that holds both, or call handlit twice"
                )
            found[media.name] = media
    return list(found.values())


def _media_of(given: str, leave_out: Path | None) -> list[MediaFile]:
    path = Path(given)
    if given.startswith(_WEBCAM) and not path.exists():
        if not given.removeprefix(_WEBCAM).isdecimal():
            raise InputError(f"{given} names no webcam: webcam:0 is the first one")
        return [MediaFile(given, path, "webcam")]
    if path.is_dir():
        media = [each for file in _files(path, leave_out) if (each := _media(file.relative_to(path).as_posix(), file))]
        if not media:
            raise InputError(f"{path} holds no images and no videos")
        return media
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: give images, videos, folders of them, or webcam:0")
    one = _media(path.name, path)
    if one is None:
        raise InputError(f"{path} is neither an image nor a video by its suffix: give JPEG, PNG, mp4 or the like")
    return [one]


def _media(name: str, path: Path) -> MediaFile | None:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix in _IMAGES:
        return MediaFile(name, path, "image")
    return MediaFile(name, path, "video") if suffix in _VIDEOS else None


def _files(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """The visible files of a folder, in the order of their paths."""
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not (leave_out and (here / name).resolve() == leave_out.resolve())
        )
        yield from (here / name for name in sorted(names) if not name.startswith("."))
