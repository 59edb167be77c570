"""Bones of the stand-in hand: rest joints, each joint's own axes, and the girth of the fingers.

The rest hand is flat, fingers along -x, palm facing -y, thumb at +z (MANO's frame for a right hand). Girths are those
of an adult hand. Every position is in metres.

References:
    Segment lengths are the means of Buryanov and Kotiuk, "Proportions of Hand Segments", International Journal of
    Morphology 2010, https://doi.org/10.4067/S0717-95022010000300015.
"""

from functools import cache

import numpy as np

from handlit.skeleton import KINEMATIC_FINGERS, KINEMATIC_JOINTS, KINEMATIC_PARENTS

#: Lengths of the phalanges in metres, base to tip; the last is the bone, without the soft tip.
PHALANX_LENGTHS: dict[str, tuple[float, float, float]] = {
    "index": (0.0398, 0.0224, 0.0158),
    "middle": (0.0446, 0.0263, 0.0174),
    "ring": (0.0414, 0.0257, 0.0173),
    "pinky": (0.0327, 0.0181, 0.0160),
}
#: Thumb: metacarpal, proximal and distal phalanx in metres.
THUMB_LENGTHS = (0.0462, 0.0316, 0.0217)
#: Soft tissue beyond the last bone, metres.
TIP_PAD = 0.0042

#: The wrist joint. It lies a carpus (25 to 30 mm) behind the fingers' metacarpals.
WRIST_POSITION = np.array([0.0950, 0.0060, 0.0060])
#: Base of each chain: the knuckles, on an arch that falls to the little finger; the thumb's lies at the carpus.
_BASES = {
    "index": np.array([0.0050, 0.0062, 0.0285]),
    "middle": np.array([0.0040, 0.0080, 0.0080]),
    "ring": np.array([0.0110, 0.0058, -0.0110]),
    "pinky": np.array([0.0190, 0.0008, -0.0280]),
    "thumb": np.array([0.0760, -0.0030, 0.0265]),
}
#: Directions of the chains at rest (thumb: of its metacarpal), not yet normalised: slightly spread fingers.
_DIRECTIONS = {
    "index": np.array([-1.0, -0.030, 0.080]),
    "middle": np.array([-1.0, -0.030, 0.005]),
    "ring": np.array([-1.0, -0.035, -0.085]),
    "pinky": np.array([-1.0, -0.050, -0.190]),
    "thumb": np.array([-0.74, -0.34, 0.58]),
}
#: The thumb's phalanges point further forward than its metacarpal.
_THUMB_PHALANX_DIRECTION = np.array([-0.86, -0.26, 0.44])
#: Where the pads face: down for the fingers; the thumb is turned towards the palm.
_PAD_DIRECTIONS = {
    "index": np.array([0.0, -1.0, 0.0]),
    "middle": np.array([0.0, -1.0, 0.0]),
    "ring": np.array([0.0, -1.0, 0.04]),
    "pinky": np.array([0.0, -1.0, 0.12]),
    "thumb": np.array([0.0, -0.72, -0.70]),
}


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector * vector).sum(-1, keepdims=True))


@cache
def rest_joints() -> np.ndarray:
    """Rest positions of the 16 kinematic joints and the 5 tips.

    Returns:
        (21, 3) metres: `KINEMATIC_JOINTS`, then the tips of index, middle, pinky, ring, thumb (the chains' own order).
    """
    joints = np.zeros((21, 3))
    joints[0] = WRIST_POSITION
    for chain, finger in enumerate(KINEMATIC_FINGERS):
        directions = chain_directions(finger)
        lengths = THUMB_LENGTHS if finger == "thumb" else PHALANX_LENGTHS[finger]
        position = _BASES[finger].copy()
        for i in range(3):
            joints[1 + 3 * chain + i] = position
            position = position + directions[i] * lengths[i]
        joints[16 + chain] = position + directions[2] * TIP_PAD
    joints.setflags(write=False)
    return joints


def chain_directions(finger: str) -> np.ndarray:
    """(3, 3) unit directions of a finger's three segments at rest, base to tip."""
    base = _unit(_DIRECTIONS[finger])
    ahead = _unit(_THUMB_PHALANX_DIRECTION) if finger == "thumb" else base
    return np.stack([base, ahead, ahead])


@cache
def joint_axes() -> np.ndarray:
    """Each joint's own axes of motion at rest.

    Returns:
        (15, 3, 3): for each non-root kinematic joint the unit axes of flexion (positive bends towards the pad), of
        abduction (positive turns the finger towards the thumb's side) and of twist (along the bone, towards the tip).
        For the fingers these are nearly +z, +y and -x.
    """
    axes = np.zeros((15, 3, 3))
    for chain, finger in enumerate(KINEMATIC_FINGERS):
        for i, direction in enumerate(chain_directions(finger)):
            pad = _unit(_PAD_DIRECTIONS[finger] - direction * (direction @ _PAD_DIRECTIONS[finger]))
            flexion = np.cross(direction, pad)
            axes[3 * chain + i] = np.stack([flexion, -pad, direction])
    axes.setflags(write=False)
    return axes


#: Half width at the base of each chain's visible tube, metres; girth elsewhere is a multiple of it.
FINGER_HALF_WIDTH = {"index": 0.0096, "middle": 0.0098, "ring": 0.0092, "pinky": 0.0081, "thumb": 0.0110}


def forward_kinematics(rotations: np.ndarray, joints: np.ndarray | None = None) -> np.ndarray:
    """Posed joints and tips.

    Args:
        rotations: (N, 15, 3, 3) rotation of each non-root joint relative to its parent.
        joints: (21, 3) rest joints in the order of `rest_joints`, metres; the stand-in's own when None.

    Returns:
        (N, 21, 3) metres, wrist fixed, in the order of `rest_joints`.
    """
    rest = rest_joints() if joints is None else joints
    posed = np.zeros((len(rotations), 21, 3))
    world = np.zeros((len(rotations), 16, 3, 3))
    world[:, 0] = np.eye(3)
    posed[:, 0] = rest[0]
    for joint in range(1, len(KINEMATIC_JOINTS)):
        parent = KINEMATIC_PARENTS[joint]
        posed[:, joint] = posed[:, parent] + world[:, parent] @ (rest[joint] - rest[parent])
        world[:, joint] = world[:, parent] @ rotations[:, joint - 1]
    for chain in range(5):
        last = 3 + 3 * chain
        posed[:, 16 + chain] = posed[:, last] + world[:, last] @ (rest[16 + chain] - rest[last])
    return posed
