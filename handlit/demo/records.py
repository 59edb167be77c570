"""What a demo writes of its hands as lines of JSON, and what it remembers, so that it can be resumed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from handlit.errors import InputError
from handlit.files import named, whole, write_bytes
from handlit.formats.media import MediaFile
from handlit.reading import read_json
from handlit.reconstruct import ReconstructedHand


class Records:
    """The lines of a demo: ``hands.jsonl`` of every hand, ``files.jsonl`` of every finished file, ``settings.json``.

    A file is finished when its line is in ``files.jsonl``; it is skipped then. Lines of hands of other files, which
    were not finished, are replaced when their file is done again.

    Args:
        folder: Where they lie; made where it is missing.
        settings: What the numbers depend on; those of a folder that is resumed must be the same.

    Raises:
        InputError: The folder was written with other settings, or holds no output of a demo.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.hands, self._files = folder / "hands.jsonl", folder / "files.jsonl"
        path = folder / "settings.json"
        if path.is_file():
            _check_settings(read_json(path, "the settings of a demo"), dict(settings), path)
        else:
            write_bytes(path, orjson.dumps(settings, option=orjson.OPT_INDENT_2))
        #: What is known of the finished files by name.
        self.finished = {line["file"]: line for _, line in _lines(self._files)}

    def prepare(self, waiting: list[MediaFile]) -> None:
        """Forget the hands of files that are to be done again, and lines that were cut off."""
        again = {media.name for media in waiting}
        kept = [(self.hands, again), (self._files, set())]
        for path, left_out in kept:
            if path.is_file() and _holds_others(path, left_out):
                with whole(path) as temporary, temporary.open("wb") as out:
                    out.writelines(text for text, line in _lines(path) if line["file"] not in left_out)

    def __enter__(self) -> "Records":
        self._out = [path.open("ab") for path in (self.hands, self._files)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._out:
            file.close()

    def write(self, name: str, frame: int | None, hands: list[ReconstructedHand]) -> None:
        """Add the lines of the hands of an image or a frame."""
        lines = [orjson.dumps(record(name, frame, hand), option=orjson.OPT_SERIALIZE_NUMPY) for hand in hands]
        with named(self.hands):
            self._out[0].writelines(line + b"\n" for line in lines)
            self._out[0].flush()

    def finish(self, name: str, frames: int, frames_with_hands: int, hands: int, note: str | None) -> None:
        """Add the line of a finished file."""
        line = {"file": name, "frames": frames, "frames_with_hands": frames_with_hands, "hands": hands, "note": note}
        with named(self._files):
            self._out[1].write(orjson.dumps(line) + b"\n")
            self._out[1].flush()
        self.finished[name] = line


def record(name: str, frame: int | None, hand: ReconstructedHand) -> dict[str, Any]:
    """The line of a hand; arrays are NumPy's.

    Args:
        name: Of its file, relative to the input.
        frame: Of a video, from 0; None for an image.
        hand: The hand.

    Returns:
        ``file``, ``frame``, ``track``, ``hand`` (left or right), ``box`` (x0, y0, x1, y1), ``joints_2d`` (21 x 2
        pixels, detected), ``joints_root`` (21 x 3 m, wrist at the origin), ``joint_scale`` (21 x 3 m), ``pose`` (48),
        ``betas`` (10), ``camera`` (s, tx, ty), ``presence`` and ``spread_mm``, all as in `ReconstructedHand`.
    """
    arrays = ("box", "joints_2d", "joints_root", "joint_scale", "pose", "betas", "camera", "presence", "spread_mm")
    head = {"file": name, "frame": frame, "track": hand.track, "hand": hand.side}
    return head | {key: getattr(hand, key) for key in arrays}


def _check_settings(found: Any, settings: dict[str, Any], path: Path) -> None:
    # as they come out of a file
    wanted = orjson.loads(orjson.dumps(settings))
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no settings: choose another --out")
    different = [name for name in wanted if found.get(name) != wanted[name]]
    if different:
        (name, *_) = different
        raise InputError(
            f"{path.parent} was written with {name}={found.get(name)}, not {wanted[name]}: choose another --out, or "
            "remove the folder"
        )


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The whole lines of a file and what they hold; one that was cut off is left out."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for text in file:
            try:
                line = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue
            if text.endswith(b"\n") and isinstance(line, dict) and isinstance(line.get("file"), str):
                yield text, line


def _holds_others(path: Path, left_out: set[str]) -> bool:
    """Whether a file holds lines of these files, or lines that were cut off."""
    whole_lines = 0
    for text, line in _lines(path):
        if line["file"] in left_out:
            return True
        whole_lines += len(text)
    return whole_lines != path.stat().st_size
