"""Images a second of the synthesis: `python -m scripts.benchmarks.synthesis [--workers 2] [--picture FILE.png]`."""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from handlit.data.synthesis import PRESETS, synthesise
from handlit.formats.images import read_image
from scripts.benchmarks.measure import Figure

COLUMNS, TILE = 5, (168, 126)
#: Frames above which the start of the workers can be told from their work.
LONG = 50


def contact_sheet(root: Path, picture: Path) -> None:
    """Write a few training images, one a sequence and evenly spread, side by side."""
    folders = sorted((root / "train").iterdir(), key=lambda folder: int(folder.name.removeprefix("SYN")))
    count = min(len(folders), 4 * COLUMNS) // COLUMNS * COLUMNS
    if count == 0:
        raise SystemExit(f"a picture needs at least {COLUMNS} sequences, got {len(folders)}: raise --frames")
    chosen = np.linspace(0, len(folders) - 1, count).round().astype(int)
    images = [read_image(min((folders[i] / "rgb").iterdir())) for i in chosen]
    tiles = [cv2.resize(image, TILE, interpolation=cv2.INTER_AREA)[..., ::-1] for image in images]
    sheet = np.vstack([np.hstack(tiles[row : row + COLUMNS]) for row in range(0, count, COLUMNS)])
    # the grain is in the lowest bits: without it the picture packs far better
    cv2.imwrite(str(picture), np.bitwise_and(sheet, 0xFC), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main(args: Sequence[str] | None = None) -> list[Figure]:
    """Time whole datasets into a temporary folder, the start of the workers included and not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500, help="at least 2")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="also write a contact sheet to this image")
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        seconds, cpu = {}, {}
        for frames in (1, options.frames):
            out = Path(folder) / str(frames)
            start, spent = time.perf_counter(), cpu_seconds()
            synthesise(out, "ho3d_v3", frames, 0, options.seed, options.preset, options.workers, progress=frames > 1)
            seconds[frames], cpu[frames] = time.perf_counter() - start, cpu_seconds() - spent
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        if options.picture:
            contact_sheet(out, options.picture)
    more = options.frames - 1
    # a small run may be over as fast as a run of one image
    rate = more / max(seconds[options.frames] - seconds[1], 1e-3)
    cost_ms = 1000 * (cpu[options.frames] - cpu[1]) / more
    kilobytes = size / options.frames / 1000
    print(
        f"{options.frames} frames, {options.workers} workers: {options.frames / seconds[options.frames]:.1f} images/s; "
        f"without the start of {seconds[1]:.1f} s: {rate:.1f} images/s, "
        f"{cost_ms:.1f} ms of processor time an image; {kilobytes:.0f} kB a frame"
    )
    what = f"{options.frames} frames, {options.workers} workers"
    figures = [
        Figure(f"{what}, their start included", options.frames / seconds[options.frames], "images/s"),
        Figure("start of the workers", seconds[1], "s"),
        Figure("a frame", kilobytes, "kB"),
    ]
    if options.frames > LONG:
        figures.append(Figure(f"{what}, after their start", rate, "images/s"))
        figures.append(Figure("processor time of an image", cost_ms, "ms"))
    return figures


def cpu_seconds() -> float:
    """Processor time of this process and of its finished workers."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
