"""Recognises a dataset and runs every check on it. Nothing is written, no index is built."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from handlit.data.folder import NAMES
from handlit.data.packing.read import MANIFEST
from handlit.data.synthesis.generate import SETTINGS_FILE
from handlit.data.verification import folder, freihand, ho3d, packed
from handlit.data.verification.labels import check_labels
from handlit.data.verification.meshes import check_meshes
from handlit.data.verification.pictures import check_pictures, spread_rows
from handlit.data.verification.report import Report
from handlit.data.verification.split import Split
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.hand.asset import HandAsset
from handlit.hand.loading import load_hand
from handlit.skeleton import TipConvention

Dataset = Literal["HO-3D v2", "HO-3D v3", "FreiHAND", "own pictures", "packed dataset"]


def recognise(root: Path) -> Dataset:
    """Tell a dataset by the files in its root.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It is none of the datasets that are known; the message says what each is told by.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is missing: expected the folder of a dataset")
    found = _told_by_files(root)
    if found is not None:
        return found
    inner = [path for path in sorted(root.iterdir()) if path.is_dir() and _told_by_files(path) is not None]
    hint = f"; {inner[0]} is one ({_told_by_files(inner[0])}): give that folder" if inner else ""
    raise InputError(
        f"{root} is no dataset that is known: HO-3D has train.txt or evaluation.txt, FreiHAND training_K.json, own "
        f"pictures have {NAMES[0]}, a packed dataset has {MANIFEST}{hint}"
    )


def _told_by_files(root: Path) -> Dataset | None:
    def has(*names: str) -> bool:
        return any((root / name).is_file() for name in names)

    if has(MANIFEST):
        return "packed dataset"
    if has("training_K.json", "training_xyz.json", "training_mano.json", "evaluation_K.json"):
        return "FreiHAND"
    if has("train.txt", "evaluation.txt") or next(root.glob("*/*/meta"), None) is not None:
        return "HO-3D v2" if ho3d.find_version(root) == "v2" else "HO-3D v3"
    return "own pictures" if has(*NAMES) else None


def verify(
    root: str | Path,
    full: bool = False,
    sample: int = 500,
    seed: int = 0,
    mano_path: str | Path | None = None,
    tips: TipConvention = "manopth",
    workers: int | None = None,
) -> Report:
    """Check a dataset: files, annotations, axes, units, joints against pictures, depth and the hand model's mesh.

    Damaged files are counted and named, and never stop it. Every annotation is read; of the pictures a sample, spread
    over each split, unless all are asked for. Nothing is written.

    Args:
        root: The dataset's folder.
        full: Decode every picture.
        sample: Frames of each split whose pictures are decoded otherwise.
        seed: Of the choice of the sample.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand, whose mesh fits only
            datasets that were synthesised with it.
        tips: Vertices that the finger tips of own pictures are.
        workers: Processes; None for one a core, 0 for this one.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It is no dataset that is known, or an argument is out of range.
    """
    start = time.perf_counter()
    root = Path(root)
    if sample < 1:
        raise InputError(f"the sample must have at least one frame, got {sample}; --full decodes all")
    dataset = recognise(root)
    asset = load_hand(mano_path)
    report = Report(str(root), dataset, asset.name, "full" if full else "sample")
    why_not = "" if mano_path is not None else _why_not(root, asset)
    wanted = None if full else sample
    for split in _splits(dataset, root, report, asset, tips, wanted, seed, workers):
        count = len(split.frames) if split.labelled is None else split.labelled
        labelled = check_labels(report, split.name, split.frames.select(np.arange(count)))
        check_meshes(report, split.name, labelled, asset, split.tips, why_not)
        frames = _with_labels(split.frames, labelled)
        rows = spread_rows(len(frames), len(frames) if wanted is None else wanted, np.random.default_rng(seed))
        check_pictures(report, split.name, root, frames.select(rows), split.read_masks, split.read_depth, workers)
    report.seconds = time.perf_counter() - start
    return report


def _splits(
    dataset: Dataset,
    root: Path,
    report: Report,
    asset: HandAsset,
    tips: TipConvention,
    sample: int | None,
    seed: int,
    workers: int | None,
) -> Iterator[Split]:
    if dataset == "packed dataset":
        return packed.inspect(root, report, sample, seed, workers)
    if dataset == "FreiHAND":
        return freihand.inspect(root, asset, report)
    if dataset == "own pictures":
        return folder.inspect(root, report, tips, workers)
    return ho3d.inspect(root, report, workers)


def _with_labels(frames: FrameTable, labelled: FrameTable) -> FrameTable:
    """The frames with the checked joints, which repeat where there are more pictures than samples."""
    if labelled.joints_cam is None:
        return frames
    rows = np.arange(len(frames)) % len(labelled)
    return replace(frames, joints_cam=labelled.joints_cam[rows])


def _why_not(root: Path, asset: HandAsset) -> str:
    """Why joints cannot agree with the stand-in hand's mesh; "" where a synthesis was made with it."""
    try:
        made_with = json.loads((root / SETTINGS_FILE).read_text())["hand_template_md5"]
    except (OSError, ValueError, KeyError, TypeError):
        made_with = None
    if made_with == hashlib.md5(asset.template.tobytes()).hexdigest():
        return ""
    return (
        "joints were not compared with the mesh of pose and betas: the stand-in hand is not the hand of these labels; "
        "give --mano_path"
    )
