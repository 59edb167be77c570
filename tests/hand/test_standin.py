import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from handlit.hand.articulation import sample_poses
from handlit.hand.asset import NUM_FACES, NUM_VERTICES, HandAsset
from handlit.hand.coarse import COARSE_VERTICES
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin, mirror
from handlit.skeleton import FINGERS, KINEMATIC_JOINTS, TIP_VERTICES

# Buryanov and Kotiuk 2010, millimetres: proximal, middle, distal phalanx; the thumb's metacarpal, proximal, distal
PHALANGES_MM = {
    "thumb": (46.2, 31.6, 21.7),
    "index": (39.8, 22.4, 15.8),
    "middle": (44.6, 26.3, 17.4),
    "ring": (41.4, 25.7, 17.3),
    "pinky": (32.7, 18.1, 16.0),
}
METACARPALS_MM = {"index": 68.1, "middle": 64.6, "ring": 58.0, "pinky": 53.7}


@pytest.fixture(scope="module")
def hand() -> HandAsset:
    return load_standin()


@pytest.fixture(scope="module")
def joints(hand: HandAsset) -> dict[str, np.ndarray]:
    return dict(zip(KINEMATIC_JOINTS, hand.joint_regressor @ hand.template, strict=True))


def directed_edges(faces: np.ndarray) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)]


def boundary_loop(faces: np.ndarray) -> list[int]:
    edges = set(directed_edges(faces))
    follows = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(follows)]
    while follows[loop[-1]] != loop[0]:
        loop.append(follows[loop[-1]])
    assert len(loop) == len(follows), "more than one boundary loop"
    return loop


