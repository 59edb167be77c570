"""One picture's random numbers for rendering on the fly: cheap to draw, one sample at a time, in a loader's workers."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handlit.data.synthesis.appearance import SkinRegions, sample_colour, sample_light, sample_skin, to_linear
from handlit.data.synthesis.forearm import RINGS
from handlit.data.synthesis.motion import (
    ARM_TO_CAMERA_RAD,
    BASE_ROTATIONS,
    in_ball,
    random_rotation,
    rotation_matrices,
    rotation_vectors,
)
from handlit.data.synthesis.presets import ScenePreset

#: Layers of a `Collage` above its ground.
COLLAGE_LAYERS = 6
#: Sides of the grids of random numbers that make a collage's smooth noise, coarse to fine.
NOISE_GRIDS = (4, 9, 24)
#: Layers of objects' textures, which are smaller than backgrounds.
TEXTURE_LAYERS = 3


class Collage(NamedTuple):
    """A picture of coloured, striped shapes upon each other under smooth noise; coordinates run from -1 to 1.

    Attributes:
        colours: (L + 1, 2, 3) sRGB in 0..1, two of the ground and of each layer, lowest first.
        stripes: (L + 1, 2) stripes' direction times their number per unit; 0 for a plain layer.
        centres: (L, 2) of the layers' shapes.
        half_sizes: (L, 2) of the shapes; 0 for a layer that is not there.
        turns: (L, 2) cosine and sine of the shapes' angle.
        ellipses: (L,) bool, an ellipse in place of a rectangle.
        noise: (4^2 + 9^2 + 24^2,) in -1..1, `NOISE_GRIDS` one after the other.
    """

    colours: Tensor
    stripes: Tensor
    centres: Tensor
    half_sizes: Tensor
    turns: Tensor
    ellipses: Tensor
    noise: Tensor


class LooseScene(NamedTuple):
    """What is to be rendered; every field gets a leading batch dimension when samples are collated.

    Colours are linear unless said otherwise.

    Attributes:
        key: Name of the sample.
        number: Its position in the dataset.
        pose: (48,) axis-angle, as in `HandBatch.pose`.
        betas: (10,) shape.
        direction: (2,) x/z and y/z of the line of sight that the hand lies on.
        distance: () of the hand along z, metres.
        zoom: () factor on the crop's side.
        shift: (2,) of the crop's centre, relative to its side.
        skin: (778, 3) albedo.
        arm_skin: (3,) albedo.
        cloth: (3,) albedo of the sleeve.
        sleeve_from: () distance from the wrist at which the sleeve begins, metres.
        bend: (3,) rotation vector from the hand to the arm.
        girth: () factor of the arm's thickness.
        solid: () int64, number of the object in the renderer's collection.
        solid_size: () factor on its size.
        solid_rotation: (3, 3).
        solid_anchor: () int64, hand vertex on whose line of sight it lies.
        solid_offset: (3,) its place: aside of that line in x and y, and its gap to the hand in z, metres.
        in_front: () bool, the object is between camera and hand; else behind the hand.
        texture: Of the object.
        background: Behind everything.
        light: (4, 3) direction towards the light, and the colours of light, sky and ground.
        gain: (3,) factors on R, G and B of the sRGB picture.
        softness: () weight of the neighbours in the lens's blur, 0..1.
        grain: () strength of the sensor's noise, grey levels.
        grain_offset: (2,) int64, where the noise begins in the renderer's tile.
    """

    key: str
    number: int
    pose: Tensor
    betas: Tensor
    direction: Tensor
    distance: Tensor
    zoom: Tensor
    shift: Tensor
    skin: Tensor
    arm_skin: Tensor
    cloth: Tensor
    sleeve_from: Tensor
    bend: Tensor
    girth: Tensor
    solid: Tensor
    solid_size: Tensor
    solid_rotation: Tensor
    solid_anchor: Tensor
    solid_offset: Tensor
    in_front: Tensor
    texture: Collage
    background: Collage
    light: Tensor
    gain: Tensor
    softness: Tensor
    grain: Tensor
    grain_offset: Tensor


def sample_loose_scene(
    key: str,
    number: int,
    poses: np.ndarray,
    regions: SkinRegions,
    solids: int,
    preset: ScenePreset,
    occlusion: float,
    rng: np.random.Generator,
) -> LooseScene:
    """Draw a picture's numbers.

    Args:
        key: Name of the sample.
        number: Its position in the dataset.
        poses: (P, 45) natural finger poses; the hand is at one of them or on the way to another.
        regions: Where the hand's skin differs.
        solids: Number of objects in the renderer's collection.
        preset: Views, spread of pose and shape, and distances.
        occlusion: Probability that the object is before the hand.
        rng: Decides everything.
    """
    first, second = poses[rng.integers(len(poses), size=2)]
    fingers = preset.pose_spread * (first + rng.beta(0.6, 2.2) * (second - first))
    skin, arm_skin = sample_skin(regions, rng)
    light = sample_light(rng)
    in_front = rng.random() < occlusion
    reach = 0.05 if in_front else 0.12
    aside, gap = reach * in_ball(1, 1.0, rng)[0, :2], rng.uniform(0.006, 0.05)
    numbers = {
        "pose": np.concatenate([rotation_vectors(_sample_rotation(preset, rng)), fingers]),
        "betas": rng.normal(0, preset.shape_spread, size=10).clip(-2.5, 2.5),
        "direction": preset.off_centre * rng.uniform((-0.4, -0.3), (0.4, 0.3)),
        "distance": rng.uniform(*preset.distance_m),
        "zoom": rng.uniform(0.85, 1.2),
        "shift": rng.uniform(-0.08, 0.08, size=2),
        "skin": skin,
        "arm_skin": arm_skin,
        "cloth": to_linear(sample_colour(rng)),
        "sleeve_from": RINGS[-1] if rng.random() < 0.4 else rng.uniform(0.015, 0.15),
        "bend": in_ball(1, 0.45, rng)[0] * (0.3, 1.0, 1.0),
        "girth": rng.uniform(0.92, 1.1),
        "solid_size": rng.uniform(0.8, 1.2),
        "solid_rotation": random_rotation(rng),
        "solid_offset": np.array([*aside, gap]),
        "light": np.stack([light.direction, light.key, light.sky, light.ground]),
        "gain": rng.uniform(0.7, 1.15) * rng.uniform(0.92, 1.08, size=3),
        "softness": rng.uniform(0.1, 0.7),
        "grain": rng.uniform(0.0, 5.0),
    }
    return LooseScene(
        key=key,
        number=number,
        solid=torch.tensor(int(rng.integers(solids))),
        solid_anchor=torch.tensor(int(rng.integers(len(skin)))),
        in_front=torch.tensor(in_front),
        texture=_sample_collage(TEXTURE_LAYERS, 1.0, rng),
        background=_sample_collage(COLLAGE_LAYERS, 0.6, rng),
        grain_offset=torch.from_numpy(rng.integers(0, 64, size=2)),
        **{name: torch.as_tensor(np.asarray(value, dtype=np.float32)) for name, value in numbers.items()},
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


def _sample_collage(layers: int, saturation: float, rng: np.random.Generator) -> Collage:
    """Shapes of all sizes; the lowest is often a table that fills the picture below a line."""
    first = np.stack([sample_colour(rng, saturation) for _ in range(layers + 1)]) / 255
    second = first[rng.permutation(layers + 1)]
    second = np.where(rng.random((layers + 1, 1)) < 0.5, first * rng.uniform(0.5, 0.95, (layers + 1, 1)), second)
    directions = rng.uniform(0, np.pi, layers + 1)
    frequency = rng.uniform(1.5, 8, layers + 1) * (rng.random(layers + 1) < 0.25)
    stripes = frequency[:, None] * np.stack([np.cos(directions), np.sin(directions)], axis=1)
    centres = rng.uniform(-1.1, 1.1, (layers, 2))
    half_sizes = rng.uniform(0.06, 0.6, (layers, 2)) * (rng.random((layers, 1)) < 0.75)
    turns = rng.normal(0, 0.3, layers)
    ellipses = rng.random(layers) < 0.4
    if rng.random() < 0.7:
        centres[0], half_sizes[0], turns[0], ellipses[0] = (0, rng.uniform(-0.4, 0.6) + 2), (4, 2), 0, False
    noise = rng.uniform(-1, 1, sum(side * side for side in NOISE_GRIDS))
    numbers = {
        "colours": np.stack([first, second], axis=1),
        "stripes": stripes,
        "centres": centres,
        "half_sizes": half_sizes,
        "turns": np.stack([np.cos(turns), np.sin(turns)], axis=1),
        "noise": noise,
    }
    return Collage(
        ellipses=torch.from_numpy(ellipses),
        **{name: torch.from_numpy(value.astype(np.float32)) for name, value in numbers.items()},
    )
