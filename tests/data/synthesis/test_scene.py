"""Scenes: views, poses and grips keep what their presets promise; pictures show what the scene says."""

from dataclasses import replace

import numpy as np
import pytest

from handlit.data.synthesis.appearance import sample_background, skin_regions
from handlit.data.synthesis.drawing import HAND, OBJECT, Painter
from handlit.data.synthesis.forearm import wrist_loop
from handlit.data.synthesis.grasp import SOFTNESS, Subject, close_hand
from handlit.data.synthesis.motion import BASE_ROTATIONS, keyframes, orientation_path
from handlit.data.synthesis.presets import PRESETS
from handlit.data.synthesis.scene import IMAGE_HEIGHT, IMAGE_WIDTH, sample_scene
from handlit.data.synthesis.solids import SOLID_KINDS, sample_solid
from handlit.hand.articulation import JOINT_LIMITS
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS
from tests.hand.joint_angles import pose_to_angles


@pytest.fixture(scope="module")
def subject():
    return Subject(load_hand())


def angle_between(rotations, base):
    """Degrees between rotations (T, 3, 3) and one (3, 3)."""
    trace = np.einsum("tij,ij->t", rotations, base)
    return np.rad2deg(np.arccos(((trace - 1) / 2).clip(-1, 1)))


def test_base_views_are_rotations_and_show_a_right_hand(subject) -> None:
    thumb, wrist = JOINTS.index("thumb_4"), JOINTS.index("wrist")
    _, joints = subject.upright(np.zeros((1, 45)), np.zeros(10))
    for side, rotation in BASE_ROTATIONS.items():
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        seen = joints[0] @ rotation.T
        assert seen[JOINTS.index("middle_4"), 1] < seen[wrist, 1] - 0.1  # fingers up: smaller rows
        # seen from its palm a right hand has the thumb on the right
        assert (seen[thumb, 0] > seen[JOINTS.index("pinky_1"), 0]) == (side == "palm")


@pytest.mark.parametrize("spread", [0.0, 30.0, 90.0])
def test_orientations_stay_within_the_spread(spread) -> None:
    preset = replace(PRESETS["easy"], base_views=("back",), rotation_spread_deg=spread)
    paths = [orientation_path(preset, np.random.default_rng(seed)) for seed in range(20)]
    angles = angle_between(np.concatenate(paths), BASE_ROTATIONS["back"])
    assert angles.max() <= spread + 1e-4
    assert angles.max() >= 0.5 * spread


def test_full_spread_covers_all_orientations() -> None:
    starts = np.stack([orientation_path(PRESETS["full"], np.random.default_rng(seed))[0] for seed in range(300)])
    # the hand's palm normal is uniform on the sphere
    assert np.abs(starts[:, :, 1].mean(axis=0)).max() < 0.15
    # and the arm never hides the hand
    assert (-starts[:, 2, 0]).max() < 0.63


def test_keyframe_paths_hit_their_keys_and_stay_between_them() -> None:
    keys = np.array([1.0, 3.0, -2.0, 5.0])
    path = keyframes(9, 3, lambda count: keys[:count])
    np.testing.assert_allclose(path[[0, 3, 6]], keys[:3])
    assert ((path[:3] >= 1) & (path[:3] <= 3)).all()
    assert len(path) == 9


def test_wrist_loop_is_the_open_boundary(subject) -> None:
    loop = wrist_loop(subject.asset.faces)
    assert len(loop) == len(set(loop.tolist())) == 16
    faces = {tuple(sorted(edge)) for face in subject.asset.faces for edge in zip(face, np.roll(face, 1), strict=True)}
    assert all(tuple(sorted(edge)) in faces for edge in zip(loop, np.roll(loop, 1), strict=True))


def test_hand_and_arm_form_a_closed_surface(subject) -> None:
    scene = sample_scene(subject, PRESETS["easy"], 1, np.random.default_rng(0))
    faces = np.concatenate([subject.asset.faces, scene.forearm.faces(subject.loop, 778)])
    assert faces.max() == 778 + scene.arm_vertices.shape[1] - 1
    directed = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    assert len(directed) == faces.size
    assert all((b, a) in directed for a, b in directed)


