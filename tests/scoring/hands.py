"""Small anatomical stick hands with a skin of 778 points, in a benchmark's axes and joint order."""

from dataclasses import dataclass

import numpy as np

from handlit.formats.benchmark import Benchmark
from handlit.skeleton import BONES, FINGERS, JOINTS, TIP_VERTICES

#: Right hand seen from its back, fingers along +y, thumb on the left: base of each finger, metres from the wrist.
BASES = {
    "thumb": (-0.025, 0.03, 0.01),
    "index": (-0.025, 0.09, 0.0),
    "middle": (-0.003, 0.092, 0.0),
    "ring": (0.017, 0.087, 0.0),
    "pinky": (0.035, 0.078, 0.0),
}
BONE_LENGTHS = {
    "thumb": (0.04, 0.032, 0.028),
    "index": (0.04, 0.024, 0.022),
    "middle": (0.044, 0.027, 0.023),
    "ring": (0.04, 0.026, 0.023),
    "pinky": (0.032, 0.02, 0.02),
}


@dataclass
class Hands:
    """Hands in a benchmark's convention (`joints`, `vertices`) and in handlit's (`joints_cam`, `vertices_cam`)."""

    joints: np.ndarray
    vertices: np.ndarray
    joints_cam: np.ndarray
    vertices_cam: np.ndarray


def make_hands(count: int, protocol: Benchmark, seed: int = 0) -> Hands:
    rng = np.random.default_rng(seed)
    joints = np.stack([_stick_hand(rng) for _ in range(count)])
    vertices = np.stack([_skin(hand, TIP_VERTICES[protocol.tips]) for hand in joints])
    for item in range(count):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.linalg.det(turn)
        shift = rng.uniform([-0.1, -0.1, 0.4], [0.1, 0.1, 0.8])
        joints[item] = joints[item] @ turn.T + shift
        vertices[item] = vertices[item] @ turn.T + shift
    return Hands(protocol.joints_to_official(joints), protocol.points_to_official(vertices), joints, vertices)


def _stick_hand(rng: np.random.Generator) -> np.ndarray:
    joints = np.zeros((len(JOINTS), 3))
    for finger in FINGERS:
        position = np.array(BASES[finger])
        direction = np.array([-0.7, 0.7, 0.2]) if finger == "thumb" else np.array([0.0, 1.0, 0.0])
        bend = -rng.uniform(0.1, 0.8)  # away from the viewer, who sees the back
        for number, length in enumerate((0.0, *BONE_LENGTHS[finger]), start=1):
            position = position + length * direction / np.linalg.norm(direction)
            joints[JOINTS.index(f"{finger}_{number}")] = position
            cos, sin = np.cos(bend), np.sin(bend)
            direction = np.array(
                [direction[0], cos * direction[1] - sin * direction[2], sin * direction[1] + cos * direction[2]]
            )
    return joints * rng.uniform(0.9, 1.1)


def _skin(joints: np.ndarray, tips: tuple[int, ...]) -> np.ndarray:
    """Points around the bones, 8 mm off, and the finger tips themselves at the given vertex ids."""
    rng = np.random.default_rng(7)
    bones = np.array(BONES)[rng.integers(0, len(BONES), 778)]
    along = rng.uniform(0, 1, (778, 1))
    around = rng.normal(size=(778, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    vertices = joints[bones[:, 0]] * (1 - along) + joints[bones[:, 1]] * along + 0.008 * around
    for finger, vertex in zip(FINGERS, tips, strict=True):
        vertices[vertex] = joints[JOINTS.index(f"{finger}_4")]
    return vertices
