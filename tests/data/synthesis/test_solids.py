"""Solids: their exact distances against their own meshes, and their meshes against themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from handlit.data.synthesis.solids import SOLID_KINDS, make_box, sample_solid, to_obj


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_mesh_is_a_closed_solid_with_outward_normals(kind: Any) -> None:
    solid = sample_solid(kind, np.random.default_rng(0))
    mesh = trimesh.Trimesh(solid.vertices, solid.faces, process=False)
    mesh.merge_vertices(merge_tex=True, merge_norm=True, digits_vertex=9)
    mesh.update_faces(mesh.nondegenerate_faces())
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert np.einsum("fc,fc->f", solid.normals[solid.faces[:, 0]], _face_normals(solid)).min() > 0.5
    assert np.allclose(np.linalg.norm(solid.normals, axis=1), 1)
    assert solid.uv.min() >= 0
    assert solid.uv.max() <= 1


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_bounding_box_is_centred_and_tight(kind: Any) -> None:
    solid = sample_solid(kind, np.random.default_rng(1))
    np.testing.assert_allclose(solid.vertices.max(axis=0), solid.half_extents, atol=1e-12)
    np.testing.assert_allclose(solid.vertices.min(axis=0), -solid.half_extents, atol=1e-12)
    assert {tuple(corner) for corner in np.sign(solid.corners)} == {
        (x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)
    }


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_distance_agrees_with_a_brute_force_search_of_the_surface(kind: Any) -> None:
    rng = np.random.default_rng(2)
    solid = sample_solid(kind, rng)
    points = rng.uniform(-1.4, 1.4, size=(200, 3)) * solid.half_extents
    surface, distance = solid.closest_surface(points)
    np.testing.assert_allclose(np.linalg.norm(points - surface, axis=1), np.abs(distance), atol=1e-9)
    np.testing.assert_allclose(solid.closest_surface(surface)[1], 0, atol=1e-9)

    triangles = solid.vertices[solid.faces]
    weights = rng.dirichlet(np.ones(3), size=(40_000,))
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    samples = np.einsum("nk,nkd->nd", weights, triangles[rng.choice(len(area), 40_000, p=area / area.sum())])
    brute = np.array([np.linalg.norm(samples - point, axis=1).min() for point in points])
    # the samples are up to 1 mm apart, and the mesh is up to 1 % of the radius inside the exact surface
    np.testing.assert_allclose(np.abs(distance), brute, atol=2e-3)

    mesh = trimesh.Trimesh(solid.vertices, solid.faces, process=False)
    crossings = _crossings(mesh.triangles, points)
    clear = np.abs(distance) > 1e-3
    np.testing.assert_array_equal((distance < 0)[clear], (crossings % 2 == 1)[clear])


def test_box_distances_by_hand() -> None:
    box = make_box(np.array([0.01, 0.02, 0.03]))
    surface, distance = box.closest_surface(np.array([[0.013, 0.024, 0.0], [0.008, 0.0, 0.0], [0.0, 0.0, -0.05]]))
    np.testing.assert_allclose(distance, [0.005, -0.002, 0.02])
    np.testing.assert_allclose(surface, [[0.01, 0.02, 0], [0.01, 0, 0], [0, 0, -0.03]])


def test_obj_is_read_back_by_another_reader(tmp_path: Path) -> None:
    solid = sample_solid("bottle", np.random.default_rng(3))
    (tmp_path / "textured_simple.obj").write_text(to_obj(solid))
    mesh: Any = trimesh.load(tmp_path / "textured_simple.obj", process=False, force="mesh")
    np.testing.assert_allclose(np.abs(mesh.vertices).max(axis=0), solid.half_extents, atol=1e-6)
    assert len(mesh.faces) == len(solid.faces)
    # each corner of a face: vertex, texture, normal
    lines = [line.split() for line in to_obj(solid).splitlines()]
    normals = np.array([line[1:] for line in lines if line[0] == "vn"], dtype=float)
    np.testing.assert_allclose(normals, solid.normals, atol=1e-5)
    textures = np.array([line[1:] for line in lines if line[0] == "vt"], dtype=float)
    # rows of a picture go down, texture coordinates up
    np.testing.assert_allclose(textures, np.stack([solid.uv[:, 0], 1 - solid.uv[:, 1]], axis=1), atol=1e-5)
    corners = [[corner.split("/") for corner in line[1:]] for line in lines if line[0] == "f"]
    np.testing.assert_array_equal(np.array(corners, dtype=int) - 1, np.repeat(solid.faces[..., None], 3, axis=-1))


def _face_normals(solid: Any) -> np.ndarray:
    corners = solid.vertices[solid.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _crossings(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How often a ray from each point goes through the mesh (Moeller and Trumbore)."""
    direction = np.array([0.531, 0.287, 0.797])
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    cross = np.cross(direction, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / (first * cross).sum(-1)
        counts = []
        for point in points:
            offset = point - triangles[:, 0]
            u = (offset * cross).sum(-1) * inverse
            other = np.cross(offset, first)
            v = (other @ direction) * inverse
            t = (second * other).sum(-1) * inverse
            counts.append(((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)).sum())
    return np.array(counts)
