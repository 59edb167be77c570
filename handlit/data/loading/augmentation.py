"""Random changes of a training sample, described by numbers that image and labels then follow together."""

import math
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from handlit.errors import InputError, check_choice, check_number

#: Patches of one crop: at most this many, each side uniform in these shares of the crop's.
MAX_PATCHES = 3
PATCH_SIDES = (0.1, 0.4)


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; every default is "no change".

    Attributes:
        rotation_deg: Turn about the optical axis, uniform in +-this, degrees.
        scale: Relative change of the crop's side, uniform in 1 +- this.
        translation: Shift of the crop's centre along each axis, uniform in +-this, relative to the crop's side.
        colour: Gain of each colour channel, uniform in 1 +- this.
        occlusion: Probability that one to three patches, rectangles or ellipses of noise or of one colour, are
            pasted over the crop; joints and vertices under them are hidden.
        published: A published method's changes in place of all the above: ``amvur`` shifts the crop's centre by a
            Gaussian of 5 source pixels; ``mhentropy`` has gains in 0.6 to 1.4, any rotation, images scaled by 0.8
            to 1, and a Gaussian shift of 10 pixels of a crop of 256, at most 40.

    Raises:
        InputError: A value is out of its range, or ``published`` is given together with others.
    """

    rotation_deg: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    colour: float = 0.0
    occlusion: float = 0.0
    published: Literal["amvur", "mhentropy"] | None = None

    def __post_init__(self) -> None:
        if self.published is not None:
            check_choice("augmentation: published", self.published, ("amvur", "mhentropy"))
        limits = {"rotation_deg": 180.0, "scale": 0.9, "translation": 1.0, "colour": 1.0, "occlusion": 1.0}
        for name, limit in limits.items():
            value = getattr(self, name)
            check_number(f"augmentation: {name}", value, least=0, most=limit)
            if self.published is not None and value:
                raise InputError(
                    f"augmentation: published={self.published} stands for all changes, but {name} is {value}: "
                    "leave one of the two out"
                )


@dataclass(frozen=True)
class Patch:
    """A rectangle or ellipse that hides a part of a crop.

    Attributes:
        centre: (2,) relative to the crop's side.
        sides: (2,) of the rectangle, or axes of the ellipse, relative to the crop's side.
        angle_deg: Turn of the shape, degrees.
        ellipse: Whether it is an ellipse.
        colour: (3,) uint8, or None for noise.
        seed: Of the noise.
    """

    centre: np.ndarray
    sides: np.ndarray
    angle_deg: float
    ellipse: bool
    colour: np.ndarray | None
    seed: int


@dataclass(frozen=True)
class Change:
    """One random change.

    Attributes:
        angle: Turn of the scene about the optical axis, radians, from x towards y.
        scale: Factor on the crop's side.
        shift: (2,) of the crop's centre, relative to its side (before scaling).
        shift_px: (2,) of the crop's centre, source pixels.
        gain: (3,) factors on R, G and B.
        patches: Pasted over the crop, in this order.
    """

    angle: float = 0.0
    scale: float = 1.0
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))
    shift_px: np.ndarray = field(default_factory=lambda: np.zeros(2))
    gain: np.ndarray = field(default_factory=lambda: np.ones(3))
    patches: tuple[Patch, ...] = ()


NO_CHANGE = Change()


def sample_change(augmentation: Augmentation, rng: np.random.Generator) -> Change:
    """Change one random change."""
    if augmentation.published == "amvur":
        return Change(shift_px=rng.normal(0, 5, 2))
    if augmentation.published == "mhentropy":
        return _mhentropy_change(rng)
    return Change(
        angle=math.radians(rng.uniform(-1, 1) * augmentation.rotation_deg),
        scale=1 + rng.uniform(-1, 1) * augmentation.scale,
        shift=rng.uniform(-1, 1, 2) * augmentation.translation,
        gain=1 + rng.uniform(-1, 1, 3) * augmentation.colour,
        patches=_sample_patches(rng) if rng.random() < augmentation.occlusion else (),
    )


def _mhentropy_change(rng: np.random.Generator) -> Change:
    gain = rng.uniform(0.6, 1.4, 3)
    # published as a change of the image within the crop; here the crop's square changes, which is the inverse
    zoom, angle = rng.uniform(0.8, 1.0), rng.uniform(0, 2 * math.pi)
    translation = np.clip(rng.normal(0, 10, 2), -40, 40) / 256
    return Change(angle=angle, scale=1 / zoom, shift=-translation / zoom, gain=gain)


def _sample_patches(rng: np.random.Generator) -> tuple[Patch, ...]:
    return tuple(
        Patch(
            centre=rng.uniform(0, 1, 2),
            sides=rng.uniform(*PATCH_SIDES, 2),
            angle_deg=rng.uniform(0, 180),
            ellipse=bool(rng.random() < 0.5),
            colour=rng.integers(0, 256, 3, dtype=np.uint8) if rng.random() < 0.5 else None,
            seed=int(rng.integers(2**62)),
        )
        for _ in range(rng.integers(1, MAX_PATCHES + 1))
    )


def recolour(image: np.ndarray, gain: np.ndarray) -> None:
    """Multiply the colours of an image by factors, cut off at 255 and rounded down, in place.

    Args:
        image: (3, H, W) uint8, is changed.
        gain: (3,) factor of each channel, taken to the nearest 1/256.
    """
    for plane, factor in zip(image, np.rint(gain * 256) / 256, strict=True):
        # OpenCV rounds to the nearest; products are multiples of 1/256, so that this rounds every one of them down
        cv2.convertScaleAbs(plane, dst=plane, alpha=factor, beta=1 / 512 - 0.5)


def paste(image: np.ndarray, patches: tuple[Patch, ...]) -> np.ndarray:
    """Paste patches over a square crop, in place.

    Args:
        image: (3, size, size) uint8, is changed.
        patches: Later ones cover earlier ones.

    Returns:
        (size, size) bool, True where the image is covered.
    """
    size = image.shape[-1]
    covered = np.zeros((size, size), dtype=bool)
    for patch in patches:
        outline = (patch.centre * size - 0.5, patch.sides * size, patch.angle_deg)
        shape = np.zeros((size, size), dtype=np.uint8)
        if patch.ellipse:
            cv2.ellipse(shape, outline, 1, -1)
        else:
            cv2.fillPoly(shape, [np.rint(cv2.boxPoints(outline)).astype(np.int32)], 1)
        inside = shape.astype(bool)
        colour = patch.colour
        if colour is None:
            colour = np.random.default_rng(patch.seed).integers(0, 256, (int(inside.sum()), 3), dtype=np.uint8)
        for plane, values in zip(image, colour.T, strict=True):
            plane[inside] = values
        covered |= inside
    return covered
