"""Looks at an HO-3D tree: its lists, its folders and every annotation, whatever is wrong with them."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handlit.data.verification.images import DAMAGE
from handlit.data.verification.labels import TOLERANCE_MM, check_tips
from handlit.data.verification.report import Report, Severity
from handlit.data.verification.split import Split
from handlit.errors import InputError
from handlit.formats.benchmark import Benchmark
from handlit.formats.frame_table import FrameTable
from handlit.formats.ground_truth import read_ground_truth
from handlit.formats.ho3d import MASK_SUFFIXES, NAME, annotation_file, read_depth, read_masks
from handlit.formats.ho3d_annotations import HO3DSplit, annotation_arrays, read_annotation
from handlit.formats.ho3d_splits import captures
from handlit.formats.truth_files import VERTS_FILE, XYZ_FILE
from handlit.formats.worker_pool import in_processes
from handlit.reading import read_text

#: Annotations that a process reads at a time.
CHUNK = 500
#: Endings of the files in a sequence's folders.
_SUFFIXES = {"rgb": (".png", ".jpg"), "depth": (".png",), "seg": MASK_SUFFIXES, "meta": (".pkl",)}


def inspect(root: Path, benchmark: Benchmark, report: Report, workers: int | None) -> Iterator[Split]:
    """The splits of an HO-3D tree; what is wrong with its files goes into the report."""
    lists = {split: _list(root, split, report) for split in get_args(HO3DSplit)}
    report.lacks |= _lacks(root, lists)
    for split, names in lists.items():
        if not names:
            continue
        report.counts[split] = {"listed": len(names)}
        released = benchmark.released[split]
        if len(names) != released:
            text = f"{len(names):,} frames are listed; the official release of {benchmark.title} has {released:,}"
            report.add("size", split, text, severity="note")
        files = _files(root, split, benchmark, names, report)
        labels = _annotations(root, split, names, report, workers)
        frames = FrameTable(
            keys=np.array(names),
            image_sizes=np.tile(np.array(benchmark.image_size), (len(names), 1)),
            **files,
            **labels,
        )
        if split == "evaluation":
            frames = _with_truth(root, frames, benchmark, report)
        yield Split(split, frames, benchmark.tips, read_masks, read_depth)


def _lacks(root: Path, lists: dict[HO3DSplit, list[str]]) -> dict[str, str]:
    """What the commands lack, by the lists and the files of the ground truth."""
    empty = {split: "" if names else f"{split}.txt names no frames" for split, names in lists.items()}
    alone = len(np.unique(captures(np.array(lists["train"], dtype=str)))) < 2
    train = empty["train"] or ("there is one capture alone, and validation takes whole ones" if alone else "")
    missing = [name for name in (XYZ_FILE, VERTS_FILE) if not (root / name).is_file()]
    truth = f"{' and '.join(missing)} missing" if missing else ""
    return {"fit": train, "validate": train, "test": empty["evaluation"] or truth, "predict": empty["evaluation"]}


def _list(root: Path, split: HO3DSplit, report: Report) -> list[str]:
    path = root / f"{split}.txt"
    if not path.is_file():
        severity: Severity = "problem" if split == "train" or (root / split).is_dir() else "note"
        report.add("missing lists", split, f"{path.name} is missing", severity=severity)
        return []
    try:
        lines = [line.strip() for line in read_text(path, "a list of frames").splitlines()]
    except InputError as error:
        report.add("lists", split, str(error))
        return []
    lines = [line for line in lines if line]
    names = [line for line in lines if NAME.fullmatch(line)]
    wrong = [line for line in lines if not NAME.fullmatch(line)]
    report.add("lists", split, f"lines of {path.name} are no SEQ/FRAME", wrong)
    unique = list(dict.fromkeys(names))
    seen: set[str] = set()
    repeated = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    report.add("lists", split, f"frames stand in {path.name} more than once", repeated)
    if not lines:
        report.add("lists", split, f"{path.name} is empty")
    return unique


def _files(
    root: Path, split: HO3DSplit, benchmark: Benchmark, names: list[str], report: Report
) -> dict[str, np.ndarray]:
    """Columns of the files that are there; missing, empty and extra ones are reported."""
    present: dict[tuple[str, str], dict[str, int]] = {}
    sequences = dict.fromkeys(name.split("/")[0] for name in names)
    for sequence in sequences:
        for kind in _SUFFIXES:
            present[sequence, kind] = _sizes(root / split / sequence / kind)
    found: dict[str, list[str]] = {kind: [] for kind in _SUFFIXES}
    for name in names:
        sequence, frame = name.split("/")
        for kind, suffixes in _SUFFIXES.items():
            wanted = (benchmark.image_suffix,) if kind == "rgb" else suffixes
            files = present[sequence, kind]
            file = next((frame + suffix for suffix in wanted if frame + suffix in files), "")
            found[kind].append(file and f"{split}/{sequence}/{kind}/{file}")
    counts = report.counts[split]
    for kind, label in (
        ("rgb", "images"),
        ("depth", "depth images"),
        ("seg", "segmentations"),
        ("meta", "annotations"),
    ):
        missing = [name for name, file in zip(names, found[kind], strict=True) if not file]
        counts[label] = len(names) - len(missing)
        optional = kind in ("depth", "seg") and len(missing) == len(names)
        text = f"{label} of listed frames are missing"
        if optional:
            text = f"there are no {label}; only masks and visibility need them"
            report.add(f"missing {label}", split, text, severity="note")
        else:
            report.add(f"missing {label}", split, f"{text}: complete the dataset's folder", missing)
    _report_extra(root, split, present, found, report)
    columns = {"images": found["rgb"], "depths": found["depth"], "masks": found["seg"]}
    return {kind: np.array(files) for kind, files in columns.items()}


def _report_extra(
    root: Path,
    split: HO3DSplit,
    present: dict[tuple[str, str], dict[str, int]],
    found: dict[str, list[str]],
    report: Report,
) -> None:
    used = {file for files in found.values() for file in files}
    every = [
        (f"{split}/{sequence}/{kind}/{name}", size)
        for (sequence, kind), files in present.items()
        for name, size in sorted(files.items())
    ]
    report.add("empty files", split, "files have no content", [name for name, size in every if size == 0])
    extra = [name for name, _ in every if name not in used]
    listed = {sequence for sequence, _ in present}
    folder = root / split
    if folder.is_dir():
        extra += [f"{split}/{name}/" for name in sorted(os.listdir(folder)) if name not in listed]
    report.counts[split]["extra files"] = len(extra)
    report.add("extra files", split, f"files and sequences that {split}.txt does not name", extra, "note")


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _annotations(
    root: Path, split: HO3DSplit, names: list[str], report: Report, workers: int | None
) -> dict[str, np.ndarray]:
    """Columns of the labels, NaN where there are none."""
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    parts = in_processes(partial(_read_chunk, root, split), chunks, f"annotations of {split}", workers)
    damaged = {name: message for _, part, _ in parts for name, message in part.items()}
    without = [name for _, _, part in parts for name in part]
    counts = report.counts[split]
    counts["annotations damaged"] = len(damaged)
    counts["without hand annotation"] = len(without)
    report.add("damaged annotations", split, "annotations cannot be used", list(damaged.values()))
    # a submission needs the root of every evaluation frame
    severity: Severity = "note" if split == "train" else "problem"
    report.add("without annotation", split, "frames have no hand annotation; they are left out", without, severity)
    columns: dict[str, np.ndarray] = {}
    start = 0
    for chunk, (arrays, _, _) in zip(chunks, parts, strict=True):
        rows = arrays.pop("rows") + start
        for key, values in arrays.items():
            if key not in columns:
                columns[key] = np.full((len(names), *values.shape[1:]), np.nan)
            columns[key][rows] = values
        start += len(chunk)
    for key, shape in (("intrinsics", (3, 3)), ("boxes", (4,))):
        columns.setdefault(key, np.full((len(names), *shape), np.nan))
    return columns


def _read_chunk(
    root: Path, split: HO3DSplit, names: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, str], list[str]]:
    """Labels of the frames at ``rows``; messages of the damaged ones; names of those without a hand."""
    rows: list[int] = []
    fields: list[dict[str, Any]] = []
    damaged: dict[str, str] = {}
    without: list[str] = []
    for number, name in enumerate(names):
        path = annotation_file(root, split, name)
        if not path.is_file():
            continue
        try:
            row = read_annotation(path, split, in_front=False)
        except DAMAGE as error:
            damaged[name] = str(error)
            continue
        if row["annotated"]:
            rows.append(number)
            fields.append(row)
        else:
            without.append(name)
    arrays: dict[str, np.ndarray] = {"rows": np.array(rows, dtype=int)}
    if fields:
        # wrong labels may have no projection: that is found out later
        with np.errstate(divide="ignore", invalid="ignore"):
            table = annotation_arrays(fields, split)
        kept = ("intrinsics", "boxes", "root_cam", "joints_cam", "pose", "betas")
        arrays |= {key: table[key] for key in kept if key in table}
    return arrays, damaged, without


def _with_truth(root: Path, frames: FrameTable, benchmark: Benchmark, report: Report) -> FrameTable:
    """The evaluation frames with the joints of the ground truth, which is checked against them and itself."""
    present = [name for name in (XYZ_FILE, VERTS_FILE) if (root / name).is_file()]
    if not present:
        text = f"{XYZ_FILE} and {VERTS_FILE} are not here: `test` and `score` need them"
        report.add("ground truth", "evaluation", text, severity="note")
        return frames
    try:
        truth = read_ground_truth(root, benchmark.name)
    except DAMAGE as error:
        report.add("ground truth", "evaluation", str(error))
        return frames
    if len(truth) != len(frames):
        text = f"{XYZ_FILE} has {len(truth)} entries, evaluation.txt {len(frames)}: they must be as many"
        report.add("ground truth", "evaluation", text)
        return frames
    joints, vertices = benchmark.joints_from_official(truth.joints), benchmark.points_to_official(truth.vertices)
    check_tips(report, "evaluation", frames.keys, joints, vertices, benchmark.tips)
    if frames.root_cam is not None:
        off_mm = 1000 * np.linalg.norm(joints[:, 0] - frames.root_cam, axis=-1)
        wrong = off_mm > TOLERANCE_MM
        text = f"the wrist of {XYZ_FILE} is more than {TOLERANCE_MM:g} mm from the annotation's root"
        report.add("ground truth", "evaluation", text, frames.keys[wrong].tolist())
    return replace(frames, joints_cam=joints)
