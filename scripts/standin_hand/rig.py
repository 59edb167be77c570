"""What moves the stand-in hand: skinning weights, shape directions, joint regressor and pose correctives."""

import numpy as np
from scipy.optimize import nnls
from scipy.spatial.transform import Rotation

from handlit.hand.anatomy import chain_directions, joint_axes, rest_joints
from handlit.skeleton import KINEMATIC_FINGERS, KINEMATIC_PARENTS
from scripts.standin_hand.surface import chain_arc, finger_coordinates, finger_distance

FINGER_CHAINS = tuple(finger for finger in KINEMATIC_FINGERS if finger != "thumb")
#: Half length of the zone in which the skin changes from one bone to the next, metres: about the joint's half girth.
_BLEND = {"finger": (0.0115, 0.0075, 0.0062), "thumb": (0.0180, 0.0105, 0.0080)}


def _smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below -1, 1 above 1, smooth between."""
    t = np.clip(0.5 * (x + 1.0), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    axis = end - start
    along = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
    return np.sqrt(((points - start - along[:, None] * axis) ** 2).sum(-1))


def skinning_weights(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Skinning weights that change smoothly over about each joint's girth.

    Args:
        vertices: (V, 3) rest mesh, metres.
        faces: (F, 3) triangles.

    Returns:
        (V, 16), at most four are not zero per vertex, rows sum to 1.
    """
    rest = rest_joints()
    weights = np.zeros((len(vertices), 16))
    distance = np.stack([np.maximum(finger_distance(vertices, finger), 0.0) for finger in FINGER_CHAINS])
    share = np.exp((distance.min(0) - distance) / 0.0025)
    share /= share.sum(0)
    for chain, finger in enumerate(FINGER_CHAINS):
        along, _, back = finger_coordinates(vertices, finger).T
        arc = chain_arc(finger)
        # a finger's crease in the palm lies further out than its knuckle on the back
        crease = 0.45 * np.clip(-back, 0.0, 0.01)
        reach = [_smooth_step((along - arc[i] - (crease if i == 0 else 0.0)) / _BLEND["finger"][i]) for i in range(3)]
        _fill_chain(weights, 1 + 3 * chain, share[chain], reach)
    thumb_base, thumb_knuckle = rest[13], rest[14]
    metacarpal = chain_directions("thumb")[0]
    carpus = np.array([0.085, 0.004, 0.012])
    to_thumb = np.minimum(
        _distance_to_segment(vertices, thumb_base, thumb_knuckle),
        _distance_to_segment(vertices, thumb_knuckle, rest[20]),
    )
    rays = [(carpus, rest[1 + 3 * chain]) for chain in range(4)]
    rays += [(rest[1 + 3 * chain], rest[16 + chain]) for chain in range(4)]
    to_fingers = np.min([_distance_to_segment(vertices, start, end) for start, end in rays], axis=0)
    thumb_share = _smooth_step((to_fingers - to_thumb - 0.001) / 0.011)
    along = finger_coordinates(vertices, "thumb")[:, 0]
    reach = [_smooth_step(((vertices - thumb_base) @ metacarpal - 0.006) / _BLEND["thumb"][0])]
    reach += [_smooth_step((along - chain_arc("thumb")[i]) / _BLEND["thumb"][i]) for i in (1, 2)]
    weights *= (1.0 - thumb_share * reach[0])[:, None]
    _fill_chain(weights, 13, thumb_share, reach)
    weights[:, 0] = 1.0 - weights[:, 1:].sum(1)
    weights = _diffuse(weights, faces, passes=2)
    fourth = np.sort(weights, axis=1)[:, -4]
    weights = np.where(weights >= np.maximum(fourth, 2e-3)[:, None], weights, 0.0)
    return weights / weights.sum(1, keepdims=True)


def _fill_chain(weights: np.ndarray, first: int, share: np.ndarray, reach: list[np.ndarray]) -> None:
    weights[:, first] = share * reach[0] * (1.0 - reach[1])
    weights[:, first + 1] = share * reach[0] * reach[1] * (1.0 - reach[2])
    weights[:, first + 2] = share * reach[0] * reach[1] * reach[2]


def _diffuse(values: np.ndarray, faces: np.ndarray, passes: int) -> np.ndarray:
    """Average each vertex half with its neighbours."""
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    degree = np.bincount(edges.ravel(), minlength=len(values))[:, None]
    for _ in range(passes):
        total = np.zeros_like(values)
        np.add.at(total, edges[:, 0], values[edges[:, 1]])
        np.add.at(total, edges[:, 1], values[edges[:, 0]])
        values = 0.5 * values + 0.5 * total / degree
    return values


