"""What the official scripts compute of a few frames: distances after every alignment, and F-scores.

References:
    eval.py of https://github.com/shreyashampali/ho3d (6af193c) and https://github.com/lmb-freiburg/freihand (0808a4d).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from handlit.formats.benchmark import F_THRESHOLDS, Benchmark
from handlit.geometry.alignment import Similarity, align_root, align_scale_translation, fit_similarity, procrustes
from handlit.scoring.official.f_score import f_scores


class FrameErrors(NamedTuple):
    """A few frames' results: (B, K) distances by kind of error, (B, 2) F-scores, (B,) whether the fit is a mirror."""

    distances: dict[str, np.ndarray]
    f_raw: np.ndarray
    f_aligned: np.ndarray
    mirrored: np.ndarray


def frame_errors(
    joints: torch.Tensor,
    vertices: torch.Tensor,
    true: torch.Tensor,
    true_mesh: torch.Tensor,
    protocol: Benchmark,
    kinds: Sequence[str],
) -> FrameErrors:
    """Compare predictions with the truth.

    Args:
        joints: (B, 21, 3) metres, float64, the benchmark's axes and joint order.
        vertices: (B, M, 3) metres.
        true: (B, 21, 3) metres.
        true_mesh: (B, 778, 3) metres.
        protocol: The benchmark.
        kinds: Of error, see `Evaluation.errors`; without those of vertices the meshes are not compared point by point.
    """
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
    return FrameErrors(distances, f_raw, f_aligned, _is_mirrored(joint_fit).numpy())


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
