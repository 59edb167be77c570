"""How a hand moves: ranges of each joint, natural finger poses, and whether fingers run into each other.

Poses are flat axis-angle vectors in MANO's order and frame (index, middle, pinky, ring, thumb; a flat hand is zero).
Ranges and postures are stated as angles about each joint's own axes: flexion, abduction, twist, in that order. They
describe the stand-in hand; on a MANO hand, whose rest pose and axes are close, the poses are plausible too.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from handlit.errors import check_choice
from handlit.hand.anatomy import FINGER_HALF_WIDTH, forward_kinematics, joint_axes, rest_joints
from handlit.skeleton import KINEMATIC_FINGERS

#: Degrees, (lowest, highest) of flexion, abduction (towards the thumb's side; for the thumb away from the fingers) and
#: twist. The rest pose is zero: the resting thumb is already abducted, so its range lies on both sides of it; a
#: negative twist of the thumb turns its pad towards the fingers.
_FINGER_RANGES = (
    ((-20.0, 90.0), (-20.0, 20.0), (-5.0, 5.0)),
    ((0.0, 105.0), (0.0, 0.0), (0.0, 0.0)),
    ((-5.0, 80.0), (0.0, 0.0), (0.0, 0.0)),
)
_THUMB_RANGES = (
    ((-15.0, 50.0), (-35.0, 25.0), (-40.0, 10.0)),
    ((-5.0, 60.0), (-8.0, 8.0), (-5.0, 5.0)),
    ((-15.0, 80.0), (0.0, 0.0), (0.0, 0.0)),
)
#: (15, 3, 2) radians: joint, (flexion, abduction, twist), (lowest, highest).
JOINT_LIMITS = np.radians(np.array([*(_FINGER_RANGES * 4), *_THUMB_RANGES]))

#: Share of a finger's abduction that is lost when its knuckle is fully bent: the ligaments are tight then.
_ABDUCTION_LOST = 0.75

#: Named postures in degrees. Rows index, middle, ring, little: knuckle flexion, second joint flexion, abduction; then
#: the thumb: carpal flexion, abduction, twist, knuckle flexion, last joint flexion. The last joint of a finger follows
#: the second one.
_POSTURES: dict[str, tuple[tuple[float, ...], ...]] = {
    "flat": ((0, 2, 0), (0, 2, 0), (0, 2, 0), (0, 2, 0), (0, 0, 0, 0, 0)),
    "spread": ((-8, 4, 8), (-8, 4, 2), (-8, 4, -7), (-8, 4, -14), (-10, 18, 0, -3, -8)),
    "relaxed": ((20, 28, 0), (28, 34, 0), (33, 36, 1), (36, 34, 2), (10, -6, -12, 12, 18)),
    "limp": ((38, 18, -2), (42, 24, 0), (44, 26, 2), (46, 24, 4), (14, -4, -14, 16, 14)),
    "hook": ((2, 88, -3), (2, 92, 0), (3, 92, 3), (4, 84, 6), (4, -18, -4, 20, 20)),
    "fist": ((80, 100, -1), (84, 102, 0), (84, 102, 0), (82, 100, 1), (21, 4, -38, 35, 52)),
    "point": ((4, 6, 0), (78, 96, 0), (82, 98, 0), (80, 96, 1), (21, -6, -38, 28, 19)),
    "victory": ((2, 6, 9), (0, 6, -7), (80, 96, 0), (80, 94, 1), (36, -9, -38, 29, 22)),
    "thumbs_up": ((78, 98, -1), (82, 100, 0), (82, 100, 0), (80, 98, 1), (-14, -10, 0, -4, -8)),
    "call": ((74, 96, -1), (78, 100, 0), (76, 98, 0), (-4, 8, -14), (-12, 18, 0, -2, -6)),
    "horns": ((0, 6, 6), (78, 98, 0), (78, 98, 0), (-2, 8, -10), (20, -3, -38, 35, 19)),
    "pinch": ((50, 45, 0), (26, 30, 0), (20, 25, 0), (18, 22, -2), (23, -2, -35, 9, 4)),
    "ring_pinch": ((48, 48, -5), (64, 72, 0), (70, 76, 0), (74, 74, 1), (28, -6, -36, 0, 8)),
    "tripod": ((46, 46, -4), (52, 49, 1), (62, 66, 1), (66, 66, 2), (31, -6, -35, 13, 18)),
    "wide_grasp": ((12, 30, 8), (14, 34, 2), (14, 34, -5), (14, 34, -10), (8, 20, -24, 4, 12)),
    "grasp": ((36, 46, 4), (40, 50, 1), (44, 52, -1), (46, 50, -3), (14, 18, -34, 12, 24)),
    "narrow_grasp": ((58, 68, 0), (62, 72, 0), (66, 74, 0), (68, 72, 1), (22, 14, -36, 22, 30)),
    "plate": ((56, 8, -2), (58, 8, 0), (60, 10, 2), (60, 12, 4), (20, 8, -34, 4, 6)),
}
#: How often each posture is the main one.
_FREQUENCY = {
    "flat": 5, "spread": 6, "relaxed": 18, "limp": 4, "hook": 5, "fist": 7, "point": 8, "victory": 4, "thumbs_up": 4,
    "call": 2, "horns": 2, "pinch": 9, "ring_pinch": 3, "tripod": 7, "wide_grasp": 8, "grasp": 14, "narrow_grasp": 8,
    "plate": 4,
}  # fmt: skip

#: Pairs of skin that may touch lie this deep in each other at most, metres.
CONTACT_DEPTH = 0.003

#: Poses that are proposed at a time.
_BLOCK = 4096


@cache
def _posture_angles() -> np.ndarray:
    """(P, 15, 3) radians: the named postures as joint angles in kinematic order."""
    table = np.zeros((len(_POSTURES), 15, 3))
    for angles, (*fingers, thumb) in zip(table, _POSTURES.values(), strict=True):
        for chain, finger in zip((0, 1, 3, 2), fingers, strict=True):
            angles[3 * chain, :2] = finger[0], finger[2]
            angles[3 * chain + 1, 0] = finger[1]
            angles[3 * chain + 2, 0] = finger[1] * 2 / 3
        angles[12], angles[13, 0], angles[14, 0] = thumb[:3], thumb[3], thumb[4]
    return np.radians(table)


def angles_to_pose(angles: np.ndarray) -> np.ndarray:
    """Turn joint angles into a pose vector.

    Args:
        angles: (N, 15, 3) flexion, abduction, twist in radians about each joint's own axes. A joint twists, is abducted
            and then bends; so the bending is about an axis fixed in the parent.

    Returns:
        (N, 45) axis-angle, radians.
    """
    flexion, abduction, twist = (
        Rotation.from_rotvec((angles[..., i, None] * joint_axes()[:, i]).reshape(-1, 3)) for i in range(3)
    )
    return (flexion * abduction * twist).as_rotvec().reshape(len(angles), 45)


def named_poses() -> dict[str, np.ndarray]:
    """The postures that `sample_poses` mixes, by name: (45,) axis-angle each, radians."""
    poses = angles_to_pose(clamp_angles(_posture_angles()))
    return dict(zip(_POSTURES, poses, strict=True))


def clamp_angles(angles: np.ndarray) -> np.ndarray:
    """(N, 15, 3) the nearest joint angles inside `JOINT_LIMITS`, with less abduction where a knuckle is bent."""
    limited = np.clip(angles, JOINT_LIMITS[..., 0], JOINT_LIMITS[..., 1])
    knuckles = [0, 3, 6, 9]
    bent = np.clip(limited[:, knuckles, 0] / JOINT_LIMITS[knuckles, 0, 1], 0.0, 1.0)
    widest = JOINT_LIMITS[knuckles, 1, 1] * (1.0 - _ABDUCTION_LOST * bent)
    limited[:, knuckles, 1] = np.clip(limited[:, knuckles, 1], -widest, widest)
    return limited


@cache
def _capsules() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segments of the hand as capsules: ends (K, 2) among the joints, radii (K,), and the pairs (M, 2) to compare.

    Segments 0 to 14 are the chains' (a thumb's first is its metacarpal), 15 to 18 the metacarpals of the fingers.
    """
    ends, radii = [], []
    for chain, finger in enumerate(KINEMATIC_FINGERS):
        width = FINGER_HALF_WIDTH[finger]
        for i, share in enumerate((0.90, 0.84, 0.74)):
            ends.append((1 + 3 * chain + i, 2 + 3 * chain + i if i < 2 else 16 + chain))
            radii.append(share * width)
    for chain in range(4):
        ends.append((0, 1 + 3 * chain))
        radii.append(0.0105)
    pairs = []
    for a in range(15):
        for b in range(a + 1, 15):
            thumb_root = b == 12 and a % 3 == 0
            if a // 3 != b // 3 and not thumb_root and not (a % 3 == 0 and b % 3 == 0 and b < 12):
                pairs.append((a, b))
        # the palm is an obstacle to all but the segments that grow out of it
        if a % 3 != 0:
            pairs += [(a, 15 + chain) for chain in range(4)]
    return np.array(ends), np.array(radii), np.array(pairs)


