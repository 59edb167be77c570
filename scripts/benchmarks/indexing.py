"""Opening a large HO-3D: `python -m scripts.benchmarks.indexing [--frames 83000] [--workers 2]`.

Writes a tree of annotations into a temporary folder (about 350 MB for 83,000 frames; one picture, linked), and measures
the first start, which builds the index, later starts, and the memory that each loader process has for itself.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from torch.utils.data import DataLoader

from handlit.data.loading.dataset import collate_read, start_worker
from scripts.benchmarks.measure import Figure

if TYPE_CHECKING:
    from handlit.data.ho3d import HO3D

PER_SEQUENCE = 1500


def write_tree(root: Path, frames: int) -> None:
    """Training frames in v3's layout; the annotations are without the fields about contact."""
    from handlit.data.synthesis.ho3d_writer import encode_meta

    rng = np.random.default_rng(0)
    metas = [encode_meta(random_meta(rng)) for _ in range(200)]
    small = cv2.resize(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), (640, 480))
    jpeg = cv2.imencode(".jpg", small)[1].tobytes()
    names = []
    for first in range(0, frames, PER_SEQUENCE):
        sequence = f"SYN{first // PER_SEQUENCE + 1}0"
        folder = root / "train" / sequence
        for kind in ("rgb", "depth", "seg", "meta"):
            (folder / kind).mkdir(parents=True)
        # a link a file: a file system bounds how many one file may have
        picture = folder / "picture"
        picture.write_bytes(jpeg)
        for frame in range(min(PER_SEQUENCE, frames - first)):
            name = f"{frame:04d}"
            names.append(f"{sequence}/{name}")
            (folder / "meta" / f"{name}.pkl").write_bytes(metas[(first + frame) % len(metas)])
            for kind, suffix in (("rgb", ".jpg"), ("depth", ".png"), ("seg", ".png")):
                (folder / kind / f"{name}{suffix}").hardlink_to(picture)
    (root / "train.txt").write_text("\n".join(names) + "\n")


def random_meta(rng: np.random.Generator) -> dict[str, object]:
    """An annotation whose hand is in view."""
    return {
        "handJoints3D": (rng.normal(0, 0.04, (21, 3)) + (0, 0, -0.6)).astype(np.float32),
        "handPose": rng.normal(0, 0.3, 48).astype(np.float32),
        "handBeta": rng.normal(0, 1, 10).astype(np.float32),
        "handTrans": rng.normal(0, 0.1, 3).astype(np.float32),
        "camMat": np.array([[614.6, 0, 320], [0, 614.4, 240], [0, 0, 1]], dtype=np.float32),
        "objRot": rng.normal(0, 1, (3, 1)).astype(np.float32),
        "objTrans": np.array([0, 0, -0.6], dtype=np.float32),
        "objName": "003_cracker_box",
        "objLabel": 3,
        "objCorners3D": (rng.normal(0, 0.1, (8, 3)) + (0, 0, -0.6)).astype(np.float32),
        "objCorners3DRest": rng.normal(0, 0.1, (8, 3)).astype(np.float32),
        "camIDList": ["0"],
    }


def start(root: Path, workers: int) -> "tuple[HO3D, float]":
    """A data module that is ready to train, and the seconds it took."""
    # spawned loader processes import this file but, as under the command line, not the data modules
    from handlit.data.ho3d import HO3D

    data = HO3D(str(root), image_size=224, batch_size=32, num_workers=workers, val_fraction=0)
    begin = time.perf_counter()
    data.setup("fit")
    return data, time.perf_counter() - begin


def own_memory(process: int) -> float:
    """Megabytes that no other process shares (USS)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def loader_memory(data: "HO3D", context: str, workers: int, count: int) -> list[float]:
    """What each loader process holds of its own after some random batches."""
    loader = DataLoader(
        data.datasets["train"],
        batch_size=32,
        sampler=list(islice(data.training_sampler(), 32 * count)),
        num_workers=workers,
        collate_fn=collate_read,
        worker_init_fn=start_worker,
        multiprocessing_context=context,
    )
    batches = iter(loader)
    for _ in islice(batches, count):
        pass
    memory = [own_memory(process.pid) for process in batches._workers]  # type: ignore[attr-defined]
    # nothing is left, and nothing in flight: the processes end in order
    assert next(batches, None) is None
    return memory


def main(args: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=83_000)
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    parser.add_argument("--batches", type=int, default=60, help="batches of 32 before memory is measured")
    parser.add_argument("--small", type=int, default=3000, help="frames of a tree whose index is next to nothing")
    parser.add_argument("--contexts", nargs="+", choices=("fork", "spawn"), default=["fork", "spawn"])
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        root, small = Path(folder) / "large", Path(folder) / "small"
        write_tree(small, options.small)
        write_tree(root, options.frames)
        _, cold = start(root, options.workers)
        size = sum(path.stat().st_size for path in (root / ".handlit").rglob("*") if path.is_file())
        warm = [start(root, options.workers)[1] for _ in range(5)]
        print(
            f"{options.frames} frames: first start {cold:.1f} s, later ones {statistics.median(warm):.2f} s "
            f"({min(warm):.2f} to {max(warm):.2f}, files in the system's cache); index {size / 2**20:.0f} MB"
        )
        figures = [
            Figure(f"{options.frames} frames, first start", cold, "s"),
            Figure(f"{options.frames} frames, later start", statistics.median(warm), "s"),
            Figure(f"{options.frames} frames, index", size / 2**20, "MB"),
        ]
        for context in options.contexts:
            own, without = (
                statistics.mean(
                    loader_memory(start(tree, options.workers)[0], context, options.workers, options.batches)
                )
                for tree in (root, small)
            )
            print(
                f"{context}: {own:.0f} MB of its own for each loader process after {options.batches} random batches "
                f"of 32, {without:.0f} MB with {options.small} frames"
            )
            figures.append(Figure(f"own memory of a loader process, {context}", own, "MB"))
            figures.append(Figure(f"the same with {options.small} frames", without, "MB"))
    return figures


if __name__ == "__main__":
    main()
