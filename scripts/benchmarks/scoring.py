"""Time the official metrics against the literal frame-by-frame definition, and reading and writing of submissions.

python -m scripts.benchmarks.scoring                       # metrics, ratio to the literal loop
python -m scripts.benchmarks.scoring --submission 11524    # also a submission of HO-3D v2's size, zip to report
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import torch
from scipy.linalg import orthogonal_procrustes

from handlit.formats.ho3d import HO3D_V2
from handlit.formats.truth_files import LIST_FILE, VERTS_FILE, XYZ_FILE
from handlit.scoring.official.evaluation import evaluate
from scripts.benchmarks.measure import Figure, in_turns, medians

PROTOCOL = HO3D_V2
#: Frames that `evaluate` is timed on: it works on blocks of 64 in threads. The loop takes equally long for each.
EVALUATED_FRAMES = 1024


def make_hands(count: int, noise_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Joints and vertices (benchmark convention) of one fixed cloud of a hand's size, moved and with noise."""
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(799, 3))
    cloud *= np.array([0.09, 0.04, 0.02]) / np.linalg.norm(cloud, axis=1, keepdims=True)
    shift = rng.uniform([-0.1, -0.1, -0.8], [0.1, 0.1, -0.4], (count, 1, 3))
    points = cloud + shift + np.random.default_rng(1).normal(0, noise_m or 1e-12, (count, 799, 3))
    return points[:, :21], points[:, 21:]


def literal_loop(
    joints: np.ndarray, vertices: np.ndarray, true_joints: np.ndarray, true_vertices: np.ndarray, by_point: bool
) -> None:
    """The work of the official script: one frame at a time, nearest neighbours by brute force, curves by point.

    With ``by_point`` neighbours are looked for one point at a time, otherwise in one array of all pairs.
    """
    errors: dict[str, list[np.ndarray]] = {"xyz": [], "xyz_al": [], "mesh": [], "mesh_al": []}
    for xyz, verts, true_xyz, true_verts in zip(joints, vertices, true_joints, true_vertices, strict=True):
        aligned = []
        for predicted, true in ((xyz, true_xyz), (verts, true_verts)):
            size, true_size = (np.linalg.norm(points - points.mean(0)) + 1e-8 for points in (predicted, true))
            unit = (predicted - predicted.mean(0)) / size
            rotation, scale = orthogonal_procrustes((true - true.mean(0)) / true_size, unit)
            aligned.append(unit @ rotation.T * scale * true_size + true.mean(0))
        errors["xyz"].append(np.linalg.norm(xyz - true_xyz, axis=1))
        errors["xyz_al"].append(np.linalg.norm(aligned[0] - true_xyz, axis=1))
        errors["mesh"].append(np.linalg.norm(verts - true_verts, axis=1))
        errors["mesh_al"].append(np.linalg.norm(aligned[1] - true_verts, axis=1))
        for cloud in (verts, aligned[1]):
            for threshold in (0.005, 0.015):
                if by_point:
                    recall = [np.linalg.norm(true_verts - point, axis=1).min() < threshold for point in cloud]
                    precision = [np.linalg.norm(cloud - point, axis=1).min() < threshold for point in true_verts]
                    _ = np.mean(recall), np.mean(precision)
                else:
                    distances = np.linalg.norm(true_verts[:, None] - cloud[None], axis=2)
                    _ = (distances.min(0) < threshold).mean(), (distances.min(1) < threshold).mean()
    for values in errors.values():
        for point in np.array(values).T:
            _ = [np.mean((point <= threshold).astype(float)) for threshold in np.linspace(0, 0.05, 100)]


def time_metrics(frames: int, evaluated: int, repeats: int) -> list[Figure]:
    """Print milliseconds a frame of both ways and their ratio."""
    many = (*make_hands(evaluated, 0.004), *make_hands(evaluated, 0.0))
    joints, vertices, true_joints, true_vertices = (array[:frames] for array in many)
    few = (joints, vertices, true_joints, true_vertices)
    seconds = in_turns(
        {
            "metrics": lambda: evaluate(*many, PROTOCOL),
            "literal loop, point by point": lambda: literal_loop(*few, by_point=True),
            "literal loop, all pairs at once": lambda: literal_loop(*few, by_point=False),
        },
        repeats,
        torch.device("cpu"),
        warm_up=0,
    )
    measured = {
        name: 1000 * median / (evaluated if name == "metrics" else frames) for name, median in medians(seconds).items()
    }
    figures = [Figure(f"{name}, a frame", cost_ms, "ms") for name, cost_ms in measured.items()]
    for name, cost_ms in measured.items():
        print(f"{name}: {cost_ms:.2f} ms a frame, {cost_ms / measured['metrics']:.0f}x")
    return figures


def _json(arrays: Sequence[np.ndarray]) -> Iterator[bytes]:
    """The text of one list of frames, or of a list of several, with every digit of the numbers, in parts."""
    if len(arrays) > 1:
        yield b"["
    for number, array in enumerate(arrays):
        yield b",[" if number else b"["
        for start in range(0, len(array), 256):
            part = np.ascontiguousarray(array[start : start + 256])
            text = orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)
            yield (b"," if start else b"") + text[1:-1]
        yield b"]"
    if len(arrays) > 1:
        yield b"]"


def write_full_size(folder: Path, count: int) -> float:
    """Write ground truth and a submission with all digits, as other tools do; returns megabytes of its JSON."""
    predicted, true = make_hands(count, 0.004), make_hands(count, 0.0)
    for name, array in ((XYZ_FILE, true[0]), (VERTS_FILE, true[1])):
        with (folder / name).open("wb") as file:
            file.writelines(_json([array]))
    (folder / LIST_FILE).write_text("".join(f"SEQ{number // 900}/{number % 900:04d}\n" for number in range(count)))
    size = 0
    with (
        zipfile.ZipFile(folder / "pred.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("pred.json", "w", force_zip64=True) as member,
    ):
        for text in _json(predicted):
            size += member.write(text)
    return size / 1e6


def time_submission(count: int) -> list[Figure]:
    """Score a submission of full size and one of half of it, from zip to report, each in a process of its own."""
    figures = []
    for number in (count // 2, count):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            megabytes = write_full_size(folder, number)
            command = [sys.executable, "main.py", "score", str(folder / "pred.zip"), name, "--protocol", "ho3d_v2"]
            command += ["--out", str(folder / "scores")]
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            if os.waitstatus_to_exitcode(status) != 0 or not (folder / "scores" / "report.html").is_file():
                raise RuntimeError(f"scoring failed: {' '.join(command)}")
            print(
                f"{number} images, {megabytes:.0f} MB of JSON, zip to report: {seconds:.1f} s, "
                f"peak memory {usage.ru_maxrss / 1e6:.2f} GB",
                flush=True,
            )
            figures.append(Figure(f"{number} images, zip to report", seconds, "s"))
            figures.append(Figure(f"{number} images, peak memory", usage.ru_maxrss / 1e3, "MB"))
    return figures


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24, help="frames for the literal loop")
    parser.add_argument("--evaluated", type=int, default=EVALUATED_FRAMES, help="frames for handlit's metrics")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats")
    parser.add_argument("--submission", type=int, default=0, metavar="N", help="also score N images, zip to report")
    args = parser.parse_args(arguments)
    figures = time_metrics(args.frames, args.evaluated, args.repeats)
    return figures + (time_submission(args.submission) if args.submission else [])


if __name__ == "__main__":
    main()
