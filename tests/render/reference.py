"""Slow float64 references that share nothing with the package: every face against every pixel or point."""

from dataclasses import dataclass

import numpy as np


@dataclass
class ReferenceImage:
    face: np.ndarray  # (H, W), -1 on the background
    depth: np.ndarray  # (H, W), infinity on the background
    weights: np.ndarray  # (H, W, 3), barycentric on the face in space
    certain: np.ndarray  # (H, W), no edge within 1e-3 pixels of the centre and no two surfaces within 1e-6 m there


def crossings(origin_rays: np.ndarray, triangle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve ``z * ray = w0 a + w1 b + w2 c`` with ``sum(w) = 1``: weights (N, 3) and z (N,) for rays with z = 1."""
    matrix = triangle.T  # columns are the corners
    if abs(np.linalg.det(matrix)) < 1e-14:
        return np.full((len(origin_rays), 3), -1.0), np.full(len(origin_rays), np.inf)
    unscaled = np.linalg.solve(matrix, origin_rays.T).T  # w / z
    total = unscaled.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return unscaled / total[:, None], 1 / total


def draw(vertices: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> ReferenceImage:
    height, width = size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3).astype(np.float64)
    rays = np.linalg.solve(intrinsics.astype(np.float64), pixels.T).T
    count = height * width
    face, depth = np.full(count, -1), np.full(count, np.inf)
    weights, certain = np.zeros((count, 3)), np.ones(count, dtype=bool)
    for number, corners in enumerate(faces):
        triangle = vertices[corners].astype(np.float64)
        w, z = crossings(rays, triangle)
        inside = (w >= 0).all(axis=1) & (z > 0)
        projected = triangle @ intrinsics.T.astype(np.float64)
        certain &= edge_distance(projected[:, :2] / projected[:, 2:], pixels[:, :2]) > 1e-3
        certain &= ~(inside & (np.abs(z - depth) < 1e-6))
        nearer = inside & (z < depth)
        face[nearer], depth[nearer], weights[nearer] = number, z[nearer], w[nearer]
    return ReferenceImage(face.reshape(size), depth.reshape(size), weights.reshape(*size, 3), certain.reshape(size))


def edge_distance(triangle: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) distance of points to the outline of a triangle in the plane."""
    distances = []
    for start, end in zip(triangle, np.roll(triangle, -1, axis=0), strict=True):
        run = end - start
        share = ((points - start) @ run / max(run @ run, 1e-30)).clip(0, 1)
        distances.append(np.linalg.norm(points - start - share[:, None] * run, axis=1))
    return np.min(distances, axis=0)


def hidden_by(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(N,) by how many metres along z the nearest crossing face lies in front of each point; -infinity for none."""
    rays = points.astype(np.float64) / points[:, 2:]
    nearest = np.full(len(points), np.inf)
    for corners in faces:
        w, z = crossings(rays, vertices[corners].astype(np.float64))
        inside = (w >= 0).all(axis=1) & (z > 0)
        nearest = np.where(inside, np.minimum(nearest, z), nearest)
    return points[:, 2] - nearest
