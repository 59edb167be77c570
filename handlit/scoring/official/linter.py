"""Looks for the usual mistakes in a submission and names them, before a server answers with centimetres of error."""

from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.findings import Finding
from handlit.formats.benchmark import Benchmark
from handlit.hand.asset import NUM_VERTICES
from handlit.scoring.official.hand_checks import check_hands, check_mesh
from handlit.scoring.official.submission import read_submission

#: Frames looked at by the checks of geometry; mistakes of convention are in all frames.
GEOMETRY_SAMPLE = 256


def lint(
    joints: np.ndarray,
    vertices: np.ndarray,
    protocol: Benchmark,
    expected_count: int | None = None,
    mesh_frames: np.ndarray | None = None,
) -> list[Finding]:
    """Check a submission without looking at the ground truth.

    Args:
        joints: (N, 21, 3) in the benchmark's axes and joint order, as submitted.
        vertices: (N, M, 3) as submitted.
        protocol: The benchmark it is meant for.
        expected_count: Number of images of the evaluation split; by default the benchmark's official number.
        mesh_frames: (K,) sorted positions of the frames that `vertices` holds, for callers that do not keep all meshes
            in memory and know that there are N finite ones; see `sample_frames`.

    Returns:
        The findings, errors first. An empty list is no guarantee.
    """
    if joints.ndim != 3 or joints.shape[1:] != (21, 3) or vertices.ndim != 3 or vertices.shape[2] != 3:
        shapes = f"joints are {joints.shape} and vertices {vertices.shape}"
        fix = f"Write N x 21 x 3 joints and N x {NUM_VERTICES} x 3 vertices."
        return [Finding("wrong_shape", "error", shapes, fix)]
    has_all = mesh_frames is None
    findings = _check_counts(len(joints), len(vertices) if has_all else len(joints), vertices, protocol, expected_count)
    finite = _finite(joints, vertices if has_all and len(vertices) == len(joints) else None)
    usable = np.flatnonzero(finite & np.any(joints != 0, axis=(1, 2)))
    findings += _check_values(finite, usable) + _check_repeats(joints)
    if len(usable):
        chosen = sample_frames(usable)
        findings += check_hands(joints, usable, chosen, protocol)
        if mesh_frames is not None:
            rows = np.flatnonzero(np.isin(mesh_frames, usable))
            findings += check_mesh(joints[mesh_frames[rows]], vertices[rows], protocol) if len(rows) else []
        elif len(vertices) == len(joints) and vertices.shape[1]:
            findings += check_mesh(joints[chosen], vertices[chosen], protocol)
    return sorted(findings, key=lambda finding: finding.severity)


def lint_file(path: str | Path, protocol: Benchmark, expected_count: int | None = None) -> list[Finding]:
    """Check a submission file as it is, structure and content, without looking at the ground truth.

    Args:
        path: What `read_submission` reads.
        protocol: The benchmark it is meant for.
        expected_count: Number of images of the evaluation split; by default the benchmark's official number.

    Returns:
        The findings, errors first; a file that cannot be read is one of them.
    """
    try:
        submission = read_submission(path, expected_count)
    except InputError as error:
        return [Finding("unreadable", "error", str(error), "Write one pred.json, [joints, vertices], into a zip.")]
    return lint(submission.joints, submission.vertices, protocol, expected_count)


def sample_frames(frames: np.ndarray) -> np.ndarray:
    """At most `GEOMETRY_SAMPLE` of the frames, evenly spread: mistakes of convention are in all of them."""
    return frames[np.unique(np.linspace(0, len(frames) - 1, GEOMETRY_SAMPLE).astype(int))]


def _check_counts(
    num_joints: int, num_vertices: int, vertices: np.ndarray, protocol: Benchmark, expected_count: int | None
) -> list[Finding]:
    findings = []
    expected = protocol.num_samples if expected_count is None else expected_count
    for name, count in (("joints", num_joints), ("vertices", num_vertices)):
        if count != expected:
            hint = (
                "Distributed samplers pad the last batch: keep each image once, in the order of the evaluation list."
                if expected < count < expected + 64
                else "Predict each image of the evaluation list once, in its order."
            )
            findings.append(Finding("wrong_count", "error", f"{name} of {count} images, expected {expected}", hint))
    if vertices.shape[1] != NUM_VERTICES:
        findings.append(
            Finding(
                "other_topology",
                "warning",
                f"meshes have {vertices.shape[1]} vertices, not MANO's {NUM_VERTICES}",
                "Mesh errors will be reported as -1; write MANO vertices to get them.",
            )
        )
    return findings


def _finite(joints: np.ndarray, vertices: np.ndarray | None) -> np.ndarray:
    """(N,) whether a prediction is finite, a few at a time."""
    finite = np.isfinite(joints).all(axis=(1, 2))
    for start in range(0, 0 if vertices is None else len(vertices), GEOMETRY_SAMPLE):
        part = slice(start, start + GEOMETRY_SAMPLE)
        finite[part] &= np.isfinite(vertices[part]).all(axis=(1, 2))  # type: ignore[index]
    return finite


def _check_values(finite: np.ndarray, usable: np.ndarray) -> list[Finding]:
    findings = []
    if not finite.all():
        bad = np.flatnonzero(~finite)
        message = f"{len(bad)} predictions hold NaN or infinity, the first is number {bad[0]}"
        fix = "Look for divergence in the network; servers reject such files."
        findings.append(Finding("not_finite", "error", message, fix))
    if finite.any() and len(usable) == 0:
        message = "every joint of every image is zero"
        findings.append(Finding("all_zero", "error", message, "Write the network's predictions."))
    return findings


def _check_repeats(joints: np.ndarray) -> list[Finding]:
    flat = np.ascontiguousarray(joints).reshape(len(joints), -1)
    _, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[inverse.reshape(-1)] != np.arange(len(joints)))
    if len(repeats) == 0:
        return []
    example = repeats[0]
    return [
        Finding(
            "repeated_predictions",
            "warning",
            f"{len(repeats)} predictions are exact copies of another, e.g. number {example} of number "
            f"{first[inverse.reshape(-1)[example]]}",
            "Two images never give the same numbers: look for padding by a distributed sampler, a frozen batch, or a "
            "constant prediction.",
        )
    ]
