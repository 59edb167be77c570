"""Put an object into a hand: against the palm, and close each finger until it touches."""

from dataclasses import dataclass, field

import numpy as np
import torch

from handlit.data.synthesis.appearance import SkinRegions, skin_regions
from handlit.data.synthesis.arm import wrist_boundary
from handlit.data.synthesis.motion import in_ball, random_rotation, rotation_matrices
from handlit.data.synthesis.solids import Solid
from handlit.hand.articulation import angles_to_pose, clamp_angles, sample_poses
from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.skeleton import JOINTS

#: The five chains of the hand model, in its order of joints.
#: Flexion of base, middle and end joint of an opened and of a closed finger, radians.
OPEN_FINGER = np.deg2rad([-8.0, 6.0, 4.0])
CLOSED_FINGER = np.deg2rad([78.0, 98.0, 60.0])
#: Skin gives way: a finger may sink this far into what it holds, metres.
SOFTNESS = 0.0015
CLOSING_STEPS = 20
THUMB_CANDIDATES = 64


@dataclass(frozen=True)
class HandModel:
    """A hand model with what the synthesis derives from it once.

    Attributes:
        asset: The hand model.
        layer: Axis-angle poses over a flat mean, HO-3D's finger tips.
        regions: Where its skin differs.
        wrist: (N,) vertices along the open wrist.
        chain_of_vertex: (778,) chain 0..4 that moves a vertex most, -1 for the palm.
    """

    asset: HandAsset
    layer: HandLayer = field(init=False)
    regions: SkinRegions = field(init=False)
    wrist: np.ndarray = field(init=False)
    chain_of_vertex: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", HandLayer(self.asset, tips="ho3d", flat_hand_mean=True))
        object.__setattr__(self, "regions", skin_regions(self.asset))
        object.__setattr__(self, "wrist", wrist_boundary(self.asset.faces))
        object.__setattr__(self, "chain_of_vertex", (self.asset.weights.argmax(axis=1) + 2) // 3 - 1)

    def upright(self, pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hands in the hand model's axes with the wrist at the origin.

        Args:
            pose: (T, 45) radians.
            betas: (10,).

        Returns:
            (T, 778, 3) vertices and (T, 21, 3) joints, metres, float32.
        """
        shape = torch.from_numpy(betas).float()
        with torch.inference_mode():
            wrist = self.layer.rest_wrist(shape)
            mesh = self.layer(torch.from_numpy(pose).float(), shape, transl=-wrist)
        return mesh.vertices.numpy(), mesh.joints.numpy()


@dataclass(frozen=True)
class Grasp:
    """An object at rest in a hand; frame: the hand model's axes, wrist at the origin.

    Attributes:
        rotation: (3, 3) of the object.
        translation: (3,) of the object's centre, metres.
        open_pose: (15, 3) finger pose before closing, radians.
        closed_pose: (15, 3) finger pose at the object's surface.
    """

    rotation: np.ndarray
    translation: np.ndarray
    open_pose: np.ndarray
    closed_pose: np.ndarray


def close_hand(model: HandModel, solid: Solid, betas: np.ndarray, rng: np.random.Generator) -> Grasp:
    """Lay the object into the palm and close the fingers on it.

    Args:
        model: The hand model.
        solid: The object.
        betas: (10,) shape.
        rng: Source of where and how the object lies.

    Returns:
        The grasp. No finger is deeper in the object than `SOFTNESS`, up to the steps of closing.
    """
    fingers = _finger_paths(rng)
    open_vertices, open_joints = model.upright(fingers[:1].reshape(1, 45), betas)
    rotation = _object_rotation(solid, rng)
    translation = _lay_into_palm(model, solid, rotation, open_vertices[0], open_joints[0], rng)

    def deepest(vertices: np.ndarray) -> np.ndarray:
        """(T, 5) smallest signed distance of each chain's vertices."""
        distance = solid.closest_surface((vertices - translation) @ rotation)[1]
        return np.stack([distance[:, model.chain_of_vertex == chain].min(axis=1) for chain in range(5)], axis=1)

    contact = deepest(model.upright(fingers.reshape(-1, 45), betas)[0])
    pose = fingers[0].copy()
    for chain in range(4):
        touching = contact[:, chain] < -SOFTNESS
        step = max(int(touching.argmax()) - 1, 0) if touching.any() else round(0.8 * CLOSING_STEPS)
        pose[3 * chain : 3 * chain + 3] = fingers[step, 3 * chain : 3 * chain + 3]

    # the thumb has no single way to close: of many natural thumbs take the one that touches best
    candidates = np.tile(pose, (THUMB_CANDIDATES, 1, 1))
    candidates[:, 12:] = sample_poses(THUMB_CANDIDATES, rng).reshape(-1, 15, 3)[:, 12:]
    vertices, joints = model.upright(candidates.reshape(-1, 45), betas)
    gap = deepest(vertices)[:, 4]
    thumb = joints[:, [JOINTS.index("thumb_3"), JOINTS.index("thumb_4")]]
    others = joints[:, [i for i, name in enumerate(JOINTS) if name[-1] in "234" and not name.startswith("thumb")]]
    crossing = np.linalg.norm(thumb[:, :, None] - others[:, None], axis=-1).min(axis=(1, 2)) < 0.014
    cost = np.where(gap < -SOFTNESS, -5 * gap, gap) + crossing
    pose[12:] = candidates[cost.argmin(), 12:]
    return Grasp(rotation, translation, fingers[0], pose)


def _finger_paths(rng: np.random.Generator) -> np.ndarray:
    """(steps + 1, 15, 3) poses from open to closed; the fingers differ a little and are spread."""
    start, end = np.zeros((15, 3)), np.zeros((15, 3))
    for chain in range(4):
        joints = slice(3 * chain, 3 * chain + 3)
        start[joints, 0] = OPEN_FINGER + rng.normal(0, 0.06, size=3)
        end[joints, 0] = CLOSED_FINGER * rng.uniform(0.88, 1.06, size=3)
        start[3 * chain, 1] = end[3 * chain, 1] = rng.normal(0, 0.06)
    angles = start + np.linspace(0, 1, CLOSING_STEPS + 1)[:, None, None] * (end - start)
    return angles_to_pose(clamp_angles(angles)).reshape(-1, 15, 3)


def _object_rotation(solid: Solid, rng: np.random.Generator) -> np.ndarray:
    """How the object lies before the palm: its long axis across the hand, its thin side towards the palm."""
    if solid.kind == "ball":
        return random_rotation(rng)
    # object x (thin) along the palm's normal -y, object z (long) along the hand's breadth z or against it
    long = rng.choice([-1.0, 1.0])
    base = np.stack([[0, -1, 0], [long, 0, 0], [0, 0, long]], axis=1).astype(float)
    tilt = rotation_matrices(np.array([rng.normal(0, 0.12), rng.normal(0, 0.3), rng.normal(0, 0.12)]))
    spin = rotation_matrices(np.array([0, 0, 0.0 if solid.profile is None else rng.uniform(-np.pi, np.pi)]))
    return tilt @ base @ spin


def _lay_into_palm(
    model: HandModel,
    solid: Solid,
    rotation: np.ndarray,
    vertices: np.ndarray,
    joints: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    knuckles = joints[[JOINTS.index(f"{finger}_1") for finger in ("index", "middle", "ring", "pinky")]].mean(axis=0)
    slide = rng.uniform(-0.35, 0.35) * max(solid.half_extents[2] - 0.04, 0)
    target = rng.uniform(0.8, 1.0) * knuckles + slide * rotation[:, 2] + 0.003 * in_ball(1, 1.0, rng)[0]
    palm = vertices[model.chain_of_vertex == -1]
    away = np.linspace(0.0, 0.09, 46)
    centres = target - away[:, None] * np.array([0.0, 1.0, 0.0])
    gaps = solid.closest_surface((palm - centres[:, None]) @ rotation)[1].min(axis=1)
    free = gaps > 0
    # the first place, seen from far away, at which the palm would be touched
    touching = np.flatnonzero(~free)
    return centres[min(touching[-1] + 1, len(centres) - 1) if len(touching) else 0]
