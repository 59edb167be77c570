"""A single scene's random numbers for rendering while training: cheap to draw, in a loader's workers."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handlit.data.synthesis.appearance import SkinRegions, sample_light
from handlit.data.synthesis.collage import sample_background, sample_print
from handlit.data.synthesis.motion import (
    ARM_TO_CAMERA_RAD,
    BASE_ROTATIONS,
    in_ball,
    random_rotation,
    rotation_matrices,
    rotation_vectors,
)
from handlit.data.synthesis.presets import ScenePreset
from handlit.data.synthesis.scene import Scene, sample_person, to_float32


class View(NamedTuple):
    """Where the hand is and what the image shows of it.

    Attributes:
        direction: (2,) x/z and y/z of the line of sight that the hand lies on.
        distance: () of the hand along z, metres.
        zoom: () factor on the crop's side.
        shift: (2,) of the crop's centre, relative to its side.
    """

    direction: Tensor
    distance: Tensor
    zoom: Tensor
    shift: Tensor


class Item(NamedTuple):
    """An object beside the hand.

    Attributes:
        number: () int64, in the renderer's collection.
        size: () factor on its size.
        rotation: (3, 3).
        anchor: () int64, hand vertex on whose line of sight it lies.
        offset: (3,) aside of that line in x and y, and its gap to the hand in z, metres.
        in_front: () bool, the object is between camera and hand; else behind the hand.
    """

    number: Tensor
    size: Tensor
    rotation: Tensor
    anchor: Tensor
    offset: Tensor
    in_front: Tensor


class Camera(NamedTuple):
    """What lens and sensor do to the image.

    Attributes:
        gain: (3,) factors on R, G and B of the sRGB image.
        softness: () weight of the neighbours in the lens's blur, 0..1.
        grain: () strength of the sensor's noise, grey levels.
        grain_offset: (2,) int64, where the noise begins in the renderer's tile.
    """

    gain: Tensor
    softness: Tensor
    grain: Tensor
    grain_offset: Tensor


class OnlineScene(NamedTuple):
    """What is to be rendered; every field gets a leading batch dimension when samples are collated.

    Attributes:
        key: Name of the sample.
        number: Its position in the dataset.
        scene: Hand, person, light, texture and background.
        view: Where the hand is.
        item: The object.
        camera: Lens and sensor.
    """

    key: str
    number: int
    scene: Scene
    view: View
    item: Item
    camera: Camera


def sample_online_scene(
    key: str,
    number: int,
    poses: np.ndarray,
    regions: SkinRegions,
    objects: int,
    preset: ScenePreset,
    occlusion: float,
    rng: np.random.Generator,
) -> OnlineScene:
    """Draw an image's numbers.

    Args:
        key: Name of the sample.
        number: Its position in the dataset.
        poses: (P, 45) natural finger poses; the hand is at one of them or on the way to another.
        regions: Where the hand's skin differs.
        objects: Number of objects in the renderer's collection.
        preset: Views, spread of pose and shape, and distances.
        occlusion: Probability that the object is before the hand.
        rng: Decides everything.
    """
    first, second = poses[rng.integers(len(poses), size=2)]
    fingers = preset.pose_spread * (first + rng.beta(0.6, 2.2) * (second - first))
    betas = rng.normal(0, preset.shape_spread, size=10).clip(-2.5, 2.5)
    scene = Scene(
        pose=to_float32(np.concatenate([rotation_vectors(_sample_rotation(preset, rng)), fingers])),
        person=sample_person(betas, regions, rng),
        light=to_float32(sample_light(rng)),
        texture=sample_print(rng),
        background=sample_background(rng),
    )
    view = View(
        direction=to_float32(preset.off_centre * rng.uniform((-0.4, -0.3), (0.4, 0.3))),
        distance=to_float32(rng.uniform(*preset.distance_m)),
        zoom=to_float32(rng.uniform(0.85, 1.2)),
        shift=to_float32(rng.uniform(-0.08, 0.08, size=2)),
    )
    return OnlineScene(key, number, scene, view, _sample_item(objects, len(regions.palm), occlusion, rng), _camera(rng))


def _sample_item(objects: int, vertices: int, occlusion: float, rng: np.random.Generator) -> Item:
    in_front = rng.random() < occlusion
    aside = (0.05 if in_front else 0.12) * in_ball(1, 1.0, rng)[0, :2]
    return Item(
        number=torch.tensor(int(rng.integers(objects))),
        size=to_float32(rng.uniform(0.8, 1.2)),
        rotation=to_float32(random_rotation(rng)),
        anchor=torch.tensor(int(rng.integers(vertices))),
        offset=to_float32(np.array([*aside, rng.uniform(0.006, 0.05)])),
        in_front=torch.tensor(in_front),
    )


def _camera(rng: np.random.Generator) -> Camera:
    return Camera(
        gain=to_float32(rng.uniform(0.7, 1.15) * rng.uniform(0.92, 1.08, size=3)),
        softness=to_float32(rng.uniform(0.1, 0.7)),
        grain=to_float32(rng.uniform(0.0, 5.0)),
        grain_offset=torch.from_numpy(rng.integers(0, 64, size=2)),
    )


def _sample_rotation(preset: ScenePreset, rng: np.random.Generator) -> np.ndarray:
    """(3, 3) from the hand model's axes to the camera's; the arm does not come towards the camera."""
    spread = np.deg2rad(preset.rotation_spread_deg)
    while True:
        if spread >= np.pi:
            rotation = random_rotation(rng)
        else:
            base = BASE_ROTATIONS[preset.base_views[rng.integers(len(preset.base_views))]]
            rotation = rotation_matrices(in_ball(1, spread, rng)[0]) @ base
        # the arm leaves the hand along the model's +x, the camera lies at -z
        if -rotation[2, 0] < np.cos(ARM_TO_CAMERA_RAD):
            return rotation
