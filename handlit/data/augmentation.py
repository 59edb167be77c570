"""Random changes of a training sample, described by numbers that image and labels then follow together."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; every default is "no change".

    Attributes:
        rotation_deg: Turn about the optical axis, uniform in +-this, degrees.
        scale: Relative change of the crop's side, uniform in 1 +- this.
        translation: Shift of the crop's centre along each axis, uniform in +-this, relative to the crop's side.
        colour: Gain of each colour channel, uniform in 1 +- this.
    """

    rotation_deg: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    colour: float = 0.0


@dataclass(frozen=True)
class Draw:
    """One random draw: angle in radians, factor on the crop's side, shift relative to the side (2,), gains (3,)."""

    angle: float
    scale: float
    shift: np.ndarray
    gain: np.ndarray


NO_CHANGE = Draw(0.0, 1.0, np.zeros(2), np.ones(3))


def draw(augmentation: Augmentation, rng: np.random.Generator) -> Draw:
    """Draw one random change within the ranges."""
    return Draw(
        angle=np.deg2rad(rng.uniform(-1, 1) * augmentation.rotation_deg),
        scale=1 + rng.uniform(-1, 1) * augmentation.scale,
        shift=rng.uniform(-1, 1, 2) * augmentation.translation,
        gain=1 + rng.uniform(-1, 1, 3) * augmentation.colour,
    )
