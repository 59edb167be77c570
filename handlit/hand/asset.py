"""The arrays of a hand model: a template mesh with its shape, pose and skinning bases."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from handlit.skeleton import KINEMATIC_PARENTS

NUM_VERTICES = 778
NUM_FACES = 1538

Side = Literal["right", "left"]


@dataclass(frozen=True)
class HandAsset:
    """A hand model of MANO's sizes: the user's MANO file or the built-in stand-in hand.

    Frame: MANO's. For a right hand at rest the fingers point along -x, the palm faces -y and the thumb is at +z;
    a finger bends by a positive rotation about +z. Metres.

    Attributes:
        name: Source of the arrays, e.g. ``"mano"`` or ``"standin"``.
        side: ``"right"`` or ``"left"``.
        template: (778, 3) rest vertices, metres.
        shape_directions: (778, 3, 10) change of the rest vertices per unit of each shape coefficient.
        pose_directions: (778, 3, 135) pose correctives; multiply the 15 non-root (R - I), row-major.
        joint_regressor: (16, 778) rest joints from rest vertices.
        weights: (778, 16) skinning weights, rows sum to 1.
        faces: (1538, 3) int64 triangles, counter-clockwise seen from outside, open at the wrist.
        pose_mean: (45,) mean finger pose, axis-angle, radians.
        pose_components: (45, 45) principal components of the finger pose, row k = component k.
        parents: Parent of each of the 16 kinematic joints, -1 for the root.

    References:
        Romero et al., "Embodied Hands: Modeling and Capturing Hands and Bodies Together", 2017,
        https://doi.org/10.1145/3130800.3130883.
    """

    name: str
    side: Side
    template: np.ndarray
    shape_directions: np.ndarray
    pose_directions: np.ndarray
    joint_regressor: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    pose_mean: np.ndarray
    pose_components: np.ndarray
    parents: tuple[int, ...] = KINEMATIC_PARENTS

    def __post_init__(self) -> None:
        expected = {
            "template": (778, 3),
            "shape_directions": (778, 3, 10),
            "pose_directions": (778, 3, 135),
            "joint_regressor": (16, 778),
            "weights": (778, 16),
            "faces": (1538, 3),
            "pose_mean": (45,),
            "pose_components": (45, 45),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"hand asset '{self.name}': {name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"hand asset '{self.name}': {name} holds NaN or infinity")
        if self.faces.min() < 0 or self.faces.max() >= NUM_VERTICES:
            raise ValueError(f"hand asset '{self.name}': faces name vertices outside 0..{NUM_VERTICES - 1}")