def _bone_stretch(component: int) -> np.ndarray:
    """(16, 3) relative growth of each bone per unit of a shape coefficient: along it, across it, across it in depth.

    The wrist's three numbers are the growth of the palm along x, z (width) and y (thickness).
    """
    growth = np.zeros((16, 3))
    proximal, middle, distal = np.arange(1, 13, 3), np.arange(2, 13, 3), np.arange(3, 13, 3)
    fingers = np.arange(1, 13)
    if component == 0:  # overall size
        growth[:] = 0.06
    elif component == 1:  # long fingers on a short palm
        growth[1:, 0] = 0.045
        growth[0, 0] = -0.020
    elif component == 2:  # girth
        growth[:, 1:] = 0.050
    elif component == 3:  # width of the palm
        growth[0, 1] = 0.050
        growth[fingers, 1] = 0.015
    elif component == 4:  # size of the thumb
        growth[13:] = 0.055, 0.045, 0.045
    elif component == 5:  # tapering fingers
        growth[proximal, 1:] = 0.025
        growth[middle, 1:] = -0.010
        growth[distal, 1:] = -0.045
    elif component == 6:  # index long, ring short
        growth[1:4, 0] = 0.030
        growth[10:13, 0] = -0.030
    elif component == 7:  # length of the little finger
        growth[7:10] = 0.060, 0.015, 0.015
    elif component == 8:  # thickness of the palm
        growth[0, 2] = 0.060
        growth[13, 1:] = 0.030
    else:  # long first, short last phalanges
        growth[proximal, 0] = 0.035
        growth[distal, 0] = -0.055
    return growth


