"""Checks of the hands in a submission: axes, unit, distance, joint order, handedness, joints that fit the mesh."""

from itertools import combinations, pairwise

import numpy as np
from scipy.spatial import cKDTree

from handlit.findings import Finding
from handlit.formats.benchmark import Benchmark
from handlit.hand.asset import NUM_VERTICES
from handlit.skeleton import BONES, FINGERS, JOINTS, KINEMATIC_JOINTS, ORDERS, TIP_VERTICES, permutation

#: Metres; median distance of a hand's joints from their centre. Hands of any size and pose lie well inside; the mean of
#: hands seen from both sides is flat, and still inside.
HAND_RADIUS = (0.01, 0.2)
#: Metres; finger tips lie on the skin or a little below it.
TIP_TO_SKIN = 0.02
#: Metres; a written tip is a vertex if it is this close (five decimals round by 0.9e-5).
SAME_POINT = 2e-5
#: A different joint order must make the skeleton shorter in this share of the frames, and by this share of its length.
ORDER_AGREEMENT = 0.9
ORDER_GAIN = 0.005
#: Metres; wrists nearer or farther than this are no hands of these benchmarks (HO-3D and FreiHAND: 0.3 to 1.2).
WRIST_DISTANCE = (0.1, 3.0)
#: Hands nearer to the origin than this, in radii of a hand (0.12 m), are relative to a point of theirs: their wrist,
#: another joint or their centre. A camera sees no hand that near.
AROUND_ORIGIN = 1.5
#: Findings after which the wrists' distances say nothing more.
NO_POSITION = ("root_relative", "wrong_axes")
#: Share of the frames whose fingers bend backwards from which the hands count as mirrored, and the bend (sine of the
#: angle, mean over the fingers) from which a frame counts at all.
MIRROR_AGREEMENT = 0.9
MIRROR_BEND = 0.1
#: Sign of the bend of a right hand, see `_check_handedness`.
PALM_SIDE = 1


def check_hands(joints: np.ndarray, usable: np.ndarray, chosen: np.ndarray, protocol: Benchmark) -> list[Finding]:
    """Look for mistakes of convention, which are in all frames.

    Args:
        joints: (N, 21, 3) as submitted.
        usable: Positions of the frames that are finite and not zero.
        chosen: Some of them, for what takes long.
        protocol: The benchmark.
    """
    unit = _check_unit(joints[chosen])
    findings = _check_depth(joints[usable], protocol, any(finding.name == "odd_size" for finding in unit))
    order = _check_order(joints[chosen], protocol)
    has_position = not unit and not any(finding.name in NO_POSITION for finding in findings)
    findings += unit + order
    if has_position:
        findings += _check_distance(joints[usable], usable)
    if not unit and not order:
        findings += _check_handedness(joints[chosen], protocol)
    return findings


def _check_depth(joints: np.ndarray, protocol: Benchmark, is_odd_size: bool) -> list[Finding]:
    depth = joints[:, :, 2].mean(axis=1) * (-1 if protocol.axes == "opengl" else 1)
    centre = joints.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(joints - centre, axis=2).max(axis=1)
    around = np.median(np.linalg.norm(centre[:, 0], axis=1) / np.maximum(radius, 1e-12)) < AROUND_ORIGIN
    # giants reach the origin from anywhere
    if around and not (is_odd_size and np.median(radius) > HAND_RADIUS[1]):
        nearest = protocol.joint_order[int(np.median(np.linalg.norm(joints, axis=2), axis=0).argmin())]
        return [
            Finding(
                "root_relative",
                "error",
                f"the hands lie around the origin, nearest to it {nearest}: they are relative to a point of the hand",
                "Subtract the wrist from all points and add the given root position (in the benchmark's axes): "
                "absolute camera coordinates are scored.",
            )
        ]
    behind = float((depth < 0).mean())
    side = "z < 0 (OpenGL axes)" if protocol.axes == "opengl" else "z > 0 (OpenCV axes)"
    if behind >= 0.5:
        return [
            Finding(
                "wrong_axes",
                "error",
                f"{behind:.0%} of the hands are on the wrong side of the camera; {protocol.title} has hands at {side}",
                "Multiply y and z of joints and vertices by -1.",
            )
        ]
    if behind > 0:
        number = int(np.flatnonzero(depth < 0)[0])
        return [
            Finding(
                "behind_camera",
                "warning",
                f"{behind:.1%} of the hands are behind the camera, e.g. number {number}; {protocol.title} has them at "
                f"{side}",
                "Look at the root positions of these images.",
            )
        ]
    return []


