"""One sequence of synthetic frames: who, what, where and under which light, as numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from handlit.data.synthesis.appearance import (
    Light,
    sample_background,
    sample_colour,
    sample_light,
    sample_skin,
    sample_texture,
    to_linear,
)
from handlit.data.synthesis.forearm import RINGS, Forearm
from handlit.data.synthesis.grasp import Subject, close_hand
from handlit.data.synthesis.motion import (
    in_ball,
    keyframes,
    orientation_path,
    random_rotation,
    rotation_matrices,
    rotation_vectors,
)
from handlit.data.synthesis.presets import ScenePreset
from handlit.data.synthesis.solids import SOLID_KINDS, Solid, sample_solid
from handlit.hand.articulation import angles_to_pose, sample_poses

IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480
#: HO-3D's mean focal length, pixels.
FOCAL = 614.0
#: The hand stays this far from the border of the picture, pixels.
BORDER = 12.0
#: A hand at rest: flexion of the base, middle and end joint of every finger, radians.
RELAXED_FLEXION = (0.3, 0.4, 0.25)


@dataclass(frozen=True)
class Scene:
    """A sequence of T frames. OpenCV camera axes, metres, radians, pixels, linear colours.

    Attributes:
        intrinsics: (3, 3).
        pose: (T, 45) finger pose, axis-angle over a flat mean.
        betas: (10,) shape.
        hand_rotation: (T, 3, 3) global rotation.
        rest_wrist: (3,) wrist of the unposed hand, the point that the global rotation turns about.
        vertices: (T, 778, 3) hand, float32.
        joints: (T, 21, 3) handlit order, float32.
        arm_vertices: (T, A, 3).
        object_rotation: (T, 3, 3).
        object_translation: (T, 3).
        solid: The object.
        object_name: Folder of its model.
        object_label: Its number, unique in the dataset.
        texture: (h, w, 3) uint8 RGB of the object.
        skin: (778, 3) albedo of the hand.
        arm_skin: (3,) albedo of the arm.
        cloth: (3,) albedo of the sleeve.
        forearm: Shape of the arm.
        light: Sky and lamp.
        background: (H', W', 3) uint8 RGB, larger than the image by `PAN_MARGIN` on every side.
        background_depth: (H', W') metres.
        pan: (T, 2) offset of each frame's view in the background, pixels (column, row).
        exposure: (T,) factor of the brightness.
    """

    intrinsics: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    hand_rotation: np.ndarray
    rest_wrist: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    arm_vertices: np.ndarray
    object_rotation: np.ndarray
    object_translation: np.ndarray
    solid: Solid
    object_name: str
    object_label: int
    texture: np.ndarray
    skin: np.ndarray
    arm_skin: np.ndarray
    cloth: np.ndarray
    forearm: Forearm
    light: Light
    background: np.ndarray
    background_depth: np.ndarray
    pan: np.ndarray
    exposure: np.ndarray


def sample_scene(subject: Subject, preset: ScenePreset, object_label: int, rng: np.random.Generator) -> Scene:
    """Draw a sequence.

    Args:
        subject: Hand model.
        preset: What to draw from.
        object_label: Number that names the object.
        rng: The sequence's own source; nothing else decides how it looks.
    """
    betas = rng.normal(0, preset.shape_spread, size=10).clip(-2.5, 2.5)
    rest_wrist = subject.layer.rest_wrist(torch.from_numpy(betas).float()).numpy()
    solid = sample_solid(SOLID_KINDS[rng.integers(len(SOLID_KINDS))], rng)
    intrinsics = _sample_intrinsics(preset, rng)
    rotation = orientation_path(preset, rng)
    role = rng.random()
    if role < preset.held_probability:
        grasp = close_hand(subject, solid, betas, rng)
        pose = _grasping_path(grasp.open_pose, grasp.closed_pose, preset, rng)
    else:
        grasp = None
        pose = _natural_path(preset, rng)

    upright_vertices, _ = subject.upright(pose, betas)
    root = _root_path(upright_vertices @ rotation.transpose(0, 2, 1), intrinsics, preset, rng)
    with torch.inference_mode():
        mesh = subject.layer(
            torch.from_numpy(pose).float(),
            torch.from_numpy(betas).float(),
            torch.from_numpy(rotation_vectors(rotation)).float(),
            torch.from_numpy(root - rest_wrist).float(),
        )
    vertices, joints = mesh.vertices.numpy(), mesh.joints.numpy()

    if grasp is not None:
        object_rotation = rotation @ grasp.rotation
        object_translation = (rotation @ grasp.translation) + root
    else:
        in_front = role < preset.held_probability + preset.occluder_probability
        object_rotation, object_translation = _free_object(solid, vertices, root, in_front, preset, rng)

    bare = rng.random() < 0.4
    forearm = Forearm(
        bend=rotation_matrices(in_ball(1, 0.45, rng)[0] * np.array([0.3, 1.0, 1.0])),
        sleeve_from=float(RINGS[-1] + 1 if bare else rng.uniform(0.02, 0.15)),
        girth=float(rng.uniform(0.92, 1.1)),
    )
    skin, arm_skin = sample_skin(subject.regions, rng)
    background, background_depth = sample_background(IMAGE_WIDTH, IMAGE_HEIGHT, rng)
    return Scene(
        intrinsics=intrinsics,
        pose=pose,
        betas=betas,
        hand_rotation=rotation,
        rest_wrist=rest_wrist,
        vertices=vertices,
        joints=joints,
        arm_vertices=forearm.vertices(vertices[:, subject.loop], rotation),
        object_rotation=object_rotation,
        object_translation=object_translation,
        solid=solid,
        object_name=f"{object_label:03d}_{solid.kind}",
        object_label=object_label,
        texture=sample_texture(rng),
        skin=skin,
        arm_skin=arm_skin,
        cloth=to_linear(sample_colour(rng)),
        forearm=forearm,
        light=sample_light(rng),
        background=background,
        background_depth=background_depth,
        pan=_eased(preset, lambda keys: rng.uniform(-1, 1, size=(keys, 2))),
        exposure=_eased(preset, lambda keys: rng.uniform(0.85, 1.1, size=keys)),
    )


def _eased(preset: ScenePreset, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    return keyframes(preset.frames_per_sequence, preset.frames_per_keyframe, draw)


def _sample_intrinsics(preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    focal = FOCAL * (1 + preset.focal_spread * rng.uniform(-1, 1))
    centre = np.array([IMAGE_WIDTH - 1, IMAGE_HEIGHT - 1]) / 2 + rng.uniform(-8, 8, size=2)
    aspect = 1 + rng.uniform(-0.002, 0.002)
    return np.array([[focal, 0, centre[0]], [0, focal * aspect, centre[1]], [0, 0, 1]])


def _natural_path(preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    """(T, 45) poses between a relaxed hand and natural ones."""
    angles = np.zeros((1, 15, 3))
    angles[0, :12, 0] = np.tile(RELAXED_FLEXION, 4)
    relaxed = angles_to_pose(angles)
    return relaxed + preset.pose_spread * (_eased(preset, lambda keys: sample_poses(keys, rng)) - relaxed)


def _grasping_path(
    open_pose: np.ndarray, closed_pose: np.ndarray, preset: ScenePreset, rng: np.random.Generator
) -> np.ndarray:
    """(T, 45) poses around a closed grip; fingers lift off the object now and then."""
    lift = _eased(preset, lambda keys: rng.random((keys, 5)) ** 3)
    share = np.repeat(0.5 * preset.pose_spread * lift, 3, axis=1)[:, :, None]
    share[:, 12:] = 0
    return (closed_pose + share * (open_pose - closed_pose)).reshape(-1, 45)


def _root_path(turned: np.ndarray, intrinsics: np.ndarray, preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    """(T, 3) wrist positions that keep the whole hand in the picture.

    Args:
        turned: (T, 778, 3) hands with their global rotation, wrist at the origin.
        intrinsics: (3, 3).
        preset: Distance and room.
        rng: Source.
    """
    near, far = preset.distance_m
    base = rng.uniform(near, far)
    distance = _eased(preset, lambda keys: (base * rng.uniform(0.92, 1.08, size=keys)).clip(near, far))
    where = _eased(preset, lambda keys: rng.uniform(-1, 1, size=(keys, 2)))
    low, high = turned.min(axis=1), turned.max(axis=1)
    middle = (low + high) / 2
    focal = intrinsics[[0, 1], [0, 1]]
    # the hand's half size in pixels if all of it were as near as its nearest point
    half = (high - low)[:, :2] / 2 * focal / (distance - (high - low)[:, 2] / 2)[:, None]
    room = (np.array([IMAGE_WIDTH, IMAGE_HEIGHT]) / 2 - half - BORDER).clip(0)
    pixel = np.array([IMAGE_WIDTH - 1, IMAGE_HEIGHT - 1]) / 2 + preset.off_centre * room * where
    ray = np.concatenate([(pixel - intrinsics[:2, 2]) / focal, np.ones((len(pixel), 1))], axis=1)
    return ray * distance[:, None] - middle


def _free_object(
    solid: Solid,
    vertices: np.ndarray,
    root: np.ndarray,
    in_front: bool,
    preset: ScenePreset,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """An object that the hand does not hold: between it and the camera, or behind and beside it.

    Returns:
        (T, 3, 3) rotations and (T, 3) translations.
    """
    drift = _eased(preset, lambda keys: in_ball(keys, 0.25, rng))
    rotation = rotation_matrices(drift) @ random_rotation(rng)
    angle = rng.uniform(0, 2 * np.pi)
    aside = np.array([np.cos(angle), np.sin(angle), 0.0])
    centre = vertices.mean(axis=1)
    if in_front:
        offset = rng.uniform(0.03, 0.07) * aside - np.array([0, 0, rng.uniform(0.04, 0.08)])
    else:
        offset = rng.uniform(0.07, 0.16) * aside + np.array([0, 0, rng.uniform(0.06, 0.16)])
    offset = offset + _eased(preset, lambda keys: in_ball(keys, 0.01, rng))
    translation = centre + offset
    # move it along the line of sight until it is clear of the hand in every frame
    step = (-0.02 if in_front else 0.02) * centre / np.linalg.norm(centre, axis=1, keepdims=True)
    for _ in range(12):
        gap = solid.closest_surface((vertices - translation[:, None]) @ rotation)[1].min()
        if gap > 0.004:
            break
        translation = translation + step
    return rotation, translation
