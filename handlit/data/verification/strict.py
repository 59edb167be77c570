"""Looks at a dataset through the strict reader of its format: what that refuses is one finding for each split."""

from collections.abc import Callable, Iterator
from pathlib import Path

from handlit.data.verification.images import DAMAGE
from handlit.data.verification.report import Report
from handlit.data.verification.split import Split
from handlit.formats.benchmark import Benchmark, DatasetFormat
from handlit.formats.frame_table import FrameTable


def inspect(
    root: Path, dataset: DatasetFormat, read: Callable[[Path, str], FrameTable], report: Report
) -> Iterator[Split]:
    """The splits that can be read; what is wrong with the others goes into the report.

    Args:
        root: The dataset's root.
        dataset: Its format.
        read: The format's reader.
        report: Takes counts and findings.
    """
    for split in dataset.splits:
        try:
            frames = read(root, split)
        except DAMAGE as error:
            report.add("damaged lists", split, str(error))
            continue
        report.counts[split] = {"listed": len(frames)}
        released = dataset.released.get(split) if isinstance(dataset, Benchmark) else None
        if released is not None and len(frames) != released:
            text = f"{len(frames):,} images are listed; the official release of {dataset.title} has {released:,}"
            report.add("size", split, text, severity="note")
        yield Split(split, frames, dataset.tips, dataset.read_masks, dataset.read_depth)