def _segment_distance(p0: np.ndarray, p1: np.ndarray, q0: np.ndarray, q1: np.ndarray) -> np.ndarray:
    """(...) distance between two segments; all arguments (..., 3)."""
    u, v, w = p1 - p0, q1 - q0, p0 - q0
    a, b, c = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    d, e = (u * w).sum(-1), (v * w).sum(-1)
    s = np.clip((b * e - c * d) / np.maximum(a * c - b * b, 1e-12), 0.0, 1.0)
    t = np.clip((b * s + e) / c, 0.0, 1.0)
    s = np.clip((b * t - d) / a, 0.0, 1.0)
    gap = w + s[..., None] * u - t[..., None] * v
    return np.sqrt((gap * gap).sum(-1))


def finger_clearance(poses: np.ndarray, joints: np.ndarray | None = None) -> np.ndarray:
    """Smallest gap between the segments of different fingers, and between fingers and palm.

    Each segment is taken for a capsule of about its girth.

    Args:
        poses: (N, 45) axis-angle, radians.
        joints: (21, 3) rest joints and tips as `anatomy.rest_joints` gives them; that when None.

    Returns:
        (N,) metres; negative where segments run into each other.
    """
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    rest = rest_joints() if joints is None else joints
    posed = forward_kinematics(rotations, rest)
    # a capsule's round end reaches a radius further than its segment, so the last segment stops short of the tip
    for chain in range(5):
        last = 3 + 3 * chain
        posed[:, 16 + chain] += 0.25 * (posed[:, last] - posed[:, 16 + chain])
    ends, radii, pairs = _capsules()
    (p0, p1), (q0, q1) = (posed[:, ends[pairs[:, i]]].transpose(2, 0, 1, 3) for i in range(2))
    return (_segment_distance(p0, p1, q0, q1) - radii[pairs].sum(1)).min(1)