def capped_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed volume in cubic centimetres, the wrist closed by a fan around the middle of its rim."""
    loop = boundary_loop(faces)
    middle = vertices[loop].mean(0)
    fan = np.stack([vertices[np.roll(loop, -1)], vertices[loop], np.broadcast_to(middle, (len(loop), 3))], axis=1)
    triangles = np.concatenate([vertices[faces], fan])
    return float(1e6 * np.linalg.det(triangles).sum() / 6)


def test_the_mesh_is_a_hand_sized_manifold_open_at_the_wrist(hand: HandAsset) -> None:
    assert hand.template.shape == (NUM_VERTICES, 3)
    assert hand.faces.shape == (NUM_FACES, 3)
    edges = directed_edges(hand.faces)
    # no directed edge twice: at most two triangles an edge, and neighbours are oriented alike
    assert len(set(edges)) == len(edges)
    undirected = {tuple(sorted(edge)) for edge in edges}
    loop = boundary_loop(hand.faces)
    assert len(loop) == 16
    # a disc: genus 0 with one hole
    assert NUM_VERTICES - len(undirected) + NUM_FACES == 1
    assert set(hand.faces.ravel().tolist()) == set(range(NUM_VERTICES))
    # one fan of triangles around each vertex
    spokes: dict[int, list[tuple[int, int]]] = {vertex: [] for vertex in range(NUM_VERTICES)}
    for a, b, c in hand.faces.tolist():
        for vertex, start, end in ((a, b, c), (b, c, a), (c, a, b)):
            spokes[vertex].append((start, end))
    for vertex, fan in spokes.items():
        follows = dict(fan)
        start = min(follows.keys() - follows.values(), default=min(follows))
        reached = [start]
        while (step := follows.get(reached[-1], start)) != start:
            reached.append(step)
        assert len(reached) == len(fan) + (vertex in loop)
    assert np.ptp(hand.template[loop, 0]) < 1e-6
    assert hand.template[loop, 0].min() > 0.1


def test_triangles_are_well_shaped_and_face_outwards(hand: HandAsset) -> None:
    # MANO's hand, and an adult's, is somewhat under half a litre
    assert 180 < capped_volume(hand.template, hand.faces) < 450
    corners = hand.template[hand.faces]
    sides = np.roll(corners, -1, axis=1) - corners
    cosines = -(sides * np.roll(sides, 1, axis=1)).sum(-1)
    lengths = np.linalg.norm(sides, axis=-1)
    cosines /= lengths * np.roll(lengths, 1, axis=1)
    assert np.degrees(np.arccos(cosines)).min() > 20


def test_it_is_a_right_hand_in_manos_frame(hand: HandAsset, joints: dict[str, np.ndarray]) -> None:
    fingers_up = joints["middle_3"] - joints["wrist"]
    to_thumb = joints["thumb_3"] - joints["pinky_1"]
    palm_normal = np.array([0.0, -1.0, 0.0])
    # seen from the palm side, looking against its normal, the thumb of a right hand is on the right
    right = np.cross(-palm_normal, fingers_up)
    assert to_thumb @ right > 0
    assert fingers_up[0] < -0.1
    np.testing.assert_allclose(joints["wrist"], [0.095, 0.006, 0.006], atol=1e-6)
    # the flesh of the finger tips and of the palm's eminences lies below the bones, the thumb in front of the palm
    assert joints["thumb_3"][1] < joints["index_1"][1] - 0.01


def test_bones_have_the_published_lengths(hand: HandAsset, joints: dict[str, np.ndarray]) -> None:
    for position, finger in enumerate(FINGERS):
        tip = hand.template[TIP_VERTICES["manopth"][position]]
        chain = [joints[f"{finger}_{i}"] for i in (1, 2, 3)]
        bones = 1e3 * np.linalg.norm(np.diff([*chain, tip], axis=0), axis=1)
        np.testing.assert_allclose(bones[:2], PHALANGES_MM[finger][:2], atol=0.05)
        # about 4 mm of soft tissue cover the last bone
        assert 2 < bones[2] - PHALANGES_MM[finger][2] < 6
    for finger, metacarpal in METACARPALS_MM.items():
        carpus = 1e3 * np.linalg.norm(joints[f"{finger}_1"] - joints["wrist"]) - metacarpal
        assert 23 < carpus < 31
    knuckles = hand.template[np.abs(hand.template[:, 0] - 0.012) < 0.006]
    # breadth over the knuckles of the four fingers, without the thumb
    breadth = np.ptp(knuckles[(knuckles[:, 2] < 0.045), 2])
    assert 0.070 < breadth < 0.092


@pytest.mark.parametrize("convention", list(TIP_VERTICES))
def test_tip_ids_of_every_convention_lie_at_the_tips(
    hand: HandAsset, joints: dict[str, np.ndarray], convention: str
) -> None:
    for position, finger in enumerate(FINGERS):
        ahead = joints[f"{finger}_3"] - joints[f"{finger}_2"]
        ahead /= np.linalg.norm(ahead)
        own = hand.weights[:, KINEMATIC_JOINTS.index(f"{finger}_3")] > 0.9
        apex = int(np.argmax(np.where(own, hand.template @ ahead, -np.inf)))
        manopth = TIP_VERTICES["manopth"][position]
        assert manopth == apex
        vertex = TIP_VERTICES[convention][position]  # type: ignore[index]
        assert np.linalg.norm(hand.template[vertex] - hand.template[apex]) < 0.006


def test_coarse_vertices_are_spread_over_the_whole_skin(hand: HandAsset) -> None:
    assert len(set(COARSE_VERTICES)) == 195
    distance, _ = cKDTree(hand.template[list(COARSE_VERTICES)]).query(hand.template)
    assert distance.max() < 0.012
    # a well-spread quarter of the vertices: most others are direct neighbours of one
    neighbours = {edge for edge in directed_edges(hand.faces) if edge[0] in set(COARSE_VERTICES)}
    assert len({b for _, b in neighbours} | set(COARSE_VERTICES)) > 0.85 * NUM_VERTICES


def test_weights_are_sparse_and_smooth(hand: HandAsset) -> None:
    np.testing.assert_allclose(hand.weights.sum(1), 1, atol=1e-12)
    assert hand.weights.min() >= 0
    assert (hand.weights > 0).sum(1).max() <= 4
    # every bone owns vertices, and no edge jumps from one bone to another
    assert (hand.weights.max(0) > 0.85).all()
    edges = np.array(directed_edges(hand.faces))
    assert np.abs(hand.weights[edges[:, 0]] - hand.weights[edges[:, 1]]).max() < 0.62
    for position, finger in enumerate(FINGERS):
        last = KINEMATIC_JOINTS.index(f"{finger}_3")
        assert hand.weights[TIP_VERTICES["manopth"][position], last] > 0.99


def test_regressor_rows_are_averages_of_few_vertices(hand: HandAsset) -> None:
    np.testing.assert_allclose(hand.joint_regressor.sum(1), 1, atol=1e-12)
    assert hand.joint_regressor.min() >= 0
    assert (hand.joint_regressor > 0).sum(1).max() <= 64


@pytest.mark.parametrize("component", range(10))
@pytest.mark.parametrize("coefficient", [-3.0, 3.0])
def test_joints_stay_inside_every_shape(hand: HandAsset, component: int, coefficient: float) -> None:
    shaped = hand.template + coefficient * hand.shape_directions[:, :, component]
    assert capped_volume(shaped, hand.faces) > 100
    # the angle that a closed surface fills is 4 pi seen from inside; the open wrist takes little of it
    for joint in hand.joint_regressor @ shaped:
        a, b, c = ((shaped[hand.faces] - joint)[:, i] for i in range(3))
        la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
        determinant = (a * np.cross(b, c)).sum(1)
        denominator = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        assert 2 * np.arctan2(determinant, denominator).sum() > 2.5 * np.pi


def test_shape_components_do_what_they_say(hand: HandAsset) -> None:
    names = list(KINEMATIC_JOINTS)

    def measure(component: int, coefficient: float) -> dict[str, float]:
        vertices = hand.template + coefficient * hand.shape_directions[:, :, component]
        place = dict(zip(names, hand.joint_regressor @ vertices, strict=True))
        tips = {finger: vertices[TIP_VERTICES["manopth"][i]] for i, finger in enumerate(FINGERS)}
        length = {finger: np.linalg.norm(tips[finger] - place[f"{finger}_1"]) for finger in FINGERS}
        palm = np.linalg.norm(place["middle_1"] - place["wrist"])
        return {
            "hand": palm + length["middle"],
            "fingers to palm": length["middle"] / palm,
            "volume": capped_volume(vertices, hand.faces),
            "palm width": np.linalg.norm(place["index_1"] - place["pinky_1"]),
            "thumb": length["thumb"],
            "index to ring": length["index"] / length["ring"],
            "pinky": length["pinky"],
            "thickness": np.ptp(vertices[np.abs(vertices[:, 0] - 0.04) < 0.01, 1]),
        }

    expected = {
        0: "hand",
        1: "fingers to palm",
        2: "volume",
        3: "palm width",
        4: "thumb",
        6: "index to ring",
        7: "pinky",
        8: "thickness",
    }
    for component, quantity in expected.items():
        values = [measure(component, coefficient)[quantity] for coefficient in (-2, -1, 0, 1, 2)]
        assert (np.diff(values) > 0).all(), (component, quantity)
    # one standard deviation of size is about 6 %
    assert measure(0, 1)["hand"] / measure(0, 0)["hand"] == pytest.approx(1.06, abs=2e-3)
    # hands of two standard deviations are human: 172 mm +- for women, 190 mm for men
    assert 0.155 < measure(0, -2)["hand"] < measure(0, 2)["hand"] < 0.215


def bent(hand: HandAsset, joint: str, degrees: float, correctives: bool = True) -> np.ndarray:
    pose = torch.zeros(1, 15, 3, dtype=torch.float64)
    pose[0, KINEMATIC_JOINTS.index(joint) - 1, 2] = np.radians(degrees)
    asset = hand if correctives else HandAsset(**{**hand.__dict__, "pose_directions": 0 * hand.pose_directions})
    return HandLayer(asset)(pose.flatten(1).float()).vertices[0].double().numpy()


@pytest.mark.parametrize("joint", [f"{finger}_{i}" for finger in FINGERS[1:] for i in (1, 2, 3)])
def test_bent_fingers_keep_their_volume(hand: HandAsset, joint: str) -> None:
    rest = capped_volume(hand.template, hand.faces)
    loss = rest - capped_volume(bent(hand, joint, 90), hand.faces)
    loss_without = rest - capped_volume(bent(hand, joint, 90, correctives=False), hand.faces)
    # linear blending alone loses it at the bent joint; the correctives save most of it
    assert loss_without > 0.2
    assert loss < 0.65 * loss_without
    assert loss < 0.035 * rest


def test_fingers_bend_towards_the_palm_about_z(hand: HandAsset) -> None:
    tip = TIP_VERTICES["manopth"][2]
    assert bent(hand, "middle_1", 90)[tip, 1] < hand.template[tip, 1] - 0.07


def test_pose_basis_is_orthonormal_and_made_for_natural_poses(hand: HandAsset) -> None:
    components = hand.pose_components
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-5)
    poses = sample_poses(2000, seed=7)
    coefficients = (poses - hand.pose_mean) @ components.T
    variance = coefficients.var(0)
    assert (np.diff(variance) < 0.05 * variance[0]).all()
    assert variance[:12].sum() > 0.9 * variance.sum()
    # the mean is a relaxed, half closed hand
    flexion = np.degrees(hand.pose_mean.reshape(15, 3)[:12, 2])
    assert ((flexion > 10) & (flexion < 70)).all()


def test_left_hand_is_the_mirror_image_in_every_pose_and_shape(hand: HandAsset) -> None:
    left = load_standin("left")
    assert left.side == "left"
    assert capped_volume(left.template, left.faces) == pytest.approx(capped_volume(hand.template, hand.faces))
    pose = torch.from_numpy(sample_poses(4, seed=3)).float()
    mirrored = pose * torch.tensor([1.0, -1.0, -1.0]).repeat(15)
    betas = torch.linspace(-2, 2, 40).view(4, 10)
    right_vertices = HandLayer(hand)(pose, betas).vertices
    left_vertices = HandLayer(left)(mirrored, betas).vertices
    torch.testing.assert_close(left_vertices, right_vertices * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    twice = mirror(left)
    for name in ("template", "shape_directions", "pose_directions", "faces", "pose_mean", "pose_components"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(hand, name))
