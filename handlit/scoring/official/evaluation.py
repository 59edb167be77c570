"""The official scoring of HO-3D and FreiHAND, computed fast.

References:
    eval.py of https://github.com/shreyashampali/ho3d (6af193c) and https://github.com/lmb-freiburg/freihand (0808a4d).
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from handlit.formats.benchmark import F_THRESHOLDS, Benchmark
from handlit.hand.asset import NUM_VERTICES
from handlit.scoring.official.error_statistics import ErrorStatistics
from handlit.scoring.official.frame_errors import FrameErrors, frame_errors

#: What the benchmarks report for mesh errors when the prediction does not have the true mesh's vertices.
NOT_COMPARABLE = -1.0
#: Frames per step of `evaluate`: large enough for batched linear algebra, small enough for the cache.
CHUNK = 32
#: Threads of `evaluate`, each with steps of its own; NumPy works outside Python's lock, more than a few would queue.
MAX_THREADS = 4

#: Kinds of error that papers print beside the official ones. "proper": Procrustes without mirror images.
EXTRA_ERRORS = ("joints_root", "joints_procrustes_proper", "vertices_root", "vertices_procrustes_proper")


@dataclass(frozen=True)
class Evaluation:
    """The scores of one set of predictions.

    Attributes:
        official: Every official number under its official key, in the order of ``scores.txt``: mean errors in
            centimetres, areas and F-scores in [0, 1].
        papers: What papers print, with the unit in the name: mean errors in millimetres, and ``mirrored_share``, the
            share of frames whose best Procrustes fit of the joints is a mirror image.
        errors: Per kind of error (keys of `Benchmark.error_keys` and `EXTRA_ERRORS`) its statistics.
        frame_scores: (N,) F-scores of each frame under their official keys, e.g. ``"f_al_score_5"``.
    """

    official: dict[str, float]
    papers: dict[str, float]
    errors: dict[str, ErrorStatistics]
    frame_scores: dict[str, np.ndarray]


def evaluate(
    predicted_joints: np.ndarray,
    predicted_vertices: np.ndarray,
    true_joints: np.ndarray,
    true_vertices: np.ndarray,
    protocol: Benchmark,
) -> Evaluation:
    """All official numbers of a benchmark, equal to its own script's.

    Three things of the official scripts are kept although they surprise: Procrustes admits mirror images; with
    another number of vertices the mesh errors are -1 and the aligned F-scores use the rotation of the joints' fit, but
    its scale without the division by the predicted joints' norm; an error that is not a number counts as
    beyond every threshold. (The published script also multiplies the -1 by 100 on its way into ``scores.txt``.)

    Args:
        predicted_joints: (N, 21, 3) metres, the benchmark's axes and joint order.
        predicted_vertices: (N, M, 3) metres; M is 778 for a mesh that is compared vertex by vertex.
        true_joints: (N, 21, 3) metres.
        true_vertices: (N, 778, 3) metres.
        protocol: The benchmark.

    Returns:
        The scores.

    Raises:
        ValueError: Shapes do not fit together.
    """
    _check_shapes(predicted_joints, predicted_vertices, true_joints, true_vertices)
    comparable = predicted_vertices.shape == true_vertices.shape
    kinds = [*protocol.error_keys, *EXTRA_ERRORS]
    kinds = [kind for kind in kinds if comparable or not kind.startswith("vertices")]
    errors = {kind: ErrorStatistics(true_joints.shape[1] if "joints" in kind else NUM_VERTICES) for kind in kinds}
    arrays = (predicted_joints, predicted_vertices, true_joints, true_vertices)

    def of_frames(start: int) -> FrameErrors:
        joints, vertices, true, true_mesh = (
            torch.from_numpy(np.asarray(array[start : start + CHUNK], dtype=np.float64)) for array in arrays
        )
        return frame_errors(joints, vertices, true, true_mesh, protocol, kinds)

    f_scores: dict[str, list[np.ndarray]] = {"f_score": [], "f_al_score": []}
    mirrored = []
    with _one_thread_an_operation(), ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for done in pool.map(of_frames, range(0, len(true_joints), CHUNK)):  # in order, so that sums do not vary
            for kind, statistics in errors.items():
                statistics.add(done.distances[kind])
            f_scores["f_score"].append(done.f_raw)
            f_scores["f_al_score"].append(done.f_aligned)
            mirrored.append(done.mirrored)
    scores = {key: np.concatenate(parts) for key, parts in f_scores.items()}
    frame_scores = {
        f"{key}_{1000 * threshold:.0f}": frames[:, position]
        for position, threshold in enumerate(F_THRESHOLDS)
        for key, frames in scores.items()
    }
    papers = {paper_key(kind): 1000 * statistics.mean() for kind, statistics in errors.items()}
    papers["mirrored_share"] = float(np.concatenate(mirrored).mean())
    return Evaluation(_official_numbers(errors, frame_scores, protocol), papers, errors, frame_scores)


def _official_numbers(
    errors: dict[str, ErrorStatistics], frame_scores: dict[str, np.ndarray], protocol: Benchmark
) -> dict[str, float]:
    """Under the keys of ``scores.txt``, in their order."""
    official: dict[str, float] = {}
    for kind, key in protocol.error_keys.items():
        is_comparable = kind in errors
        official[f"{key}_mean3d"] = 100 * errors[kind].mean() if is_comparable else NOT_COMPARABLE
        official[f"{key}_auc3d"] = errors[kind].area_under_curve() if is_comparable else NOT_COMPARABLE
    return official | {key: float(frames.mean()) for key, frames in frame_scores.items()}


@contextmanager
def _one_thread_an_operation() -> Iterator[None]:
    """Keep torch from splitting operations this small over threads, which costs several times its gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def paper_key(kind: str) -> str:
    """``"vertices_procrustes_proper" -> "pa_mpvpe_proper_mm"``."""
    points, _, alignment = kind.partition("_")
    stem = "mpjpe" if points == "joints" else "mpvpe"
    return {
        "": f"{stem}_mm",
        "root": f"root_aligned_{stem}_mm",
        "procrustes": f"pa_{stem}_mm",
        "procrustes_proper": f"pa_{stem}_proper_mm",
        "scale_translation": f"scale_translation_aligned_{stem}_mm",
    }[alignment]


def _check_shapes(
    predicted_joints: np.ndarray, predicted_vertices: np.ndarray, true_joints: np.ndarray, true_vertices: np.ndarray
) -> None:
    count = len(true_joints)
    if count == 0:
        raise ValueError("there is no frame to evaluate")
    for name, array, points in (
        ("predicted joints", predicted_joints, 21),
        ("true joints", true_joints, 21),
        ("true vertices", true_vertices, NUM_VERTICES),
        ("predicted vertices", predicted_vertices, None),
    ):
        expected = (count, points or (array.shape[1] if array.ndim == 3 else "M"), 3)
        if array.shape != expected:
            raise ValueError(f"{name} must have shape {expected}, got {array.shape}")