def _check_distance(joints: np.ndarray, numbers: np.ndarray) -> list[Finding]:
    """Are the wrists where a camera can see a hand?"""
    distance = np.linalg.norm(joints[:, 0], axis=1)
    odd = np.flatnonzero((distance < WRIST_DISTANCE[0]) | (distance > WRIST_DISTANCE[1]))
    if len(odd) == 0:
        return []
    most = len(odd) > len(joints) / 2
    return [
        Finding(
            "odd_depth",
            "error" if most else "warning",
            f"{len(odd)} of {len(joints)} wrists are nearer than {WRIST_DISTANCE[0]} m or farther than "
            f"{WRIST_DISTANCE[1]:.0f} m from the camera, e.g. number {numbers[odd[0]]} at {distance[odd[0]]:.2f} m",
            "Add the given root position once, in metres and in the benchmark's axes.",
        )
    ]


def _check_handedness(joints: np.ndarray, protocol: Benchmark) -> list[Finding]:
    """Both benchmarks show right hands: on which side of the palm do the fingers bend?

    With the palm spanned by wrist, index base and pinky base, fingers bend towards the palm's inner side and never far
    the other way; a mirrored hand bends backwards.
    """
    hand = joints[:, permutation(protocol.joint_order, JOINTS)]
    at = {name: hand[:, JOINTS.index(name)] for name in JOINTS}
    normal = np.cross(at["index_1"] - at["wrist"], at["pinky_1"] - at["wrist"])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    bends = []
    for finger in FINGERS[1:]:
        direction = at[f"{finger}_4"] - at[f"{finger}_1"]
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
        bends.append((direction * normal).sum(axis=1))
    bend = np.mean(bends, axis=0)
    clear = np.abs(bend) > MIRROR_BEND
    if clear.sum() < max(3, len(bend) / 4) or (bend[clear] * PALM_SIDE < 0).mean() < MIRROR_AGREEMENT:
        return []
    return [
        Finding(
            "mirrored_hand",
            "error",
            "the fingers bend away from a right hand's palm: these are left or mirrored hands",
            f"{protocol.title} has right hands: mirror x of what a left-hand model predicts, and undo the mirroring of "
            "images.",
        )
    ]


def _check_unit(joints: np.ndarray) -> list[Finding]:
    radius = float(np.median(np.linalg.norm(joints - joints.mean(axis=1, keepdims=True), axis=2)))
    if HAND_RADIUS[0] <= radius <= HAND_RADIUS[1]:
        return []
    units = {"millimetres": 1000, "centimetres": 100}
    size = f"joints lie {radius:.3g} from the hand's centre, a hand's lie about 0.06 (metres)"
    for unit, factor in units.items():
        if HAND_RADIUS[0] <= radius / factor <= HAND_RADIUS[1]:
            return [Finding("wrong_unit", "error", f"{size}: these look like {unit}", f"Divide by {factor}.")]
    return [Finding("odd_size", "error", f"{size}: no unit in use explains this", "Write metres; look at the hands.")]


def _candidate_orders() -> dict[str, tuple[str, ...]]:
    """Joint orders that people write by mistake, by name; the known ones first."""
    candidates: dict[str, tuple[str, ...]] = dict(ORDERS.items())
    tips = tuple(f"{finger}_4" for finger in ("index", "middle", "pinky", "ring", "thumb"))
    candidates["MANO's joints, then tips in MANO's finger order"] = KINEMATIC_JOINTS + tips
    return candidates


