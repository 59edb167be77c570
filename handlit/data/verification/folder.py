"""Looks at a folder of own images: every image and every hand of its list, whatever is wrong with them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handlit.data.verification.images import DAMAGE
from handlit.data.verification.report import Report
from handlit.data.verification.split import Split
from handlit.errors import InputError
from handlit.formats.folder import check_file, read_hands, read_label_mask
from handlit.formats.folder_hand import LABELS, NUMBERS, check_hand
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import read_image
from handlit.formats.worker_pool import in_processes
from handlit.skeleton import TipConvention

#: Endings of images; other files in the folder are ignored.
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
#: The one split: hands of all splits and of none.
SPLIT = "hands"
#: Pictures that a process decodes at a time.
CHUNK = 32


def inspect(root: Path, report: Report, tips: TipConvention, workers: int | None) -> Iterator[Split]:
    """All hands of the folder; what is wrong with its files goes into the report.

    Every image is decoded: hands are checked against their image's size.
    """
    counts = report.counts.setdefault(SPLIT, {})
    try:
        path, images = read_hands(root)
    except DAMAGE as error:
        report.add("damaged lists", SPLIT, str(error))
        return
    is_here = {name: _is_here(root, name) for name in images}
    present = [name for name in images if is_here[name]]
    missing = [name for name in images if not is_here[name]]
    report.add("missing images", SPLIT, f"images that {path.name} lists are missing or outside the folder", missing)
    chunks = [present[start : start + CHUNK] for start in range(0, len(present), CHUNK)]
    parts = in_processes(partial(_image_sizes, root), chunks, "images", workers)
    sizes = {name: size for part in parts for name, size in part.items()}
    unreadable = [size for size in sizes.values() if isinstance(size, str)]
    report.add("unreadable images", SPLIT, "image files cannot be decoded", unreadable)
    counts |= {"listed": len(images), "images": len(present), "images unreadable": len(unreadable)}
    rows, missing_masks = _hands(root, images, sizes, report)
    used = {*images, *(row["mask"] for row in rows), *missing_masks.values()}
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    extra = [name for name in (file.relative_to(root).as_posix() for file in files) if name not in used]
    counts["extra files"] = len(extra)
    report.add("extra files", SPLIT, f"images that {path.name} does not name", extra, "note")
    of_all = [hand for hands in images.values() if isinstance(hands, list) for hand in hands]
    report.lacks |= _lacks({str(hand.get("split")) for hand in of_all if isinstance(hand, dict)})
    if rows:
        yield Split(SPLIT, _table(rows), tips, read_label_mask)


def _hands(
    root: Path, images: dict[str, Any], sizes: dict[str, tuple[int, int] | str], report: Report
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The hands as documented, and by hand the masks that are not there; the others go into the report."""
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    missing_masks: dict[str, str] = {}
    unlabelled: list[str] = []
    for name, hands in images.items():
        size = sizes.get(name)
        if not isinstance(size, tuple):
            continue
        if not isinstance(hands, list):
            damaged.append(f"{name} must hold a list of hands")
            continue
        for number, hand in enumerate(hands):
            key = f"{name}#{number}"
            try:
                values = check_hand(hand, size, f"{name}, hand {number}")
            except InputError as error:
                damaged.append(str(error))
                continue
            mask = hand.get("mask") or ""
            if mask and not _is_here(root, mask):
                missing_masks[key] = mask
                mask = ""
            if not set(LABELS) & values.keys():
                unlabelled.append(key)
            rows.append({"key": key, "size": size, "left": hand["hand"] == "left", "mask": mask, **values})
    report.counts[SPLIT] |= {
        "hands": len(rows) + len(damaged),
        "without annotation": len(unlabelled),
        "damaged": len(damaged),
    }
    report.add("damaged annotations", SPLIT, "hands are not as documented", damaged)
    report.add("without annotation", SPLIT, "hands have a box and no label: for prediction", unlabelled, "note")
    absent = [f"{key}: {mask}" for key, mask in missing_masks.items()]
    report.add("missing segmentations", SPLIT, "masks that hands name are missing or outside the folder", absent)
    return rows, missing_masks


def _is_here(root: Path, name: object) -> bool:
    try:
        check_file(root, name, "")
    except (FileNotFoundError, InputError):
        return False
    return True


def _lacks(found: set[str]) -> dict[str, str]:
    """What the commands lack, by the splits of all hands."""
    needed = {"fit": ["train", "val"], "validate": ["val"], "test": ["test"], "predict": []}
    missing = {command: [name for name in names if name not in found] for command, names in needed.items()}
    return {
        command: f"no hand has 'split': {' or '.join(map(repr, names))}" if names else ""
        for command, names in missing.items()
    }


def _table(rows: list[dict[str, Any]]) -> FrameTable:
    """Hands that passed; their images have been decoded and are not named again."""
    columns = {
        key: np.stack([row.get(key, np.full(NUMBERS[key], np.nan)) for row in rows])
        for key in LABELS
        if any(key in row for row in rows)
    }
    intrinsics = np.full((len(rows), 3, 3), np.nan)
    for matrix, row in zip(intrinsics, rows, strict=True):
        if "camera" in row:
            fx, fy, cx, cy = row["camera"]
            matrix[:] = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    return FrameTable(
        keys=np.array([row["key"] for row in rows]),
        images=np.full(len(rows), ""),
        image_sizes=np.array([row["size"] for row in rows]),
        intrinsics=intrinsics,
        boxes=np.stack([row["box"] for row in rows]),
        mirrored=np.array([row["left"] for row in rows]),
        masks=np.array([row["mask"] for row in rows]),
        **columns,
    )


def _image_sizes(root: Path, names: list[str]) -> dict[str, tuple[int, int] | str]:
    """Width and height of each image, or what is wrong with it."""
    sizes: dict[str, tuple[int, int] | str] = {}
    for name in names:
        try:
            height, width = read_image(root / name).shape[:2]
            sizes[name] = (width, height)
        except DAMAGE as error:
            sizes[name] = str(error)
    return sizes
