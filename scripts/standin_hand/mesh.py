"""Remeshing of the stand-in hand's skin to an exact number of vertices, by edge splits, collapses and flips."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from handlit.hand.asset import NUM_FACES, NUM_VERTICES
from handlit.skeleton import KINEMATIC_FINGERS
from scripts.standin_hand.surface import (
    WRIST_CUT,
    chain_arc,
    finger_coordinates,
    finger_distance,
    project,
    tetrahedral_isosurface,
)

#: MANO's wrist opening has 16 vertices.
NUM_BOUNDARY = 16

#: Wanted edge length in metres along a finger; knots in bone units as in the girth profiles. Short where it bends.
_EDGE_KNOTS = np.array([0.0, 0.35, 0.75, 1.0, 1.25, 1.5, 1.8, 2.0, 2.2, 2.6, 3.0])
_EDGE_LENGTHS = np.array([6.8, 6.6, 5.6, 5.0, 5.6, 6.0, 5.3, 4.9, 5.3, 4.9, 4.0]) * 1e-3
_EDGE_PALM = 8.8e-3


def wanted_edge_length(points: np.ndarray) -> np.ndarray:
    """(N,) metres: how long the edges of the mesh should be at points on the skin, up to a common factor."""
    target = np.full(len(points), _EDGE_PALM)
    for finger in KINEMATIC_FINGERS:
        along = finger_coordinates(points, finger)[:, 0]
        length = np.interp(along, np.interp(_EDGE_KNOTS, [0, 1, 2, 3], chain_arc(finger)), _EDGE_LENGTHS)
        near = np.clip(1.5 - finger_distance(points, finger) / 0.003, 0.0, 1.0)
        target = np.minimum(target, near * length + (1.0 - near) * _EDGE_PALM)
    return target


class EditableMesh:
    """A triangle mesh under local edits that keep it manifold, with its number of boundary loops."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.points: list[np.ndarray] = list(vertices)
        self.faces: dict[int, tuple[int, int, int]] = {i: (a, b, c) for i, (a, b, c) in enumerate(faces.tolist())}
        self.around: dict[int, set[int]] = {i: set() for i in range(len(vertices))}
        for i, face in self.faces.items():
            for vertex in face:
                self.around[vertex].add(i)
        self._next_face = len(faces)

    def __len__(self) -> int:
        return len(self.around)

    def edges(self) -> np.ndarray:
        """(E, 2) sorted vertex pairs, in a fixed order."""
        faces = np.array(list(self.faces.values()))
        pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        return np.unique(pairs, axis=0)

    def boundary_edges(self) -> np.ndarray:
        """(B, 2) sorted vertex pairs that have one triangle."""
        faces = np.array(list(self.faces.values()))
        pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, count = np.unique(pairs, axis=0, return_counts=True)
        return unique[count == 1]

    def neighbours(self, vertex: int) -> set[int]:
        """The vertices that share an edge with this one."""
        return {other for face in self.around[vertex] for other in self.faces[face]} - {vertex}

    def _shared(self, a: int, b: int) -> list[int]:
        return sorted(self.around[a] & self.around[b])

    def _add(self, face: tuple[int, int, int]) -> None:
        self.faces[self._next_face] = face
        for vertex in face:
            self.around[vertex].add(self._next_face)
        self._next_face += 1

    def _remove(self, face: int) -> None:
        for vertex in self.faces.pop(face):
            self.around[vertex].discard(face)

    def _normal(self, face: tuple[int, int, int]) -> np.ndarray:
        a, b, c = (self.points[v] for v in face)
        u, v = b - a, c - a
        return np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])

    def collapse(self, keep: int, drop: int, position: np.ndarray) -> bool:
        """Merge two ends of an edge, unless that would pinch or fold the mesh. Returns whether it was done."""
        shared = self._shared(keep, drop)
        common = self.neighbours(keep) & self.neighbours(drop)
        if len(common) != len(shared) or len(self) <= 4:
            return False
        if any(len(self.around[vertex]) <= 3 for vertex in common):
            return False
        for vertex in (keep, drop):
            for face in self.around[vertex]:
                if face in shared:
                    continue
                before = self._normal(self.faces[face])
                old, self.points[vertex] = self.points[vertex], position
                after = self._normal(self.faces[face])
                self.points[vertex] = old
                if before @ after <= 0.3 * np.sqrt((before @ before) * (after @ after)):
                    return False
        for face in shared:
            self._remove(face)
        for face in sorted(self.around[drop]):
            moved = tuple(keep if vertex == drop else vertex for vertex in self.faces[face])
            self._remove(face)
            self._add(moved)  # type: ignore[arg-type]
        del self.around[drop]
        self.points[keep] = position
        return True

    def split(self, a: int, b: int) -> int:
        """Put a vertex in the middle of an edge; returns its id."""
        middle = len(self.points)
        self.points.append(0.5 * (self.points[a] + self.points[b]))
        self.around[middle] = set()
        for face in self._shared(a, b):
            vertices = self.faces[face]
            self._remove(face)
            for old in (a, b):
                self._add(tuple(middle if v == old else v for v in vertices))  # type: ignore[arg-type]
        return middle

    def flip(self, a: int, b: int, better: Callable[[int, int, int, int], bool]) -> bool:
        """Replace edge (a, b) by the other diagonal (c, d) of its two triangles if `better(a, b, c, d)`."""
        shared = self._shared(a, b)
        if len(shared) != 2:
            return False
        first = self.faces[shared[0]]
        if first[(first.index(a) + 1) % 3] != b:
            shared.reverse()
            first = self.faces[shared[0]]
        c = next(v for v in first if v not in (a, b))
        d = next(v for v in self.faces[shared[1]] if v not in (a, b))
        if self._shared(c, d) or not better(a, b, c, d):
            return False
        new = ((c, d, b), (d, c, a))
        old_normal = self._normal(first) + self._normal(self.faces[shared[1]])
        scale = np.sqrt(old_normal @ old_normal)
        for face in new:
            normal = self._normal(face)
            if normal @ old_normal <= 0.6 * scale * np.sqrt(normal @ normal):
                return False
        for old in shared:
            self._remove(old)
        for face in new:
            self._add(face)
        return True

    def compact(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (N, 3) and triangles (M, 3) without gaps in the numbering."""
        names = sorted(self.around)
        position = {name: i for i, name in enumerate(names)}
        faces = np.array([[position[v] for v in face] for face in self.faces.values()])
        return np.stack([self.points[name] for name in names]), faces


def _edge_ratio(mesh: EditableMesh, edges: np.ndarray, factor: float) -> np.ndarray:
    """Length of each edge over the target one."""
    points = np.stack(mesh.points)
    start, end = points[edges[:, 0]], points[edges[:, 1]]
    length = np.sqrt(((end - start) ** 2).sum(-1))
    return length / (factor * wanted_edge_length(0.5 * (start + end)))


def _collapse_short(mesh: EditableMesh, factor: float, limit: float, at_most: int | None = None) -> int:
    edges = mesh.edges()
    ratio = _edge_ratio(mesh, edges, factor)
    rim = {tuple(pair) for pair in mesh.boundary_edges().tolist()}
    on_rim = {vertex for pair in rim for vertex in pair}
    touched: set[int] = set()
    done = 0
    for i in np.argsort(ratio, kind="stable"):
        if ratio[i] >= limit or done == at_most:
            break
        a, b = edges[i].tolist()
        if a in touched or b in touched or (a in on_rim and b in on_rim):
            continue
        keep, drop = (b, a) if b in on_rim else (a, b)
        position = mesh.points[keep] if keep in on_rim else 0.5 * (mesh.points[a] + mesh.points[b])
        around = mesh.neighbours(keep) | mesh.neighbours(drop)
        if mesh.collapse(keep, drop, position):
            touched |= around
            done += 1
    return done


def _split_long(mesh: EditableMesh, factor: float, limit: float, at_most: int | None = None) -> None:
    edges = mesh.edges()
    ratio = _edge_ratio(mesh, edges, factor)
    rim = {tuple(pair) for pair in mesh.boundary_edges().tolist()}
    done = 0
    for i in np.argsort(-ratio, kind="stable"):
        if ratio[i] <= limit or done == at_most:
            break
        if tuple(edges[i].tolist()) not in rim:
            mesh.split(*edges[i].tolist())
            done += 1


def _thin_boundary(mesh: EditableMesh) -> None:
    """Collapse the shortest edges of the wrist's rim until it has `NUM_BOUNDARY` vertices."""
    while len(rim := mesh.boundary_edges()) > NUM_BOUNDARY:
        points = np.stack(mesh.points)
        length = ((points[rim[:, 0]] - points[rim[:, 1]]) ** 2).sum(-1)
        for i in np.argsort(length, kind="stable"):
            a, b = rim[i].tolist()
            if mesh.collapse(a, b, 0.5 * (mesh.points[a] + mesh.points[b])):
                break
        else:
            # the triangles behind the rim are still too fine for it; they are thinned next
            return


def _flip_edges(mesh: EditableMesh, criterion: Literal["valence", "delaunay"]) -> None:
    on_rim = set(mesh.boundary_edges().ravel().tolist())

    def wanted_valence(vertex: int) -> int:
        return 3 if vertex in on_rim else 6

    def evens_valence(a: int, b: int, c: int, d: int) -> bool:
        excess = [len(mesh.around[v]) - wanted_valence(v) for v in (a, b, c, d)]
        after = (excess[0] - 1, excess[1] - 1, excess[2] + 1, excess[3] + 1)
        return sum(e * e for e in after) < sum(e * e for e in excess)

    def is_delaunay(a: int, b: int, c: int, d: int) -> bool:
        cotangents = 0.0
        for tip in (c, d):
            u, v = mesh.points[a] - mesh.points[tip], mesh.points[b] - mesh.points[tip]
            cotangents += (u @ v) / np.sqrt(max((u @ u) * (v @ v) - (u @ v) ** 2, 1e-24))
        return bool(cotangents < -0.05)

    for a, b in mesh.edges().tolist():
        mesh.flip(a, b, evens_valence if criterion == "valence" else is_delaunay)


def _relax(mesh: EditableMesh, factor: float, passes: int) -> None:
    """Even out the edge lengths by sliding the vertices along the skin."""
    names = np.array(sorted(mesh.around))
    position = np.full(len(mesh.points), -1)
    position[names] = np.arange(len(names))
    edges = position[mesh.edges()]
    rim = position[mesh.boundary_edges()]
    on_rim = np.unique(rim)
    points = np.stack([mesh.points[name] for name in names])
    for _ in range(passes):
        offset = points[edges[:, 1]] - points[edges[:, 0]]
        middle = 0.5 * (points[edges[:, 0]] + points[edges[:, 1]])
        pull = np.sqrt((offset**2).sum(-1)) / (factor * wanted_edge_length(middle))
        step, total = np.zeros_like(points), np.zeros(len(points))
        for here, sign in ((0, 1.0), (1, -1.0)):
            np.add.at(step, edges[:, here], sign * pull[:, None] * offset)
            np.add.at(total, edges[:, here], pull)
        rim_step = np.zeros_like(points)
        for here, other in ((0, 1), (1, 0)):
            np.add.at(rim_step, rim[:, here], 0.5 * (points[rim[:, other]] - points[rim[:, here]]))
        step = step / total[:, None]
        step[on_rim] = rim_step[on_rim]
        points = points + 0.6 * step
        for _ in range(3):
            points = project(points, iterations=1)
            points[on_rim, 0] = WRIST_CUT
        # a tenth of a micrometre: differences in the last bit between machines must not grow into another mesh
        points = np.round(points, 7)
    for name, point in zip(names.tolist(), points, strict=True):
        mesh.points[name] = point


def remesh(grid_spacing: float = 0.0035, rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The hand's skin with MANO's number of vertices and triangles.

    Args:
        grid_spacing: Cube edge of the fine mesh it starts from, metres.
        rounds: Rounds of splitting, collapsing, flipping and relaxing.

    Returns:
        Vertices (778, 3) in metres and triangles (1538, 3), open at the wrist with 16 boundary vertices.
    """
    mesh = EditableMesh(*tetrahedral_isosurface(grid_spacing))
    factor = 1.0
    for _ in range(rounds):
        _split_long(mesh, factor, 1.35)
        _thin_boundary(mesh)
        while _collapse_short(mesh, factor, 0.75):
            _thin_boundary(mesh)
        _flip_edges(mesh, "valence")
        _flip_edges(mesh, "delaunay")
        _relax(mesh, factor, 4)
        factor *= np.sqrt(len(mesh) / NUM_VERTICES)
    while len(mesh) != NUM_VERTICES:
        if len(mesh) > NUM_VERTICES:
            _collapse_short(mesh, factor, 1.0, at_most=len(mesh) - NUM_VERTICES)
        else:
            _split_long(mesh, factor, 1.0, at_most=NUM_VERTICES - len(mesh))
        _relax(mesh, factor, 2)
    for _ in range(3):
        _flip_edges(mesh, "valence")
        _flip_edges(mesh, "delaunay")
        _relax(mesh, factor, 6)
    _flip_edges(mesh, "delaunay")
    vertices, faces = mesh.compact()
    if len(faces) != NUM_FACES or len(mesh.boundary_edges()) != NUM_BOUNDARY:
        raise RuntimeError(
            f"the mesh has {len(faces)} faces and {len(mesh.boundary_edges())} boundary edges, expected {NUM_FACES} "
            f"and {NUM_BOUNDARY}; change the grid spacing"
        )
    return vertices, faces
