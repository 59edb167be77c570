"""Recognises a dataset and runs every check on it. Nothing is written, no index is built."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from handlit.data.synthesis.generate import SETTINGS_FILE, template_md5
from handlit.data.verification import folder, freihand, ho3d, packed, strict
from handlit.data.verification.images import check_images, spread_rows
from handlit.data.verification.labels import check_boxes, check_labels
from handlit.data.verification.meshes import check_meshes
from handlit.data.verification.report import Report
from handlit.data.verification.split import Split
from handlit.errors import InputError, check_number
from handlit.formats.benchmark import Benchmark, DatasetFormat
from handlit.formats.frame_table import FrameTable
from handlit.formats.ho3d import VERSIONS
from handlit.formats.registry import recognise
from handlit.hand.asset import HandAsset
from handlit.hand.loading import load_hand
from handlit.skeleton import TipConvention


def verify(
    root: str | Path,
    full: bool = False,
    sample: int = 500,
    seed: int = 0,
    mano_path: str | Path | None = None,
    tips: TipConvention = "manopth",
    workers: int | None = None,
) -> Report:
    """Check a dataset: files, annotations, axes, units, joints against images, depth and the hand model's mesh.

    Damaged files are counted and named, and never stop it. Every annotation is read; of the images a sample, spread
    over each split, unless all are asked for. Nothing is written.

    Args:
        root: The dataset's folder.
        full: Decode every image.
        sample: Frames of each split whose images are decoded otherwise.
        seed: Of the choice of the sample.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand, whose mesh fits only
            datasets that were synthesised with it.
        tips: Vertices that the finger tips of own images are.
        workers: Processes; None for one a core, 0 for this one.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It is no dataset that is known, or an argument is out of range.
    """
    start = time.perf_counter()
    root = Path(root)
    check_number("sample, the number of frames to decode,", sample, least=1, whole=True)
    check_number("seed", seed, least=0, whole=True)
    dataset = recognise(root)
    asset = load_hand(mano_path)
    report = Report(str(root), dataset.title, asset.name, "full" if full else "sample")
    why_not = "" if mano_path is not None else _why_not(root, asset)
    wanted = None if full else sample
    for split in _splits(dataset, root, report, asset, tips, wanted, seed, workers):
        count = len(split.frames) if split.labelled is None else split.labelled
        before = len(report.problems)
        labelled = check_labels(report, split.name, split.frames.select(np.arange(count)))
        # boxes around joints that are wrong have been named
        if len(report.problems) == before:
            check_boxes(report, split.name, split.frames)
        check_meshes(report, split.name, labelled, asset, split.tips, why_not)
        frames = _with_labels(split.frames, labelled)
        rows = spread_rows(len(frames), len(frames) if wanted is None else wanted, np.random.default_rng(seed))
        check_images(report, split.name, root, frames.select(rows), split.read_masks, split.read_depth, workers)
    report.seconds = time.perf_counter() - start
    return report


def _splits(
    dataset: DatasetFormat,
    root: Path,
    report: Report,
    asset: HandAsset,
    tips: TipConvention,
    sample: int | None,
    seed: int,
    workers: int | None,
) -> Iterator[Split]:
    if dataset.read is not None:
        return strict.inspect(root, dataset, dataset.read, report)
    if dataset.name == "packed":
        return packed.inspect(root, report, sample, seed, workers)
    if dataset.name == "freihand":
        return freihand.inspect(root, asset, report)
    if dataset.name == "folder":
        return folder.inspect(root, report, tips, workers)
    if dataset in VERSIONS.values() and isinstance(dataset, Benchmark):
        return ho3d.inspect(root, dataset, report, workers)
    raise InputError(f"{root} is {dataset.title}, which has no reader: give its record `read` and `splits`")


def _with_labels(frames: FrameTable, labelled: FrameTable) -> FrameTable:
    """The frames with the checked joints, which repeat where there are more images than samples."""
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
    if made_with == template_md5(asset):
        return ""
    return (
        "joints were not compared with the mesh of pose and betas: the stand-in hand is not the hand of these labels; "
        "give --mano_path"
    )
