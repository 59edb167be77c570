"""The public ground truth of a benchmark's evaluation split, and which benchmark it belongs to."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.formats.benchmark import Benchmark
from handlit.formats.frame_table import FrameTable
from handlit.formats.registry import benchmark_named, benchmarks, marked, most_likely
from handlit.formats.scenes import Scenes
from handlit.formats.truth_files import TruePoints, read_json_truth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroundTruth:
    """The true hands of an evaluation split, in the benchmark's axes and joint order.

    Attributes:
        benchmark: The benchmark.
        joints: (N, 21, 3) metres.
        vertices: (N, 778, 3) metres.
        names: Name of each image in the order of a submission, e.g. ``"SM1/0000"``; running numbers where the
            benchmark has none.
        source: Where it was read from.
    """

    benchmark: Benchmark
    joints: np.ndarray
    vertices: np.ndarray
    names: list[str]
    source: Path

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def sequences(self) -> list[str] | None:
        """Sequence of each image, or None where the images do not come in sequences."""
        if not all("/" in name for name in self.names):
            return None
        return [name.rsplit("/", 1)[0] for name in self.names]

    def open_scenes(self) -> Scenes:
        """What lies beside the ground truth: a zip archive or bare JSON files have nothing."""
        root = self.source if self.source.is_dir() else self.source.parent
        return self.benchmark.scenes(root, self.names)


def read_ground_truth(path: str | Path, protocol: str = "auto") -> GroundTruth:
    """Read the public ground truth of a benchmark.

    Args:
        path: A dataset's root. For HO-3D and FreiHAND also any folder or zip archive that holds
            ``evaluation_xyz.json`` and ``evaluation_verts.json``, or one of these two files.
        protocol: Name of the benchmark, or "auto" to recognise it: by the files in the folder, by the axes (on which
            side of the camera the hands are), and where these leave several, by images and their number.

    Returns:
        The ground truth.

    Raises:
        InputError: A file is missing or malformed, or the named benchmark contradicts the files.
    """
    path = Path(path)
    if protocol != "auto":
        benchmark = benchmark_named(protocol)
        points = benchmark.read_truth(path)
        if not benchmark.is_in_front(points.joints):
            raise InputError(f"{path}: {_contradiction(path, points, [benchmark])}; name the right one or use auto")
    else:
        by_files = [item for item in marked(path) if isinstance(item, Benchmark)]
        candidates = by_files or [item for item in benchmarks().values() if item.read_truth is read_json_truth]
        points = candidates[0].read_truth(path)
        fitting = [item for item in candidates if item.is_in_front(points.joints)]
        if not fitting:
            raise InputError(f"{path}: {_contradiction(path, points, candidates)}")
        benchmark = most_likely(fitting, path, len(points.joints))
    names = points.names or [f"{number:08d}" for number in range(len(points.joints))]
    return GroundTruth(benchmark, points.joints, points.vertices, names, path)


def with_ground_truth(frames: FrameTable, root: Path, benchmark: Benchmark) -> FrameTable:
    """The frames of an evaluation split with joints and vertices of its public ground truth.

    Raises:
        InputError: The files are missing, damaged or do not fit the frames.
    """
    truth = read_ground_truth(root, benchmark.name)
    if truth.names != frames.keys.tolist():
        raise InputError(
            f"{root}: the ground truth of {benchmark.title} holds {len(truth)} hands, the evaluation split "
            f"{len(frames)} images, and their names must be the same, in the same order"
        )
    joints, vertices = benchmark.joints_from_official(truth.joints), benchmark.points_to_official(truth.vertices)
    return replace(frames, joints_cam=joints, vertices_cam=vertices)


def _contradiction(path: Path, points: TruePoints, expected: list[Benchmark]) -> str:
    """How the axes of ground truth contradict the benchmarks that it was taken for."""
    axes = {"opencv": "OpenCV axes (z > 0)", "opengl": "OpenGL axes (z < 0)"}
    depth = points.joints[:, :, 2].mean(axis=1)
    expectation = " or ".join(f"{item.title} in {axes[item.axes]}" for item in expected)
    # those that have such files
    others = [item for item in benchmarks().values() if item.read_truth is expected[0].read_truth]
    others = [item for item in others if item not in expected and item.is_in_front(points.joints)]
    hint = f"; this looks like the ground truth of {most_likely(others, path, len(depth)).title}" if others else ""
    return (
        f"expected the ground truth of {expectation}, but {(depth > 0).mean():.0%} of the hands are at z > 0 (median "
        f"{np.median(depth):.2f} m){hint}"
    )
