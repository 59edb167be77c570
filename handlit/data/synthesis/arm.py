"""A forearm and a sleeve that grow out of the open wrist of the hand mesh, so that no image shows a hole."""

from itertools import pairwise

import numpy as np
import roma
import torch
from torch import Tensor

#: Rings of the arm: distance along it from the wrist, metres. Its end is most often outside the image.
RINGS = (0.012, 0.03, 0.055, 0.09, 0.14, 0.2, 0.27, 0.35, 0.45, 0.6)
#: Half width and half thickness of an arm at each ring, metres.
RING_WIDTH = (0.029, 0.028, 0.029, 0.032, 0.036, 0.04, 0.042, 0.042, 0.043, 0.045)
RING_THICKNESS = (0.021, 0.021, 0.022, 0.026, 0.031, 0.035, 0.037, 0.037, 0.038, 0.04)
#: Rings of the mesh: those of the arm, and three where the sleeve begins: the last one of skin and two of its hem.
NUM_RINGS = len(RINGS) + 3
#: Where the sleeve of a bare arm begins: beyond the arm's end, metres.
BARE = 1.0
#: The bend between hand and arm is spread over this length, metres.
BEND_LENGTH = 0.06
#: Over this length the wrist's shape becomes the arm's, metres.
BLEND_LENGTH = 0.05
#: How much wider than the arm the sleeve is.
SLEEVE_EASE = 1.16


def wrist_boundary(faces: np.ndarray) -> np.ndarray:
    """The vertices along the hole of an open mesh, in the order in which the missing faces' edges run.

    Args:
        faces: (F, 3) triangles with exactly one hole.

    Returns:
        (N,) vertex ids.
    """
    edges = {(int(a), int(b)) for triangle in faces for a, b in zip(triangle, np.roll(triangle, -1), strict=True)}
    # a missing face would run along each open edge in the other direction
    following = {b: a for a, b in edges if (b, a) not in edges}
    boundary = [min(following)]
    while following[boundary[-1]] != boundary[0]:
        boundary.append(following[boundary[-1]])
    return np.array(boundary)


def arm_faces(boundary: np.ndarray, first: int) -> np.ndarray:
    """Triangles that join the arm's rings to each other and to the wrist.

    Args:
        boundary: (N,) hand vertices of the wrist's hole, see `wrist_boundary`.
        first: Index that the arm's first vertex gets.

    Returns:
        (F, 3) into the hand's and the arm's vertices.
    """
    count = len(boundary)
    rings = [boundary, *(first + np.arange(NUM_RINGS * count).reshape(NUM_RINGS, -1))]
    faces = []
    for near, far in pairwise(rings):
        near_next, far_next = np.roll(near, -1), np.roll(far, -1)
        faces += [np.stack([near, near_next, far_next], axis=1), np.stack([near, far_next, far], axis=1)]
    end = np.full(count, first + NUM_RINGS * count)
    faces.append(np.stack([rings[-1], np.roll(rings[-1], -1), end], axis=1))
    return np.concatenate(faces)


def arm_rings(sleeve_from: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the rings of arms lie and what they are of.

    Args:
        sleeve_from: (B,) distance from the wrist at which the sleeve begins, metres; `BARE` for none.

    Returns:
        (B, R) distance along the arm, ascending, metres; (B, R) bool, of cloth; (B, R) bool, as wide as the sleeve.
    """
    own = torch.tensor(RINGS, dtype=sleeve_from.dtype, device=sleeve_from.device)
    start = sleeve_from[:, None]
    hem = start.clamp(max=RINGS[-1]).expand(-1, 3)
    distance, order = torch.cat([own.expand(len(start), -1), hem], dim=1).sort(dim=1, stable=True)
    # all three rings of the hem lie at the same place: a sharp border of colour, then the thickness of the cloth
    beyond = distance > start
    dressed = start < RINGS[-1]
    return distance, dressed & (beyond | (order > len(RINGS))), dressed & (beyond | (order > len(RINGS) + 1))


def arm_vertices(wrist: Tensor, rotation: Tensor, bend: Tensor, girth: Tensor, sleeve_from: Tensor) -> Tensor:
    """Place arms; the numbers of an arm may have a leading dimension of 1 for all hands.

    Args:
        wrist: (B, N, 3) wrist vertices of posed hands, in the order of `wrist_boundary`.
        rotation: (B, 3, 3) global rotations of the hands.
        bend: (B, 3) rotation vector from the hand to the arm, in the hand model's axes.
        girth: (B,) factor of the arm's thickness.
        sleeve_from: (B,) as for `arm_rings`.

    Returns:
        (B, R N + 1, 3) ring by ring, then the middle of the far end; same frame as the wrist.
    """
    distance, _, wide = arm_rings(sleeve_from)
    outer = torch.where(wide, SLEEVE_EASE, 1.0)
    width, thickness = (girth[:, None] * outer * _profile(sizes, distance) for sizes in (RING_WIDTH, RING_THICKNESS))
    frames = roma.rotvec_to_rotmat(bend[:, None] * (distance / BEND_LENGTH).clamp(max=1)[..., None])
    steps = distance.diff(dim=1, prepend=torch.zeros_like(distance[:, :1]))
    centres = (steps[..., None] * frames[..., 0]).cumsum(dim=1)

    middle = wrist.mean(dim=1, keepdim=True)
    offset = rotate(wrist - middle, rotation.transpose(1, 2))
    angle = torch.atan2(offset[..., 1], offset[..., 2])[:, None]
    sideways = [thickness[..., None] * angle.sin(), width[..., None] * angle.cos()]
    ellipse = torch.stack([torch.zeros_like(sideways[0]), *sideways], dim=-1)
    blend = (distance / BLEND_LENGTH).clamp(max=1)[..., None, None]
    section = (1 - blend) * outer[..., None, None] * offset[:, None] + blend * ellipse
    rings = centres[:, :, None] + (frames[:, :, None] * section[..., None, :]).sum(dim=-1)
    points = torch.cat([rings.flatten(1, 2), centres[:, -1:].expand(len(wrist), -1, -1)], dim=1)
    return middle + rotate(points, rotation)


def rotate(points: Tensor, rotation: Tensor) -> Tensor:
    """Points (B, N, 3) turned by (B, 3, 3), written out so that nothing lowers the precision of a matrix product."""
    return (rotation[:, None] * points[:, :, None]).sum(dim=-1)


def _profile(sizes: tuple[float, ...], distance: Tensor) -> Tensor:
    """Sizes at `RINGS`, interpolated at distances within their range."""
    x, y = (torch.tensor(values, dtype=distance.dtype, device=distance.device) for values in (RINGS, sizes))
    upper = torch.searchsorted(x, distance).clamp(1, len(RINGS) - 1)
    share = (distance - x[upper - 1]) / (x[upper] - x[upper - 1])
    return y[upper - 1] + share * (y[upper] - y[upper - 1])
