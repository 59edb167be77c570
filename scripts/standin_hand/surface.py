"""The skin of the stand-in hand as the zero level of a function of space: negative inside, about a distance near it."""

from functools import cache

import numpy as np

from handlit.hand.anatomy import FINGER_HALF_WIDTH, chain_directions, joint_axes, rest_joints
from handlit.skeleton import KINEMATIC_FINGERS

#: The wrist is cut by the plane x = WRIST_CUT, metres.
WRIST_CUT = 0.1080

#: Girth along a finger, as multiples of its half width: knots in bone units (0 = base joint, 1 = second joint, 2 = last
#: joint, 3 = end of the soft tip), then half width, height towards the back, height towards the palm.
_FINGER_PROFILE = np.array(
    [
        [-0.60, 1.00, 0.95, 1.05],
        [0.00, 1.00, 0.98, 1.05],
        [0.30, 0.97, 0.88, 1.06],
        [0.60, 0.93, 0.82, 1.00],
        [0.85, 0.95, 0.88, 0.88],
        [1.00, 0.97, 0.93, 0.84],
        [1.15, 0.94, 0.88, 0.86],
        [1.50, 0.86, 0.75, 0.90],
        [1.85, 0.86, 0.74, 0.78],
        [2.00, 0.87, 0.76, 0.74],
        [2.20, 0.85, 0.70, 0.78],
        [2.55, 0.81, 0.60, 0.80],
        [3.00, 0.74, 0.52, 0.72],
    ]
)
_THUMB_PROFILE = np.array(
    [
        [0.40, 1.10, 1.00, 1.05],
        [0.80, 1.08, 1.00, 1.02],
        [1.00, 1.04, 1.00, 0.98],
        [1.20, 0.98, 0.90, 0.96],
        [1.55, 0.92, 0.78, 0.92],
        [1.85, 0.97, 0.82, 0.82],
        [2.00, 0.99, 0.83, 0.79],
        [2.20, 1.01, 0.75, 0.86],
        [2.55, 0.98, 0.62, 0.86],
        [3.00, 0.84, 0.50, 0.72],
    ]
)


