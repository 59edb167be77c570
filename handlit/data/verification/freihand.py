"""Looks at a FreiHAND tree: its lists, its folders and every entry, whatever is wrong with them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from handlit.data.verification.images import DAMAGE
from handlit.data.verification.labels import check_tips
from handlit.data.verification.report import Report, Severity
from handlit.data.verification.split import Split
from handlit.formats.frame_table import FrameTable
from handlit.formats.freihand import (
    FREIHAND,
    IMAGE_BOX,
    IMAGE_SIZE,
    LISTS,
    VERSIONS,
    FreiHANDSplit,
    list_file,
    read_entries,
    read_mask,
)
from handlit.formats.point_lists import read_point_lists
from handlit.hand.asset import HandAsset
from handlit.skeleton import JOINTS, reorder

#: Shapes of the entries of the lists; those of the meshes are read apart, being large.
SHAPES = {name: shape for name, shape in LISTS.items() if name != "verts"}
#: The scale is a bone's length, stored with enough digits to agree up to this, metres.
SCALE_TOLERANCE = 1e-4


def inspect(root: Path, asset: HandAsset, report: Report) -> Iterator[Split]:
    """The splits of a FreiHAND tree; what is wrong with its files goes into the report."""
    for split in get_args(FreiHANDSplit):
        report.lacks |= _lacks(root, split)
        if not (root / f"{split}_K.json").is_file() and not (root / split).is_dir():
            report.add("missing lists", split, f"there is neither {split}_K.json nor {split}/", severity="note")
            continue
        lists = _lists(root, split, report)
        if not lists:
            continue
        count = max(len(values) for values in lists.values())
        if count != FREIHAND.released[split]:
            text = f"{count:,} samples are listed; the official release has {FREIHAND.released[split]:,}"
            report.add("size", split, text, severity="note")
        lists = {name: values for name, values in lists.items() if len(values) == count}
        keys = np.array([f"{sample:08d}" for sample in range(count)])
        files = _files(root, split, count, report)
        labels = _labels(lists, count, asset)
        _check_scale(report, split, keys, lists)
        _check_vertices(root, report, split, keys, labels)
        repeats = len(files["images"]) // count
        if split == "training" and repeats < len(VERSIONS):
            lack = f"the images have {repeats} of {len(VERSIONS)} colour versions: choose by data.init_args.versions"
            report.lacks |= {"fit": lack, "validate": lack}
        frames = FrameTable(
            keys=np.array([f"{number:08d}" for number in range(len(files["images"]))]),
            image_sizes=np.full((len(files["images"]), 2), IMAGE_SIZE),
            **files,
            **{name: np.concatenate([values] * repeats) for name, values in labels.items()},
        )
        yield Split(split, frames, FREIHAND.tips, read_mask if split == "training" else None, labelled=count)


def _lacks(root: Path, split: FreiHANDSplit) -> dict[str, str]:
    """What the commands that read a split lack, by its lists."""
    needed: dict[str, tuple[str, ...]] = {"fit": ("K", "xyz", "mano"), "validate": ("K", "xyz", "mano")}
    if split == "evaluation":
        needed = {"test": ("K", "xyz", "verts"), "predict": ("K", "scale")}
    missing = {
        command: [path.name for path in (list_file(root, split, name) for name in names) if not path.is_file()]
        for command, names in needed.items()
    }
    return {command: f"{' and '.join(files)} missing" if files else "" for command, files in missing.items()}


def _lists(root: Path, split: FreiHANDSplit, report: Report) -> dict[str, np.ndarray]:
    """The lists that can be read, NaN for damaged entries; their lengths are compared."""
    counts = report.counts.setdefault(split, {})
    lists: dict[str, np.ndarray] = {}
    for name, shape in SHAPES.items():
        path = list_file(root, split, name)
        if not path.is_file():
            # of the evaluation split these came years later
            optional = split == "evaluation" and name in ("xyz", "mano")
            severity: Severity = "note" if optional else "problem"
            report.add("missing lists", split, f"{path.name} is missing", severity=severity)
            continue
        try:
            entries = read_entries(path)
        except DAMAGE as error:
            report.add("damaged lists", split, str(error))
            continue
        lists[name] = np.stack([_entry(entry, shape) for entry in entries])
        damaged = np.flatnonzero(~np.isfinite(lists[name]).reshape(len(entries), -1).all(axis=1))
        counts[f"entries of {name}"] = len(entries)
        counts[f"entries of {name} damaged"] = len(damaged)
        text = f"entries of {path.name} are NaN or have another shape than {shape}"
        report.add("damaged annotations", split, text, [f"entry {number}" for number in damaged])
    _compare_lengths(report, split, {f"{split}_{name}.json": len(values) for name, values in lists.items()})
    return lists


def _entry(entry: object, shape: tuple[int, ...]) -> np.ndarray:
    try:
        value = np.array(entry, dtype=np.float64)
    except (TypeError, ValueError):
        return np.full(shape, np.nan)
    if shape == () and value.size == 1:
        value = value.reshape(())
    return value if value.shape == shape else np.full(shape, np.nan)


def _compare_lengths(report: Report, split: str, lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        text = "the lists have different lengths: unpack the archive again"
        report.add("list lengths", split, text, [f"{name}: {length}" for name, length in lengths.items()])


def _labels(lists: dict[str, np.ndarray], count: int, asset: HandAsset) -> dict[str, np.ndarray]:
    """The lists in handlit's conventions, a row for each sample."""
    labels = {
        "intrinsics": lists.get("K", np.full((count, 3, 3), np.nan)),
        "boxes": np.tile(np.array(IMAGE_BOX), (count, 1)),
    }
    if "xyz" in lists:
        labels["joints_cam"] = lists["xyz"][:, reorder("freihand", "handlit")]
        labels["root_cam"] = labels["joints_cam"][:, 0]
    if "mano" in lists:
        numbers = lists["mano"][:, 0]
        labels["pose"] = numbers[:, :48] + np.concatenate([np.zeros(3), asset.pose_mean])
        labels["betas"] = numbers[:, 48:58]
    return labels


