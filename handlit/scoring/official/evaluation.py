"""The official scoring of HO-3D and FreiHAND: what each benchmark expects, and its numbers computed fast."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from handlit.formats.benchmark import F_THRESHOLDS, Protocol
from handlit.geometry.alignment import Similarity, align_root, align_scale_translation, fit_similarity, procrustes
from handlit.hand.asset import NUM_VERTICES
from handlit.scoring.official.error_statistics import ErrorStatistics
from handlit.scoring.official.f_score import f_scores

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
        errors: Per kind of error (keys of `Protocol.error_keys` and `EXTRA_ERRORS`) its statistics.
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
    protocol: Protocol,
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

    def step(start: int) -> _Step:
        joints, vertices, true, true_mesh = (
            torch.from_numpy(np.asarray(array[start : start + CHUNK], dtype=np.float64)) for array in arrays
        )
        return _evaluate_frames(joints, vertices, true, true_mesh, protocol, kinds)

    f_raw, f_aligned, mirrored = [], [], []
    with _one_thread_an_operation(), ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for done in pool.map(step, range(0, len(true_joints), CHUNK)):  # in order, so that sums do not vary
            for kind, statistics in errors.items():
                statistics.add(done.distances[kind])
            f_raw.append(done.f_raw)
            f_aligned.append(done.f_aligned)
            mirrored.append(done.mirrored)

    official: dict[str, float] = {}
    for kind, key in protocol.error_keys.items():
        known = kind in errors
        official[f"{key}_mean3d"] = 100 * errors[kind].mean() if known else NOT_COMPARABLE
        official[f"{key}_auc3d"] = errors[kind].area_under_curve() if known else NOT_COMPARABLE
    scores = {"f_score": np.concatenate(f_raw), "f_al_score": np.concatenate(f_aligned)}
    frame_scores = {
        f"{key}_{1000 * threshold:.0f}": frames[:, position]
        for position, threshold in enumerate(F_THRESHOLDS)
        for key, frames in scores.items()
    }
    official |= {key: float(frames.mean()) for key, frames in frame_scores.items()}
    papers = {_paper_name(kind): 1000 * statistics.mean() for kind, statistics in errors.items()}
    papers["mirrored_share"] = float(np.concatenate(mirrored).mean())
    return Evaluation(official, papers, errors, frame_scores)


@contextmanager
def _one_thread_an_operation() -> Iterator[None]:
    """Keep torch from splitting operations this small over threads, which costs several times its gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Step(NamedTuple):
    """A few frames' results: (B, K) distances by kind of error, (B, 2) F-scores, (B,) whether the fit is a mirror."""

    distances: dict[str, np.ndarray]
    f_raw: np.ndarray
    f_aligned: np.ndarray
    mirrored: np.ndarray


def _evaluate_frames(
    joints: torch.Tensor,
    vertices: torch.Tensor,
    true: torch.Tensor,
    true_mesh: torch.Tensor,
    protocol: Protocol,
    kinds: Sequence[str],
) -> _Step:
    joint_fit, aligned_joints, proper_joints = _procrustes_both_ways(joints, true)
    aligned = {
        "joints": joints,
        "joints_procrustes": aligned_joints,
        "joints_procrustes_proper": proper_joints,
        "joints_root": align_root(joints) + true[:, :1],
    }
    if protocol.scale_joint is not None:
        aligned["joints_scale_translation"] = align_scale_translation(joints, true, protocol.scale_joint)
    if "vertices" in kinds:
        _, aligned_mesh, proper_mesh = _procrustes_both_ways(vertices, true_mesh)
        aligned |= {
            "vertices": vertices,
            "vertices_procrustes": aligned_mesh,
            "vertices_procrustes_proper": proper_mesh,
            "vertices_root": vertices - joints[:, :1] + true[:, :1],
        }
    else:
        aligned_mesh = _apply_joint_fit(joint_fit, joints, true, vertices)
    targets = {kind: true if kind.startswith("joints") else true_mesh for kind in kinds}
    f_raw, f_aligned = (
        np.stack([f_scores(a, b, F_THRESHOLDS) for a, b in zip(true_mesh.numpy(), cloud.numpy(), strict=True)])
        for cloud in (vertices, aligned_mesh)
    )
    distances = {kind: (aligned[kind] - targets[kind]).norm(dim=-1).numpy() for kind in kinds}
    return _Step(distances, f_raw, f_aligned, _is_mirrored(joint_fit).numpy())


def _procrustes_both_ways(source: torch.Tensor, target: torch.Tensor) -> tuple[Similarity, torch.Tensor, torch.Tensor]:
    """The fit that admits mirror images, the points it gives, and the points without mirror images."""
    fit = fit_similarity(source, target, reflections=True)
    aligned = fit.apply(source)
    mirrored = _is_mirrored(fit)
    proper = aligned.clone()
    proper[mirrored] = procrustes(source[mirrored], target[mirrored])
    return fit, aligned, proper


def _is_mirrored(fit: Similarity) -> torch.Tensor:
    return torch.linalg.det(fit.rotation) < 0


def _apply_joint_fit(
    fit: Similarity, joints: torch.Tensor, true_joints: torch.Tensor, vertices: torch.Tensor
) -> torch.Tensor:
    """Move vertices by the joints' fit as the official scripts do for meshes of another topology.

    They turn and scale the vertices about their own centre and then shift by the difference of the joints' centres;
    the scale is the one that belongs to joints of unit norm.
    """
    centre = vertices.mean(1, keepdim=True)
    norm = torch.linalg.matrix_norm(joints - joints.mean(1, keepdim=True)) + 1e-8
    turned = (vertices - centre) @ fit.rotation.transpose(1, 2) * (fit.scale * norm)[:, None, None]
    return turned + centre + true_joints.mean(1, keepdim=True) - joints.mean(1, keepdim=True)


def _paper_name(kind: str) -> str:
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