def test_skin_regions_lie_where_they_should(subject) -> None:
    regions = skin_regions(subject.asset)
    height = subject.asset.template[:, 1]
    for weights in (regions.palm, regions.knuckle, regions.nail, regions.tip):
        assert weights.min() >= 0
        assert weights.max() <= 1
    assert np.average(height, weights=regions.palm) < np.average(height, weights=regions.knuckle)


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_grip_touches_the_object_and_does_not_run_through_it(subject, kind: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        solid = sample_solid(kind, rng)
        grasp = close_hand(subject, solid, np.zeros(10), rng)
        vertices, _ = subject.upright(grasp.closed_pose.reshape(1, 45), np.zeros(10))
        distance = solid.closest_surface((vertices[0] - grasp.translation) @ grasp.rotation)[1]
        fingers = (subject.chain_of_vertex >= 0) & (subject.chain_of_vertex < 4)
        # fingers close one by one; the skin between two of them follows both and may sink a little more
        assert distance[fingers].min() > -SOFTNESS - 1.5e-3
        assert distance.min() > -0.012
        assert distance.min() < 0.006
        angles = pose_to_angles(grasp.closed_pose.reshape(1, 45))[0]
        assert (angles >= JOINT_LIMITS[..., 0] - 1e-6).all()
        assert (angles <= JOINT_LIMITS[..., 1] + 1e-6).all()


@pytest.mark.parametrize("name", ["easy", "full"])
def test_scene_keeps_the_preset(subject, name: str) -> None:
    preset = PRESETS[name]
    for seed in range(6):
        scene = sample_scene(subject, preset, 3, np.random.default_rng(seed))
        points = scene.vertices @ scene.intrinsics.T
        points = points[..., :2] / points[..., 2:]
        assert points.min() >= 0
        assert (points.max(axis=(0, 1)) <= (IMAGE_WIDTH - 1, IMAGE_HEIGHT - 1)).all()
        middle = (scene.vertices.min(axis=1) + scene.vertices.max(axis=1))[:, 2] / 2
        assert middle.min() > preset.distance_m[0] - 1e-4
        assert middle.max() < preset.distance_m[1] + 1e-4
        assert scene.intrinsics[0, 0] == pytest.approx(614, rel=preset.focal_spread + 1e-6)
        if preset.rotation_spread_deg < 180:
            nearest = np.minimum(*(angle_between(scene.hand_rotation, base) for base in BASE_ROTATIONS.values()))
            assert nearest.max() <= preset.rotation_spread_deg + 1e-4
        # neighbouring frames are alike
        assert np.linalg.norm(np.diff(scene.joints, axis=0), axis=-1).mean() < 0.06


def test_object_probabilities_are_kept(subject) -> None:
    for held, occluding in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        preset = replace(PRESETS["easy"], held_probability=held, occluder_probability=occluding, frames_per_sequence=4)
        for seed in range(4):
            scene = sample_scene(subject, preset, 1, np.random.default_rng(seed))
            local = (scene.vertices - scene.object_translation[:, None]) @ scene.object_rotation
            gap = scene.solid.closest_surface(local)[1].min()
            in_front = (scene.object_translation[:, 2] < scene.vertices[..., 2].mean(axis=1)).all()
            if held:
                assert gap < 0.01
            else:
                assert gap > 0
                assert in_front == bool(occluding)


def test_picture_depth_and_parts_agree_with_the_geometry(subject) -> None:
    preset = replace(PRESETS["easy"], held_probability=1.0)
    scene = sample_scene(subject, preset, 1, np.random.default_rng(4))
    picture = Painter(scene, subject).draw(2, np.random.default_rng(0))
    assert picture.image.shape == (IMAGE_HEIGHT, IMAGE_WIDTH, 3)
    assert picture.image.dtype == np.uint8
    # every object pixel, lifted by its depth, lies on the object's surface
    rows, columns = np.nonzero(picture.parts == OBJECT)
    assert len(rows) > 200
    pixels = np.stack([columns, rows, np.ones(len(rows))], axis=1)
    points = pixels @ np.linalg.inv(scene.intrinsics).T * picture.depth[rows, columns][:, None]
    local = (points - scene.object_translation[2]) @ scene.object_rotation[2]
    assert np.abs(scene.solid.closest_surface(local)[1]).max() < 1e-3
    # every hand pixel lies within the hand's range of depth
    depth = picture.depth[picture.parts == HAND]
    assert depth.min() > scene.vertices[2, :, 2].min() - 1e-4
    assert depth.max() < scene.vertices[2, :, 2].max() + 1e-4


def test_backgrounds_are_behind_the_scene_and_differ() -> None:
    first, depth = sample_background(640, 480, np.random.default_rng(0))
    second, _ = sample_background(640, 480, np.random.default_rng(1))
    assert depth.min() >= 0.99
    assert depth.max() < 65535 * 0.000125
    assert np.abs(first.astype(int) - second).mean() > 5