def shape_directions(vertices: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear shape components: every bone and the flesh around it grows, and carries what hangs on it.

    Args:
        vertices: (V, 3) rest mesh, metres.
        weights: (V, 16) skinning weights.

    Returns:
        Change of the vertices (V, 3, 10) and of the 16 rest joints (16, 3, 10), metres per unit of each coefficient.
        Components: size, finger length, girth, palm width, thumb, taper, index against ring, little finger, palm
        thickness, first against last phalanges.
    """
    rest = rest_joints()[:16]
    axes = np.concatenate([np.array([[[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]]), joint_axes()])
    moved = np.zeros((len(vertices), 3, 10))
    joints = np.zeros((16, 3, 10))
    for component in range(10):
        growth = _bone_stretch(component)
        stretch = np.zeros((16, 3, 3))
        for bone in range(16):
            side, back, ahead = axes[bone]
            for axis, amount in zip((ahead, side, back), growth[bone], strict=True):
                stretch[bone] += amount * np.outer(axis, axis)
        for bone in range(1, 16):
            parent = KINEMATIC_PARENTS[bone]
            joints[bone, :, component] = joints[parent, :, component] + stretch[parent] @ (rest[bone] - rest[parent])
        for bone in range(16):
            shift = (vertices - rest[bone]) @ stretch[bone].T + joints[bone, :, component]
            moved[:, :, component] += weights[:, bone, None] * shift
    return moved, joints


def joint_regressor(
    vertices: np.ndarray, weights: np.ndarray, directions: np.ndarray, joint_directions: np.ndarray
) -> np.ndarray:
    """Joints as averages of the vertices around them: exact at rest, close to the bones' own growth for every shape.

    Args:
        vertices: (V, 3) rest mesh, metres.
        weights: (V, 16) skinning weights.
        directions: (V, 3, 10) shape directions.
        joint_directions: (16, 3, 10) target change of the joints.

    Returns:
        (16, V), not negative, rows sum to 1.
    """
    rest = rest_joints()
    regressor = np.zeros((16, len(vertices)))
    for joint in range(16):
        distance = np.sqrt(((vertices - rest[joint]) ** 2).sum(-1))
        parent = KINEMATIC_PARENTS[joint]
        allowed = weights[:, joint] + (weights[:, parent] if parent >= 0 else 0.0) > 0.5
        near = np.argsort(np.where(allowed, distance, 1.0), kind="stable")[: 64 if joint == 0 else 48]
        exact = np.concatenate([np.ones((1, len(near))), (vertices[near] - rest[joint]).T / 0.01])
        target_exact = np.array([1.0, 0.0, 0.0, 0.0])
        tracking = directions[near].reshape(len(near), 30).T / 0.01
        target_tracking = joint_directions[joint].reshape(30) / 0.01
        # the last rows spread the weight over many vertices
        system = np.concatenate([1e3 * exact, tracking, 0.02 * np.eye(len(near))])
        target = np.concatenate([1e3 * target_exact, target_tracking, np.zeros(len(near))])
        solution, _ = nnls(system, target)
        used = solution > 1e-6
        solution = np.where(used, solution, 0.0)
        constraint = exact[:, used]
        solution[used] += np.linalg.lstsq(constraint, target_exact - constraint @ solution[used], rcond=None)[0]
        regressor[joint, near] = solution
    return regressor


def _bending_samples(joint: int) -> np.ndarray:
    """(K, 3, 3) rotations of a joint over its range about its own axes."""
    flexion, abduction, twist = joint_axes()[joint - 1]
    degrees = np.array([-15.0, 15, 30, 45, 60, 75, 90, 100])
    combinations = [(angle, 0.0, 0.0) for angle in degrees]
    if joint % 3 == 1:
        combinations += [(angle, side, 0.0) for angle in (0.0, 45.0) for side in (-20.0, 20.0)]
        combinations += [(20.0, 0.0, turn) for turn in (-25.0, 25.0)]
    angles = np.radians(combinations)
    return (
        Rotation.from_rotvec(angles[:, 0:1] * flexion)
        * Rotation.from_rotvec(angles[:, 1:2] * abduction)
        * Rotation.from_rotvec(angles[:, 2:3] * twist)
    ).as_matrix()


def _knuckle(vertices: np.ndarray, joint: int) -> np.ndarray:
    """(V, 3) metres: how the head of a metacarpal stands out on the back of the hand when its finger is fully bent."""
    if joint % 3 != 1 or joint == 13:
        return np.zeros_like(vertices)
    side, back, ahead = joint_axes()[joint - 1]
    offset = vertices - rest_joints()[joint]
    along, aside, above = offset @ ahead, offset @ side, offset @ back
    near = np.exp(-0.5 * ((along / 0.0075) ** 2 + (aside / 0.0055) ** 2)) * _smooth_step((above - 0.003) / 0.004)
    return 0.0035 * near[:, None] * (0.8 * back + 0.6 * ahead)


def pose_directions(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pose correctives that keep bent joints from collapsing.

    Linear blending moves a vertex along the chord between two bones' placements, which thins a bent joint. The
    correctives are the least-squares fit, over each joint's range, to moving it along the arc: by the fraction of the
    joint's rotation that the vertex follows. The knuckles of a fist are added on top.

    Args:
        vertices: (V, 3) rest mesh, metres.
        weights: (V, 16) skinning weights.

    Returns:
        (V, 3, 135) metres per unit of the 15 (R - I), row-major.
    """
    rest = rest_joints()
    result = np.zeros((len(vertices), 3, 135))
    for joint in range(1, 16):
        last = joint + (3 - joint) % 3
        follows = weights[:, joint : last + 1].sum(1)
        knuckle = _knuckle(vertices, joint)
        bending = np.flatnonzero(((follows > 1e-3) & (follows < 1 - 1e-3)) | (np.abs(knuckle).max(1) > 1e-5))
        share, arm = follows[bending], vertices[bending] - rest[joint]
        rotations = _bending_samples(joint)
        target = np.zeros((len(rotations), len(bending), 3))
        for k, rotation in enumerate(rotations):
            vector = Rotation.from_matrix(rotation).as_rotvec()
            arc = Rotation.from_rotvec(share[:, None] * vector).apply(arm)
            blend = (1.0 - share)[:, None, None] * np.eye(3) + share[:, None, None] * rotation
            # 0 for a straight finger, 1 at a right angle
            bent = 1.0 - np.cos(np.maximum(vector @ joint_axes()[joint - 1, 0], 0.0))
            target[k] = np.linalg.solve(blend, arc[..., None])[..., 0] - arm + bent * knuckle[bending]
        features = (rotations - np.eye(3)).reshape(-1, 9)
        system = features.T @ features + 1e-3 * np.eye(9)
        fit = np.linalg.solve(system, features.T @ target.reshape(len(rotations), -1))
        block = slice(9 * (joint - 1), 9 * joint)
        result[bending, :, block] = fit.reshape(9, len(bending), 3).transpose(1, 2, 0)
    return result
