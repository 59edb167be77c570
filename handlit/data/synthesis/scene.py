"""What is drawn, as numbers: the same for frames of a sequence on disk and for single images while training."""

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from handlit.data.synthesis.appearance import SkinRegions, sample_colour, sample_skin, to_linear
from handlit.data.synthesis.arm import BARE
from handlit.data.synthesis.collage import Collage
from handlit.data.synthesis.motion import in_ball

Fields = TypeVar("Fields", bound=tuple[Tensor, ...])


class Person(NamedTuple):
    """A hand's owner; every field has a leading batch dimension when it is drawn. Colours are linear.

    Attributes:
        betas: (10,) shape of the hand.
        skin: (778, 3) albedo of the hand.
        arm_skin: (3,) albedo of the arm.
        cloth: (3,) albedo of the sleeve.
        sleeve_from: () distance from the wrist at which the sleeve begins, metres; `BARE` for none.
        bend: (3,) rotation vector from the hand to the arm, in the hand model's axes, radians.
        girth: () factor of the arm's thickness.
    """

    betas: Tensor
    skin: Tensor
    arm_skin: Tensor
    cloth: Tensor
    sleeve_from: Tensor
    bend: Tensor
    girth: Tensor


class Scene(NamedTuple):
    """A hand in its surroundings; every field has a leading batch dimension when it is drawn.

    Attributes:
        pose: (48,) axis-angle of the whole hand and the fingers over a flat mean, as in `HandBatch.pose`.
        person: Whose hand it is.
        light: (4, 3) of `sample_light`.
        texture: Print on the object.
        background: Behind everything.
    """

    pose: Tensor
    person: Person
    light: Tensor
    texture: Collage
    background: Collage


def sample_person(betas: np.ndarray, regions: SkinRegions, rng: np.random.Generator) -> Person:
    """Draw a person whose hand has a known shape.

    Args:
        betas: (10,) shape of the hand.
        regions: Where the hand's skin differs.
        rng: Source of everything else.
    """
    bare = rng.random() < 0.4
    bend = in_ball(1, 0.45, rng)[0] * np.array([0.3, 1.0, 1.0])
    sleeve_from = BARE if bare else rng.uniform(0.02, 0.15)
    girth = rng.uniform(0.92, 1.1)
    skin, arm_skin = sample_skin(regions, rng)
    cloth = to_linear(sample_colour(rng))
    return Person(*map(to_float32, (betas, skin, arm_skin, cloth, sleeve_from, bend, girth)))


def to_float32(values: np.ndarray | float) -> Tensor:
    """A float32 tensor of the same numbers."""
    return torch.as_tensor(np.asarray(values, dtype=np.float32))


def one_of(fields: Fields) -> Fields:
    """Numbers of one scene or of a part of it as a batch of one."""
    return type(fields)(*(value[None] for value in fields))