def _files(root: Path, split: FreiHANDSplit, count: int, report: Report) -> dict[str, np.ndarray]:
    """Columns of the images that are there, version by version; missing, empty and extra ones are reported."""
    counts = report.counts[split]
    sizes = {kind: _sizes(root / split / kind) for kind in ("rgb", "mask")}
    versions = VERSIONS if split == "training" else VERSIONS[:1]
    names = [f"{number:08d}.jpg" for number in range(count * len(versions))]
    for number, version in reversed(list(enumerate(versions))):
        part = names[number * count : (number + 1) * count]
        # release 1 had the green screen alone
        if number and not any(name in sizes["rgb"] for name in part):
            report.add("missing versions", split, f"there is no image of version {version}", severity="note")
            names = names[: number * count]
        else:
            break
    images = [f"{split}/rgb/{name}" if name in sizes["rgb"] else "" for name in names]
    missing = [name for name, image in zip(names, images, strict=True) if not image]
    counts |= {"samples": count, "listed": len(names), "images": len(names) - len(missing)}
    report.add("missing images", split, "images of listed samples are missing: unpack the archive again", missing)
    masks = [""] * len(names)
    if split == "training":
        masks[:count] = [f"{split}/mask/{name}" if name in sizes["mask"] else "" for name in names[:count]]
        without = [name for name, mask in zip(names[:count], masks[:count], strict=True) if not mask]
        counts["segmentations"] = count - len(without)
        report.add("missing segmentations", split, "masks of listed samples are missing", without)
    used = {*images, *masks}
    every = [(f"{split}/{kind}/{name}", size) for kind, files in sizes.items() for name, size in sorted(files.items())]
    report.add("empty files", split, "files have no content", [name for name, size in every if size == 0])
    extra = [name for name, _ in every if name not in used]
    counts["extra files"] = len(extra)
    report.add("extra files", split, "files that no list names", extra, "note")
    return {"images": np.array(images), "masks": np.array(masks)}


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _check_scale(report: Report, split: str, keys: np.ndarray, lists: dict[str, np.ndarray]) -> None:
    if not {"scale", "xyz"} <= lists.keys():
        return
    joints = lists["xyz"][:, reorder("freihand", "handlit")]
    ends = joints[:, JOINTS.index("middle_1")], joints[:, JOINTS.index("middle_2")]
    lengths = np.linalg.norm(ends[0] - ends[1], axis=-1)
    off = np.abs(lengths - lists["scale"])
    if np.isfinite(off).any():
        report.measures.setdefault(split, {})["scale to bone, largest, mm"] = 1000 * float(np.nanmax(off))
        wrong = off > SCALE_TOLERANCE
        text = "the scale is not the length of the middle finger's first bone, |xyz[9] - xyz[10]|"
        report.add("scale", split, text, keys[wrong].tolist())


def _check_vertices(
    root: Path, report: Report, split: FreiHANDSplit, keys: np.ndarray, labels: dict[str, np.ndarray]
) -> None:
    path = list_file(root, split, "verts")
    if not path.is_file():
        report.add("missing lists", split, f"{path.name} is missing", severity="note")
        return
    try:
        (vertices,) = read_point_lists(lambda: path.open("rb"), str(path), ("verts",))
    except DAMAGE as error:
        report.add("damaged lists", split, str(error))
        return
    report.counts[split]["entries of verts"] = len(vertices)
    if len(vertices) != len(keys):
        _compare_lengths(report, split, {path.name: len(vertices), "the other lists": len(keys)})
    elif vertices.shape[1:] != LISTS["verts"]:
        report.add("damaged lists", split, f"{path} holds {vertices.shape[1]} vertices a hand, expected 778")
    elif "joints_cam" in labels:
        known = np.isfinite(labels["joints_cam"]).all(axis=(1, 2))
        if known.any():
            check_tips(report, split, keys[known], labels["joints_cam"][known], vertices[known], "freihand")
