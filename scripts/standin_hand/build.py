"""Builds the stand-in hand: a licence-free hand model of MANO's sizes, from nothing but published measurements.

The skin is an implicit surface around the bones (`surface`), remeshed to MANO's counts (`mesh`) and
rigged (`rig`). Its vertices are numbered so that code written for MANO's ids works unchanged: the ids that stand
for finger tips lie there, and the ids of the published coarse mesh are spread evenly over the skin.
"""

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from handlit.hand.anatomy import rest_joints
from handlit.hand.articulation import sample_poses
from handlit.hand.asset import NUM_VERTICES, HandAsset
from handlit.hand.coarse import COARSE_VERTICES
from handlit.skeleton import FINGERS, KINEMATIC_FINGERS, TIP_VERTICES
from scripts.standin_hand.mesh import remesh
from scripts.standin_hand.rig import joint_regressor, pose_directions, shape_directions, skinning_weights

#: Poses whose mean and principal components the asset carries.
_NUM_POSES = 20_000


def _edge_distances(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, V) metres along edges between all pairs of vertices."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    length = np.sqrt(((vertices[pairs[:, 0]] - vertices[pairs[:, 1]]) ** 2).sum(-1))
    graph = csr_matrix((length, (pairs[:, 0], pairs[:, 1])), shape=(len(vertices), len(vertices)))
    return dijkstra(graph.maximum(graph.T), directed=False)


def _tip_ids(vertices: np.ndarray) -> dict[int, int]:
    """Which vertex of the new mesh takes each id that stands for a finger tip.

    The first convention's id becomes the apex, the others its nearest neighbours.
    """
    rest = rest_joints()
    taken: dict[int, int] = {}
    for position, finger in enumerate(FINGERS):
        chain = KINEMATIC_FINGERS.index(finger)
        tip, last = rest[16 + chain], rest[3 + 3 * chain]
        ahead = (tip - last) / np.sqrt((tip - last) @ (tip - last))
        near = np.sqrt(((vertices - tip) ** 2).sum(-1)) < 0.012
        apex = int(np.argmax(np.where(near, vertices @ ahead, -1.0)))
        distance = np.sqrt(((vertices - vertices[apex]) ** 2).sum(-1))
        ids = list(dict.fromkeys(convention[position] for convention in TIP_VERTICES.values()))
        taken.update(zip(ids, np.argsort(distance, kind="stable")[: len(ids)].tolist(), strict=True))
    return taken


def _number_vertices(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(778,) for each new id the vertex of the mesh that takes it."""
    tips = _tip_ids(vertices)
    distance = _edge_distances(vertices, faces)
    coarse = [vertex for name, vertex in tips.items() if name in COARSE_VERTICES]
    barred = [vertex for name, vertex in tips.items() if name not in COARSE_VERTICES]
    reach = distance[coarse].min(0)
    # farthest-point sampling: each next coarse vertex is the one furthest from those chosen
    while len(coarse) < len(COARSE_VERTICES):
        candidates = reach.copy()
        candidates[barred] = -1.0
        coarse.append(int(np.argmax(candidates)))
        reach = np.minimum(reach, distance[coarse[-1]])
    order = np.full(NUM_VERTICES, -1)
    for name, vertex in tips.items():
        order[name] = vertex
    # ids run from the wrist outwards, as far as the fixed ones allow
    outwards = np.argsort(-vertices[:, 0], kind="stable").tolist()
    chosen, fixed = set(coarse), set(tips.values())
    for is_coarse in (True, False):
        ids = [i for i in range(NUM_VERTICES) if (i in COARSE_VERTICES) == is_coarse and i not in tips]
        order[ids] = [v for v in outwards if (v in chosen) == is_coarse and v not in fixed]
    return order


def _pose_basis() -> tuple[np.ndarray, np.ndarray]:
    """Mean (45,) and principal components (45, 45) of natural poses, components in rows, largest first."""
    poses = sample_poses(_NUM_POSES, seed=0)
    # joints that cannot twist leave directions without variance; this small slope fixes their order
    covariance = np.cov(poses.T) + 1e-7 * np.diag(np.linspace(2.0, 1.0, 45))
    _, vectors = np.linalg.eigh(covariance)
    components = vectors.T[::-1]
    largest = np.abs(components).argmax(1)
    return poses.mean(0), components * np.sign(components[np.arange(45), largest])[:, None]


def sculpt_hand() -> HandAsset:
    """Build the right stand-in hand from its anatomy. Deterministic; takes about fifteen seconds.

    Returns:
        The asset, in float64; see `HandAsset` for its frame.
    """
    vertices, faces = remesh()
    order = _number_vertices(vertices, faces)
    new_id = np.argsort(order)
    vertices, faces = vertices[order], new_id[faces]
    # a fixed order of the triangles: each starts at its smallest id, then sorted
    start = faces.argmin(1)
    faces = np.stack([faces[np.arange(len(faces)), (start + i) % 3] for i in range(3)], axis=1)
    faces = faces[np.lexsort(faces.T[::-1])]
    weights = skinning_weights(vertices, faces)
    directions, joint_directions = shape_directions(vertices, weights)
    pose_mean, pose_components = _pose_basis()
    return HandAsset(
        name="standin",
        side="right",
        template=vertices,
        shape_directions=directions,
        pose_directions=pose_directions(vertices, weights),
        joint_regressor=joint_regressor(vertices, weights, directions, joint_directions),
        weights=weights,
        faces=faces,
        pose_mean=pose_mean,
        pose_components=pose_components,
    )


#: The arrays of an asset that are stored in its file.
ARRAYS = (
    "template",
    "shape_directions",
    "pose_directions",
    "joint_regressor",
    "weights",
    "faces",
    "pose_mean",
    "pose_components",
)


def save_hand(asset: HandAsset, path: str | Path) -> None:
    """Write an asset's arrays to a compressed npz file, numbers as float32 and triangles as int16."""
    arrays = {name: getattr(asset, name).astype(np.int16 if name == "faces" else np.float32) for name in ARRAYS}
    np.savez_compressed(path, **arrays)
