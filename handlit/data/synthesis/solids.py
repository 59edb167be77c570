"""What a synthetic hand holds: boxes, cans, balls, bottles and pens, with exact distances to their surfaces."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

SolidKind = Literal["box", "can", "ball", "bottle", "pen"]
SOLID_KINDS: tuple[SolidKind, ...] = get_args(SolidKind)

#: Sides of the polygon that stands for a circle. The mesh lies at most 1 % of the radius inside the exact surface.
CIRCLE_SIDES = 24
#: Profile corners sharper than this (radians) get an edge, blunter ones are shaded smoothly.
SHARP_EDGE_RAD = 0.6


@dataclass(frozen=True)
class Solid:
    """A box or a solid of revolution about its own z axis; the origin is the centre of its bounding box, metres.

    Attributes:
        kind: What it looks like.
        vertices: (V, 3) mesh; vertices are doubled along edges and texture seams.
        normals: (V, 3) outward unit normals.
        uv: (V, 2) texture coordinates in [0, 1].
        faces: (F, 3) triangles, counter-clockwise seen from outside.
        half_extents: (3,) half sides of the bounding box.
        profile: (P, 2) radius and height of a solid of revolution, from the bottom of its axis to the top; None: a box.
    """

    kind: SolidKind
    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    half_extents: np.ndarray
    profile: np.ndarray | None = None

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) corners of the bounding box; x changes slowest, z fastest, each from low to high."""
        signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), axis=-1).reshape(8, 3)
        return signs * self.half_extents

    def closest_surface(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest point of the exact surface and the signed distance to it.

        Args:
            points: (..., 3) in the solid's frame, metres.

        Returns:
            (..., 3) points on the surface, and (...,) distances, negative inside.
        """
        if self.profile is None:
            return _closest_on_box(points, self.half_extents)
        return _closest_on_revolution(points, self.profile)


def sample_solid(kind: SolidKind, rng: np.random.Generator) -> Solid:
    """A solid of graspable size.

    Args:
        kind: Which one.
        rng: Source of its measures.
    """
    if kind == "box":
        return make_box(np.array([rng.uniform(0.016, 0.04), rng.uniform(0.025, 0.05), rng.uniform(0.04, 0.09)]))
    if kind == "can":
        return make_revolution("can", _can_profile(rng.uniform(0.02, 0.038), rng.uniform(0.08, 0.15)))
    if kind == "ball":
        radius = rng.uniform(0.024, 0.042)
        angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
        profile = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        profile[[0, -1], 0] = 0.0
        return make_revolution("ball", profile)
    if kind == "pen":
        radius, length = rng.uniform(0.004, 0.009), rng.uniform(0.11, 0.16)
        tip = rng.uniform(0.008, 0.018)
        return make_revolution(
            "pen", np.array([[0, 0], [0.3 * radius, 0], [radius, tip], [radius, length], [0, length]], dtype=float)
        )
    return make_revolution("bottle", _bottle_profile(rng))


def _can_profile(radius: float, height: float) -> np.ndarray:
    inner, bevel = radius - 0.003, 0.003
    return np.array([[0, 0], [inner, 0], [radius, bevel], [radius, height - bevel], [inner, height], [0, height]])


def _bottle_profile(rng: np.random.Generator) -> np.ndarray:
    radius, neck = rng.uniform(0.022, 0.034), rng.uniform(0.009, 0.013)
    body, shoulder, neck_height = rng.uniform(0.08, 0.13), rng.uniform(0.02, 0.045), rng.uniform(0.015, 0.03)
    cap_radius, cap_height = neck + 0.003, rng.uniform(0.012, 0.02)
    step = np.linspace(0, 1, 7)
    curve = radius + (neck - radius) * (1 - np.cos(np.pi * step)) / 2
    points = [[0, 0], [0.92 * radius, 0], [radius, 0.005]]
    points += [[r, body + shoulder * s] for r, s in zip(curve, step, strict=True)]
    top = body + shoulder + neck_height
    points += [[neck, top], [cap_radius, top], [cap_radius, top + cap_height], [0, top + cap_height]]
    return np.array(points)


def make_box(half_extents: np.ndarray) -> Solid:
    """A box with six separately textured sides.

    Args:
        half_extents: (3,) metres.
    """
    vertices: list[np.ndarray] = []
    normals: list[np.ndarray] = []
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[axis] = sign
            across = np.roll([1.0, 0.0, 0.0], axis + 1)
            up = np.cross(normal, across)
            faces += [[len(vertices) + i for i in triangle] for triangle in ((0, 1, 2), (0, 2, 3))]
            for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                vertices.append((normal + u * across + v * up) * half_extents)
                normals.append(normal)
                # the six sides share one image: each shows a third by a half of it
                uv.append([(axis + (u + 1) / 2) / 3, ((sign + 1) / 2 + (v + 1) / 2) / 2])
    return Solid("box", np.array(vertices), np.array(normals), np.array(uv), np.array(faces), np.array(half_extents))


def make_revolution(kind: SolidKind, profile: np.ndarray) -> Solid:
    """A solid of revolution about z, centred on its bounding box.

    Args:
        kind: What it looks like.
        profile: (P, 2) radius and height, starting and ending on the axis (radius 0), heights never falling.
    """
    radius, height = profile[:, 0], profile[:, 1] - (profile[0, 1] + profile[-1, 1]) / 2
    profile = np.stack([radius, height], axis=1)
    along = np.diff(profile, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1)
    angle = np.linspace(0, 2 * np.pi, CIRCLE_SIDES + 1)
    total = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    vertices, normals, uv, faces = [], [], [], []
    for segment in range(len(along)):
        for end in (0, 1):
            point = segment + end
            normal = outward[segment]
            other = segment - 1 + 2 * end
            if 0 <= other < len(along) and outward[segment] @ outward[other] > np.cos(SHARP_EDGE_RAD):
                normal = outward[segment] + outward[other]
                normal = normal / np.linalg.norm(normal)
            circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            vertices.append(np.c_[profile[point, 0] * circle, np.full(len(angle), profile[point, 1])])
            normals.append(np.c_[normal[0] * circle, np.full(len(angle), normal[1])])
            uv.append(np.c_[angle / (2 * np.pi), np.full(len(angle), total[point] / total[-1])])
        low = 2 * segment * len(angle) + np.arange(CIRCLE_SIDES)
        high = low + len(angle)
        if profile[segment, 0] > 0:
            faces.append(np.stack([low, low + 1, high + 1], axis=1))
        if profile[segment + 1, 0] > 0:
            faces.append(np.stack([low, high + 1, high], axis=1))
    half = np.array([radius.max(), radius.max(), height.max()])
    return Solid(
        kind,
        np.concatenate(vertices),
        np.concatenate(normals),
        np.concatenate(uv),
        np.concatenate(faces),
        half_extents=half,
        profile=profile,
    )


def _closest_on_box(points: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    clamped = points.clip(-half, half)
    outside = np.linalg.norm(points - clamped, axis=-1)
    depth = half - np.abs(points)
    nearest = depth.argmin(axis=-1)[..., None]
    side = np.take_along_axis(np.copysign(half, points), nearest, axis=-1)
    pushed = points.copy()
    np.put_along_axis(pushed, nearest, side, axis=-1)
    inside = (depth > 0).all(axis=-1)
    surface = np.where(inside[..., None], pushed, clamped)
    return surface, np.where(inside, -depth.min(axis=-1), outside)


def _closest_on_revolution(points: np.ndarray, profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # the nearest point lies in the half-plane through the axis and the point: a distance to a polyline in 2D
    x, y, height = np.moveaxis(points, -1, 0)
    radial = np.sqrt(x * x + y * y)
    best = np.full(radial.shape, np.inf)
    closest = np.zeros((2, *radial.shape))
    for start, step in zip(profile[:-1], np.diff(profile, axis=0), strict=True):
        along = (radial - start[0]) * (step[0] / (step @ step)) + (height - start[1]) * (step[1] / (step @ step))
        along = along.clip(0, 1)
        candidate = np.stack([start[0] + along * step[0], start[1] + along * step[1]])
        squared = (radial - candidate[0]) ** 2 + (height - candidate[1]) ** 2
        nearer = squared < best
        np.copyto(best, squared, where=nearer)
        np.copyto(closest, candidate, where=nearer)
    scale = closest[0] / np.maximum(radial, 1e-12)
    surface = np.stack([scale * x, scale * y, closest[1]], axis=-1)
    inside = (height > profile[0, 1]) & (height < profile[-1, 1])
    inside &= radial < np.interp(height, profile[:, 1], profile[:, 0])
    distance = np.sqrt(best)
    return surface, np.where(inside, -distance, distance)


def to_obj(solid: Solid) -> str:
    """The mesh as a Wavefront OBJ with texture and normals (``f v/vt/vn``), metres, in the solid's own frame."""
    lines = [f"# {solid.kind}, metres", "mtllib textured_simple.obj.mtl", "usemtl material_0"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in solid.vertices]
    lines += [f"vt {u:.5f} {1 - v:.5f}" for u, v in solid.uv]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in solid.normals]
    lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in face + 1) for face in solid.faces]
    return "\n".join(lines) + "\n"