def _propose(num: int, generator: np.random.Generator, postures: tuple[str, ...]) -> np.ndarray:
    """(num, 15, 3) joint angles inside the limits: postures, mixed and varied as hands vary."""
    table = _posture_angles()[[list(_POSTURES).index(name) for name in postures]]
    frequency = np.array([_FREQUENCY[name] for name in postures], dtype=float)
    main, other = generator.choice(len(table), size=(2, num), p=frequency / frequency.sum())
    # most poses are close to one posture, some are on the way to another or to a relaxed hand
    towards = generator.beta(0.6, 2.2, size=(num, 1, 1))
    angles = (1.0 - towards) * table[main] + towards * table[other]
    # flexion: all fingers together, neighbours together (ring and little most), then each on its own
    together = generator.normal(0.0, 7.0, size=(num, 1))
    neighbours = generator.normal(0.0, 6.0, size=(num, 4)) @ np.array(
        [[1.0, 0.4, 0.0, 0.1], [0.0, 0.9, 0.0, 0.4], [0.0, 0.0, 0.4, 0.0], [0.0, 0.0, 0.9, 0.9]]
    )
    knuckle = np.radians(together + neighbours + generator.normal(0.0, 3.0, size=(num, 4)))
    second = np.radians(1.2 * (together + neighbours) + generator.normal(0.0, 5.0, size=(num, 4)))
    for chain in range(4):
        angles[:, 3 * chain, 0] += knuckle[:, chain]
        angles[:, 3 * chain + 1, 0] += second[:, chain]
        angles[:, 3 * chain, 1] += np.radians(generator.normal(0.0, 2.5, size=num))
        angles[:, 3 * chain, 2] += np.radians(generator.normal(0.0, 1.0, size=num))
        bent = np.clip(angles[:, 3 * chain + 1, 0], 0.0, None)
        angles[:, 3 * chain + 2, 0] = bent * generator.normal(0.66, 0.06, size=num)
        angles[:, 3 * chain + 2, 0] += np.radians(generator.normal(0.0, 2.5, size=num))
    angles[:, 12] += np.radians(generator.normal(0.0, [5.0, 5.0, 5.0], size=(num, 3)))
    angles[:, 13] += np.radians(generator.normal(0.0, [6.0, 1.5, 1.0], size=(num, 3)))
    angles[:, 14, 0] += np.radians(generator.normal(0.0, 8.0, size=num))
    return clamp_angles(angles)


