"""A forearm and a sleeve that grow out of the open wrist of the hand mesh, so that no picture shows a hole."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: Rings of the arm: distance along it from the wrist, metres. Its end is most often outside the picture.
RINGS = np.array([0.012, 0.03, 0.055, 0.09, 0.14, 0.2, 0.27, 0.35, 0.45, 0.6])
#: Half width and half thickness of an arm at each ring, metres.
RING_WIDTH = np.array([0.029, 0.028, 0.029, 0.032, 0.036, 0.04, 0.042, 0.042, 0.043, 0.045])
RING_THICKNESS = np.array([0.021, 0.021, 0.022, 0.026, 0.031, 0.035, 0.037, 0.037, 0.038, 0.04])
#: The bend between hand and arm is spread over this length, metres.
BEND_LENGTH = 0.06
#: How much wider than the arm the sleeve is.
SLEEVE_EASE = 1.16


def wrist_loop(faces: np.ndarray) -> np.ndarray:
    """The vertices along the hole of an open mesh, in the order in which the missing faces' edges run.

    Args:
        faces: (F, 3) triangles with exactly one hole.

    Returns:
        (N,) vertex ids.
    """
    edges = {(int(a), int(b)) for triangle in faces for a, b in zip(triangle, np.roll(triangle, -1), strict=True)}
    # a missing face would run along each open edge in the other direction
    following = {b: a for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return np.array(loop)


@dataclass(frozen=True)
class Forearm:
    """One subject's arm and clothes.

    Attributes:
        bend: (3, 3) rotation from the hand to the arm, in the hand model's axes.
        sleeve_from: Distance from the wrist at which the sleeve begins, metres; beyond the arm's end: bare.
        girth: Factor of the arm's thickness.
    """

    bend: np.ndarray
    sleeve_from: float
    girth: float

    @property
    def rings(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) distances of the mesh's rings along the arm, metres, and (R,) whether each ring is of cloth."""
        if self.sleeve_from >= RINGS[-1]:
            return RINGS, np.zeros(len(RINGS), dtype=bool)
        bare = RINGS[self.sleeve_from > RINGS]
        covered = RINGS[self.sleeve_from + 0.01 < RINGS]
        # the last ring of skin and the two of the sleeve's hem lie at the same place: a sharp border of colour
        hem = np.repeat(self.sleeve_from, 3)
        return np.r_[bare, hem, covered], np.r_[np.zeros(len(bare) + 1), np.ones(2 + len(covered))].astype(bool)

    def vertices(self, loop: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Place the arm.

        Args:
            loop: (T, N, 3) wrist vertices of posed hands, in the order of `wrist_loop`.
            rotation: (T, 3, 3) global rotations of the hands.

        Returns:
            (T, R * N + 1, 3) ring by ring, then the middle of the far end; same frame as the loop.
        """
        centre = loop.mean(axis=1, keepdims=True)
        offset = (loop - centre) @ rotation
        angle = np.arctan2(offset[..., 1], offset[..., 2])
        distances, cloth = self.rings
        place = np.zeros(3)
        rings, last = [], 0.0
        for number, distance in enumerate(distances):
            share = min(distance / BEND_LENGTH, 1.0)
            frame = _part_of_rotation(self.bend, share)
            place = place + (distance - last) * frame[:, 0]
            last = distance
            outer = SLEEVE_EASE if cloth[number] and (number == 0 or cloth[number - 1]) else 1.0
            width = np.interp(distance, RINGS, RING_WIDTH) * self.girth * outer
            thickness = np.interp(distance, RINGS, RING_THICKNESS) * self.girth * outer
            ellipse = np.stack([np.zeros_like(angle), thickness * np.sin(angle), width * np.cos(angle)], axis=-1)
            blend = min(distance / 0.05, 1.0)
            rings.append(place + ((1 - blend) * offset * outer + blend * ellipse) @ frame.T)
        points = np.concatenate([*rings, np.broadcast_to(place, rings[0][:, :1].shape)], axis=1)
        return centre + points @ rotation.transpose(0, 2, 1)

    def faces(self, loop: np.ndarray, first: int) -> np.ndarray:
        """Triangles that join the rings to each other and to the wrist.

        Args:
            loop: (N,) hand vertices of the wrist's hole.
            first: Index that the arm's first vertex gets.

        Returns:
            (F, 3) into the hand's and the arm's vertices.
        """
        count = len(self.rings[0])
        rings = [loop, *(first + np.arange(count * len(loop)).reshape(count, -1))]
        faces = []
        for near, far in pairwise(rings):
            near_next, far_next = np.roll(near, -1), np.roll(far, -1)
            faces += [np.stack([near, near_next, far_next], axis=1), np.stack([near, far_next, far], axis=1)]
        end = np.full(len(loop), first + count * len(loop))
        faces.append(np.stack([rings[-1], np.roll(rings[-1], -1), end], axis=1))
        return np.concatenate(faces)


def _part_of_rotation(rotation: np.ndarray, share: float) -> np.ndarray:
    """The rotation about the same axis by a share of the angle; for small angles, re-orthogonalised by SVD."""
    left, _, right = np.linalg.svd((1 - share) * np.eye(3) + share * rotation)
    return left @ right