def _swap_fingers(order: tuple[str, ...], first: str, second: str) -> tuple[str, ...]:
    names = {f"{first}_{i}": f"{second}_{i}" for i in range(1, 5)}
    names |= {new: old for old, new in names.items()}
    return tuple(names.get(joint, joint) for joint in order)


def _skeleton_length(joints: np.ndarray, order: tuple[str, ...]) -> np.ndarray:
    """(N,) length of the bones and of the line along the finger bases, if the joints came in the given order.

    The right order gives the shortest skeleton: bones join neighbours, and the bases lie side by side in the palm. The
    thumb's base, the nearest to the wrist, counts twice; without it the row of bases could be read from either end.
    """
    hand = joints[:, permutation(order, JOINTS)]
    bases = [JOINTS.index(f"{finger}_1") for finger in FINGERS]
    links = np.array([*BONES, *pairwise(bases), (0, bases[0])])
    return np.linalg.norm(hand[:, links[:, 0]] - hand[:, links[:, 1]], axis=2).sum(axis=1)


def _check_order(joints: np.ndarray, protocol: Benchmark) -> list[Finding]:
    declared_order = protocol.joint_order
    candidates = _candidate_orders()
    for first, second in combinations(FINGERS, 2):
        candidates[f"{protocol.title} with {first} and {second} swapped"] = _swap_fingers(declared_order, first, second)
    declared = _skeleton_length(joints, declared_order)
    gains = {}
    for name, order in candidates.items():
        length = _skeleton_length(joints, order)
        if (length < (1 - ORDER_GAIN) * declared).mean() >= ORDER_AGREEMENT:
            gains[name] = float(np.mean(declared - length))
    if not gains:
        return []
    best = max(gains, key=gains.__getitem__)
    return [
        Finding(
            "joint_order",
            "error",
            f"the joints are not in {protocol.title}'s order: they make a hand if read as '{best}'",
            f"Reorder them; {protocol.title} expects {', '.join(declared_order)}.",
        )
    ]


def check_mesh(joints: np.ndarray, vertices: np.ndarray, protocol: Benchmark) -> list[Finding]:
    """Do joints and meshes belong together? Finger tips lie on the skin."""
    tips = [protocol.joint_order.index(f"{finger}_4") for finger in FINGERS]
    size = np.linalg.norm(joints - joints.mean(axis=1, keepdims=True), axis=2).mean(axis=1)
    distance = np.stack([cKDTree(mesh).query(hand[tips])[0] for mesh, hand in zip(vertices, joints, strict=True)])
    # Relative to the hand's size, so that a wrong unit is reported once and not here again.
    if np.median(distance / np.maximum(size, 1e-12)[:, None]) > TIP_TO_SKIN / 0.06:
        return [
            Finding(
                "joints_apart_from_mesh",
                "error",
                f"finger tips are {np.median(distance):.3g} from the mesh of the same image",
                "Bring joints and vertices into the same unit, axes, root and image order.",
            )
        ]
    if vertices.shape[1] != NUM_VERTICES:
        return []
    by_convention = {
        name: float(np.median(np.linalg.norm(joints[:, tips] - vertices[:, list(ids)], axis=2)))
        for name, ids in TIP_VERTICES.items()
    }
    nearest = min(by_convention, key=by_convention.__getitem__)
    if by_convention[protocol.tips] > SAME_POINT >= by_convention[nearest]:
        return [
            Finding(
                "tip_convention",
                "warning",
                f"finger tips are the vertices of the '{nearest}' convention; {protocol.title} takes other ones, "
                f"{1000 * by_convention[protocol.tips]:.1f} mm away in the median",
                f"Take the tips from the vertices {list(TIP_VERTICES[protocol.tips])} (thumb to pinky).",
            )
        ]
    return []