def sample_angles(
    num: int,
    seed: int | np.random.Generator = 0,
    contact_depth: float = CONTACT_DEPTH,
    postures: Sequence[str] | None = None,
) -> np.ndarray:
    """Natural finger poses: open, relaxed, pointing, pinching, grasping and closed hands and what lies between them.

    Args:
        num: Number of poses.
        seed: Seed, or a generator to draw from; the same seed gives the same poses.
        contact_depth: How deep segments may run into each other, metres (see `finger_clearance`); deeper poses are
            drawn again.
        postures: Names of the postures that poses are mixed of (see `named_poses`); all when None.

    Returns:
        (num, 15, 3) float64 flexion, abduction and twist as `angles_to_pose` takes them, within `JOINT_LIMITS`.

    Raises:
        InputError: A posture has no such name.
        RuntimeError: No proposal is accepted, which a `contact_depth` far below zero causes.
    """
    for name in postures or ():
        check_choice("a posture", name, _POSTURES)
    generator = np.random.default_rng(seed)
    angles = np.zeros((num, 15, 3))
    filled = 0
    while filled < num:
        # a quarter more, as some are rejected; blocks keep the memory bounded
        count = min(max(64, int(1.25 * (num - filled))), _BLOCK)
        proposal = _propose(count, generator, tuple(_POSTURES if postures is None else postures))
        clearance = finger_clearance(angles_to_pose(proposal))
        accepted = proposal[clearance >= -contact_depth][: num - filled]
        if not len(accepted):
            raise RuntimeError(
                f"none of {len(proposal)} poses keeps fingers within contact_depth = {contact_depth} m of each other's "
                f"skin; expected about {CONTACT_DEPTH}"
            )
        angles[filled : filled + len(accepted)] = accepted
        filled += len(accepted)
    return angles


def sample_poses(num: int, seed: int | np.random.Generator = 0, contact_depth: float = CONTACT_DEPTH) -> np.ndarray:
    """The poses that `sample_angles` draws, as pose vectors.

    Args:
        num: Number of poses.
        seed: Seed, or a generator to draw from.
        contact_depth: See `sample_angles`.

    Returns:
        (num, 45) float64 axis-angle, radians; a flat hand is zero.

    Raises:
        RuntimeError: See `sample_angles`.
    """
    return angles_to_pose(sample_angles(num, seed, contact_depth))