def _smooth_min(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Union of two shapes with a fillet of about the size of `blend` (metres)."""
    overlap = np.maximum(blend - np.abs(a - b), 0.0)
    return np.minimum(a, b) - overlap * overlap * (0.25 / blend)


def _round_cone(points: np.ndarray, start: np.ndarray, end: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """About the distance to a capsule whose radius goes from the first to the second value."""
    axis = end - start
    along = np.clip(((points - start) @ axis) / (axis @ axis), 0.0, 1.0)
    offset = points - start - along[:, None] * axis
    return np.sqrt((offset * offset).sum(-1)) - (radii[0] + (radii[1] - radii[0]) * along)


def _ellipsoid(points: np.ndarray, centre: np.ndarray, axes: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """About the distance to an ellipsoid with the given unit axes (rows) and radii."""
    scaled = ((points - centre) @ axes.T) / radii
    level = np.sqrt((scaled * scaled).sum(-1)) + 1e-9
    slope = np.sqrt(((scaled / radii) ** 2).sum(-1)) + 1e-9
    return level * (level - 1.0) / slope


@cache
def chain_arc(finger: str) -> np.ndarray:
    """(4,) metres: where a chain's three joints and its tip lie on the straight line of its phalanges.

    The second joint is the origin; a thumb's metacarpal is projected onto the line.
    """
    chain = KINEMATIC_FINGERS.index(finger)
    stations = rest_joints()[[1 + 3 * chain, 2 + 3 * chain, 3 + 3 * chain, 16 + chain]]
    return (stations - stations[1]) @ chain_directions(finger)[2]


@cache
def _chain_knots(finger: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the girth profile's knots lie along the chain, and the girths there; metres."""
    arc = chain_arc(finger)
    profile = _THUMB_PROFILE if finger == "thumb" else _FINGER_PROFILE
    knots = np.interp(profile[:, 0], [0.0, 1.0, 2.0, 3.0], arc)
    below = profile[:, 0] < 0
    knots[below] = arc[0] + profile[below, 0] * (arc[1] - arc[0])
    return knots, profile[:, 1:] * FINGER_HALF_WIDTH[finger]


def _smooth_interp(x: np.ndarray, knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolation without kinks: the mean of the piecewise-linear curve over a window of 5 mm."""
    offsets = np.array([-0.0025, -0.00125, 0.0, 0.00125, 0.0025])
    return np.mean([np.interp(x + offset, knots, values) for offset in offsets], axis=0)


def finger_coordinates(points: np.ndarray, finger: str) -> np.ndarray:
    """(N, 3) position along the phalanges from the second joint, to the thumb's side, and to the back; metres."""
    chain = KINEMATIC_FINGERS.index(finger)
    origin = rest_joints()[2 + 3 * chain]
    flexion, back, ahead = joint_axes()[3 * chain + 2]
    return (points - origin) @ np.stack([ahead, flexion, back]).T


def finger_distance(points: np.ndarray, finger: str) -> np.ndarray:
    """About the distance to the tube of one finger with its rounded tip; (N,) metres."""
    along, side, back = finger_coordinates(points, finger).T
    knots, girths = _chain_knots(finger)
    cap = 1.05 * FINGER_HALF_WIDTH[finger]
    end = knots[-1] - cap
    inside = np.minimum(along, end)
    width = _smooth_interp(inside, knots, girths[:, 0])
    height_back = _smooth_interp(inside, knots, girths[:, 1])
    height_pad = _smooth_interp(inside, knots, girths[:, 2])
    # the two half ellipses meet with a common tangent at the sides, so the section has no kink
    height = np.where(back > 0, height_back, height_pad)
    start = knots[0]
    past = (np.maximum(along - end, 0.0) - np.maximum(start - along, 0.0)) / cap
    scaled = np.stack([side / width, back / height, past])
    radii = np.stack([width, height, np.full_like(width, cap)])
    level = np.sqrt((scaled * scaled).sum(0)) + 1e-9
    slope = np.sqrt(((scaled / radii) ** 2).sum(0)) + 1e-9
    return level * (level - 1.0) / slope


def _palm_distance(points: np.ndarray) -> np.ndarray:
    """The palm: metacarpals under a common skin, the two eminences, the web of the thumb and the wrist."""
    rest = rest_joints()
    index, middle, pinky, ring = (rest[1 + 3 * chain] for chain in range(4))
    thumb_base, thumb_knuckle = rest[13], rest[14]
    down = np.array([0.0, -1.0, 0.0])

    def carpus(y: float, z: float) -> np.ndarray:
        return np.array([0.0800, y, z])

    # bones of the palm lie near its back; the flesh below is added by lower, thicker cones
    palm = _round_cone(points, carpus(0.006, 0.016), index + 0.0012 * down, (0.0120, 0.0094))
    for start, end, radii in (
        (carpus(0.008, 0.008), middle + 0.0012 * down, (0.0120, 0.0096)),
        (carpus(0.007, 0.000), ring + 0.0012 * down, (0.0120, 0.0090)),
        (carpus(0.004, -0.008), pinky + 0.0012 * down, (0.0115, 0.0080)),
        # the ball of the fingers on the palm side, a little beyond the knuckles
        (index + 0.0045 * down + [-0.002, 0, 0], middle + 0.006 * down + [-0.003, 0, 0], (0.0098, 0.0096)),
        (middle + 0.006 * down + [-0.003, 0, 0], ring + 0.005 * down + [-0.003, 0, 0], (0.0096, 0.0094)),
        (ring + 0.005 * down + [-0.003, 0, 0], pinky + 0.0035 * down + [-0.001, 0, 0], (0.0094, 0.0088)),
        # the webs between the fingers
        (index + 0.0035 * down + [-0.0095, 0, 0], middle + 0.0045 * down + [-0.0105, 0, 0], (0.0062, 0.0062)),
        (middle + 0.0045 * down + [-0.0105, 0, 0], ring + 0.004 * down + [-0.0095, 0, 0], (0.0062, 0.0060)),
        (ring + 0.004 * down + [-0.0095, 0, 0], pinky + 0.003 * down + [-0.0075, 0, 0], (0.0060, 0.0058)),
        # flesh under the metacarpals, leaving the hollow of the palm
        (carpus(-0.002, 0.012), index + 0.006 * down + [0.012, 0, -0.004], (0.0120, 0.0098)),
        (carpus(-0.002, -0.004), ring + 0.006 * down + [0.010, 0, 0.002], (0.0120, 0.0096)),
    ):
        palm = _smooth_min(palm, _round_cone(points, start, end, radii), 0.010)
    # hypothenar eminence, along the ulnar edge
    hypothenar = _round_cone(points, carpus(-0.004, -0.012), pinky + [0.010, -0.0060, 0.0006], (0.0140, 0.0092))
    palm = _smooth_min(palm, hypothenar, 0.010)
    # thenar eminence: the thumb's metacarpal under a thick muscle
    thenar = _round_cone(points, thumb_base + [0.004, -0.004, -0.004], thumb_knuckle, (0.0165, 0.0112))
    muscle = _round_cone(
        points, thumb_base + [0.002, -0.009, -0.009], thumb_knuckle + [0.016, -0.001, -0.012], (0.0130, 0.0110)
    )
    thenar = _smooth_min(thenar, muscle, 0.010)
    palm = _smooth_min(palm, thenar, 0.013)
    # the skin between thumb and index finger
    web = _round_cone(points, thumb_knuckle + [0.014, 0.003, -0.010], index + [0.026, -0.004, 0.0], (0.0055, 0.0075))
    palm = _smooth_min(palm, web, 0.016)
    forearm = _ellipsoid(
        points * [0.25, 1.0, 1.0],
        np.array([0.25 * 0.125, 0.0035, 0.0045]),
        np.eye(3),
        np.array([0.0150, 0.0180, 0.0262]),
    )
    return _smooth_min(palm, forearm, 0.016)


def skin(points: np.ndarray) -> np.ndarray:
    """The hand's skin is where this is zero.

    Args:
        points: (N, 3) metres, rest frame.

    Returns:
        (N,) metres, negative inside; near the skin about the distance to it.
    """
    palm = _palm_distance(points)
    # each finger blends with the palm but hardly with its neighbour, which leaves webs instead of mittens
    parts = [
        _smooth_min(palm, finger_distance(points, finger), 0.006 if finger != "thumb" else 0.008)
        for finger in KINEMATIC_FINGERS
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = _smooth_min(whole, part, 0.0015)
    return whole


def skin_normal(points: np.ndarray) -> np.ndarray:
    """(N, 3) gradient of `skin` by central differences; it points outwards and is about a unit vector."""
    step = 2e-5
    shifted = [skin(points + step * axis) - skin(points - step * axis) for axis in np.eye(3)]
    return np.stack(shifted, axis=-1) / (2 * step)


def project(points: np.ndarray, iterations: int = 4) -> np.ndarray:
    """(N, 3) nearby points on the skin, by Newton steps along the gradient."""
    for _ in range(iterations):
        normal = skin_normal(points)
        square = np.maximum((normal * normal).sum(-1), 0.05)
        step = np.clip(skin(points) / square, -0.004, 0.004)
        points = points - step[:, None] * normal
    return points


def tetrahedral_isosurface(spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """The skin as a fine triangle mesh by marching tetrahedra, open where the wrist is cut.

    Args:
        spacing: Edge of the grid's cubes, metres.

    Returns:
        Vertices (N, 3) in metres and triangles (M, 3), counter-clockwise seen from outside; each edge has one or two
        triangles.
    """
    low = np.array([-0.0950, -0.0700, -0.0650])
    count = np.ceil((np.array([WRIST_CUT, 0.0450, 0.1050]) - low) / spacing).astype(int) + 1
    # the last layer of the grid lies on the cutting plane, so the surface ends exactly there
    low[0] = WRIST_CUT - spacing * (count[0] - 1)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1).reshape(-1, 3)
    level = skin(low + spacing * grid)
    level = np.where(np.abs(level) < 1e-7, 1e-7, level)
    stride = np.array([count[1] * count[2], count[2], 1])
    cells = grid[(grid < count - 1).all(-1)] @ stride
    tetrahedra = []
    # six tetrahedra around each cube's main diagonal: neighbouring cubes agree on the diagonals of their faces
    for first, second, third in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)):
        a = cells + stride[first]
        b = a + stride[second]
        corners = np.stack([cells, a, b, b + stride[third]], axis=-1)
        # odd permutations are mirrored; swap two corners to keep one handedness
        tetrahedra.append(corners if (second - first) % 3 == 1 else corners[:, [0, 2, 1, 3]])
    corners = np.concatenate(tetrahedra)
    inside = level[corners] < 0
    code = inside @ np.array([1, 2, 4, 8])
    pieces = []
    for pattern, triangles in _TETRAHEDRON_TRIANGLES.items():
        chosen = corners[code == pattern]
        pieces += [np.stack([np.sort(chosen[:, list(edge)], axis=-1) for edge in tri], axis=1) for tri in triangles]
    edges = np.concatenate(pieces)
    unique, faces = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    ends = level[unique]
    fraction = ends[:, :1] / (ends[:, :1] - ends[:, 1:])
    start, end = low + spacing * grid[unique[:, 0]], low + spacing * grid[unique[:, 1]]
    return start + fraction * (end - start), faces.reshape(-1, 3)


#: A triangle whose corners lie on edges (inside corner, outside corner) of a tetrahedron.
_CutTriangle = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def _tetrahedron_triangles() -> dict[int, list[_CutTriangle]]:
    """For each pattern of inside corners the triangles as triples of cut edges, outwards oriented."""
    corner = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
    table: dict[int, list[_CutTriangle]] = {}
    for pattern in range(1, 15):
        inside = [i for i in range(4) if pattern >> i & 1]
        outside = [i for i in range(4) if i not in inside]
        if len(inside) == 2:
            (a, b), (c, d) = inside, outside
            quad = [(a, c), (a, d), (b, d), (b, c)]
            triangles = [(quad[0], quad[1], quad[2]), (quad[0], quad[2], quad[3])]
        else:
            first, second, third = ((i, o) for i in inside for o in outside)
            triangles = [(first, second, third)]
        outward = corner[outside].mean(0) - corner[inside].mean(0)
        oriented = []
        for triangle in triangles:
            p, q, r = (0.5 * (corner[i] + corner[o]) for i, o in triangle)
            flipped = (triangle[2], triangle[1], triangle[0])
            oriented.append(triangle if np.cross(q - p, r - p) @ outward > 0 else flipped)
        table[pattern] = oriented
    return table


_TETRAHEDRON_TRIANGLES = _tetrahedron_triangles()
