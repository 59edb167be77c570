"""Looks at a packed dataset: the sizes and checksums of its files, and its labels."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from handlit.data.packing.read import Pack
from handlit.data.verification.images import DAMAGE, spread_rows
from handlit.data.verification.report import Report
from handlit.data.verification.split import Split
from handlit.files import sha256
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import decode
from handlit.formats.worker_pool import in_processes


def inspect(root: Path, report: Report, sample: int | None, seed: int, workers: int | None) -> Iterator[Split]:
    """The tables of a packed dataset; damaged files go into the report.

    With `sample` None every file is compared with its checksum, otherwise the sizes of all and the labels' checksums,
    and that many images of each table are decoded.
    """
    tables: dict[int, list[str]] = {}
    try:
        pack = Pack(str(root))
        for split, entry in pack.manifest["splits"].items():
            pack.split(split)
            tables.setdefault(entry["table"], []).append(split)
    except DAMAGE as error:
        report.add("damaged pack", "", str(error))
        return
    names = [name for name in pack.manifest["files"] if sample is None or name.startswith("labels/")]
    sums = in_processes(partial(_checksum, root), names, "checksums", workers)
    differing = [
        name for name, found in zip(names, sums, strict=True) if found != pack.manifest["files"][name]["sha256"]
    ]
    report.counts["files"] = {"packed": len(pack.manifest["files"]), "compared": len(names), "damaged": len(differing)}
    report.add("damaged pack", "", "files differ from what was packed: copy them again", differing)
    if any(name.startswith("labels/") for name in differing):
        return
    packed = pack.manifest["splits"]
    for command, needed in {"fit": "train val", "validate": "val", "test": "test", "predict": "predict"}.items():
        missing = [split for split in needed.split() if split not in packed]
        report.lacks[command] = f"it was packed without the splits {', '.join(missing)}" if missing else ""
    for table, splits in tables.items():
        name = "+".join(splits)
        frames = pack.table(table)
        # rows that no split uses have no image
        kept = np.flatnonzero(frames.images != "")
        rows = kept[spread_rows(len(kept), len(kept) if sample is None else sample, np.random.default_rng(seed))]
        unreadable = [message for row in rows if (message := _damage(pack, str(frames.images[row])))]
        report.counts[name] = {
            "listed": len(kept),
            "images decoded": len(rows) - len(unreadable),
            "images unreadable": len(unreadable),
        }
        report.add("unreadable images", name, "images cannot be decoded", unreadable)
        # the files are in the pack's chunks, where `check_images` does not look
        nothing = np.full(len(frames), "")
        columns = frames.columns() | {"images": nothing}
        columns = {key: values for key, values in columns.items() if key not in ("masks", "depths")}
        yield Split(name, FrameTable(**columns), pack.manifest["tips"])


def _checksum(root: Path, name: str) -> str:
    try:
        return sha256(root / name)
    except OSError as error:
        return str(error)


def _damage(pack: Pack, image: str) -> str:
    """What is wrong with an image; "" for nothing."""
    try:
        decode(pack.image(pack.member_of(image)), image)
    except DAMAGE as error:
        return str(error)
    return ""
