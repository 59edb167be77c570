"""One sequence of synthetic frames: who, what, where and under which light, as numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from handlit.data.synthesis.appearance import sample_light
from handlit.data.synthesis.collage import sample_background, sample_print
from handlit.data.synthesis.grasp import Grasp, HandModel, close_hand
from handlit.data.synthesis.motion import (
    in_ball,
    keyframes,
    orientation_path,
    random_rotation,
    rotation_matrices,
    rotation_vectors,
)
from handlit.data.synthesis.presets import ScenePreset
from handlit.data.synthesis.renderer import Placed, SceneRenderer, place_object
from handlit.data.synthesis.scene import Scene, one_of, sample_person, to_float32
from handlit.data.synthesis.solids import SOLID_KINDS, Solid, sample_solid
from handlit.hand.articulation import angles_to_pose, sample_poses

IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480
#: HO-3D's mean focal length, pixels.
FOCAL = 614.0
#: The hand stays this far from the border of the image, pixels.
BORDER = 12.0
#: A hand at rest: flexion of the base, middle and end joint of every finger, radians.
RELAXED_FLEXION = (0.3, 0.4, 0.25)


@dataclass(frozen=True)
class Sequence:
    """A sequence of T frames. OpenCV camera axes, metres, radians, pixels.

    Attributes:
        scene: Its numbers; poses (T, 48), all others of one scene (1, ...).
        placed: Hand, arm and object of every frame.
        intrinsics: (3, 3).
        pose: (T, 45) finger pose, axis-angle over a flat mean.
        betas: (10,) shape.
        hand_rotation: (T, 3, 3) global rotation.
        rest_wrist: (3,) wrist of the unposed hand, the point that the global rotation turns about.
        vertices: (T, 778, 3) hand, float32.
        joints: (T, 21, 3) handlit order, float32.
        object_rotation: (T, 3, 3).
        object_translation: (T, 3).
        solid: The object.
        object_name: Folder of its model.
        object_label: Its number, unique in the dataset.
        pan: (T, 2) where each frame looks in the background, -1 to 1 (column, row).
        exposure: (T,) factor of the brightness.
    """

    scene: Scene
    placed: Placed
    intrinsics: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    hand_rotation: np.ndarray
    rest_wrist: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    object_rotation: np.ndarray
    object_translation: np.ndarray
    solid: Solid
    object_name: str
    object_label: int
    pan: np.ndarray
    exposure: np.ndarray


@torch.inference_mode()
def sample_sequence(
    model: HandModel, renderer: SceneRenderer, preset: ScenePreset, object_label: int, rng: np.random.Generator
) -> Sequence:
    """Draw a sequence's numbers and place what is in it.

    Args:
        model: Hand model.
        renderer: Of this hand model.
        preset: What to draw from.
        object_label: Number that names the object.
        rng: The sequence's own source; nothing else decides how it looks.
    """
    betas = rng.normal(0, preset.shape_spread, size=10).clip(-2.5, 2.5)
    rest_wrist = model.layer.rest_wrist(to_float32(betas)).numpy()
    solid = sample_solid(SOLID_KINDS[rng.integers(len(SOLID_KINDS))], rng)
    intrinsics = _sample_intrinsics(preset, rng)
    rotation = orientation_path(preset, rng)
    role = rng.random()
    grasp = close_hand(model, solid, betas, rng) if role < preset.held_probability else None
    pose = _natural_path(preset, rng) if grasp is None else _grasping_path(grasp, preset, rng)
    upright_vertices, _ = model.upright(pose, betas)
    root = _root_path(upright_vertices @ rotation.transpose(0, 2, 1), intrinsics, preset, rng)
    orientation = rotation_vectors(rotation)
    mesh = model.layer(to_float32(pose), to_float32(betas), to_float32(orientation), to_float32(root - rest_wrist))
    vertices, joints = mesh.vertices.numpy(), mesh.joints.numpy()
    if grasp is not None:
        object_rotation, object_translation = rotation @ grasp.rotation, rotation @ grasp.translation + root
    else:
        in_front = role < preset.held_probability + preset.occluder_probability
        object_rotation, object_translation = _free_object(solid, vertices, root, in_front, preset, rng)
    scene = _sample_scene(model, np.concatenate([orientation, pose], axis=1), betas, rng)
    item = place_object(solid, to_float32(object_rotation), to_float32(object_translation))
    return Sequence(
        scene=scene,
        placed=renderer.place(mesh.vertices, to_float32(rotation), scene.person, item),
        intrinsics=intrinsics,
        pose=pose,
        betas=betas,
        hand_rotation=rotation,
        rest_wrist=rest_wrist,
        vertices=vertices,
        joints=joints,
        object_rotation=object_rotation,
        object_translation=object_translation,
        solid=solid,
        object_name=f"{object_label:03d}_{solid.kind}",
        object_label=object_label,
        pan=_eased(preset, lambda keys: rng.uniform(-1, 1, size=(keys, 2))),
        exposure=_eased(preset, lambda keys: rng.uniform(0.85, 1.1, size=keys)),
    )


def _sample_scene(model: HandModel, pose: np.ndarray, betas: np.ndarray, rng: np.random.Generator) -> Scene:
    """What does not move within a sequence, and its poses (T, 48)."""
    person = sample_person(betas, model.regions, rng)
    light = to_float32(sample_light(rng))
    texture, background = sample_print(rng), sample_background(rng)
    return Scene(
        pose=to_float32(pose),
        person=one_of(person),
        light=light[None],
        texture=one_of(texture),
        background=one_of(background),
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


def _grasping_path(grasp: Grasp, preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    """(T, 45) poses around a closed grip; fingers lift off the object now and then."""
    lift = _eased(preset, lambda keys: rng.random((keys, 5)) ** 3)
    share = np.repeat(0.5 * preset.pose_spread * lift, 3, axis=1)[:, :, None]
    share[:, 12:] = 0
    return (grasp.closed_pose + share * (grasp.open_pose - grasp.closed_pose)).reshape(-1, 45)


def _root_path(turned: np.ndarray, intrinsics: np.ndarray, preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    """(T, 3) wrist positions that keep the whole hand in the image.

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
