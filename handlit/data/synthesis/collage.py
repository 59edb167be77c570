"""Backgrounds and the print on objects: coloured, patterned shapes upon each other, as numbers and as images."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from handlit.data.synthesis.appearance import sample_colours

#: Sides of the grids of random numbers that make a collage's smooth noise, coarse to fine, and their strengths.
NOISE_GRIDS = (3, 9, 44)
NOISE_STRENGTHS = (0.5, 0.3, 0.2)
#: Rows and columns of the random numbers that make the grain of a table.
GRAIN_GRID = (150, 4)
#: Layers of an object's print above its ground.
PRINT_LAYERS = 4
#: Layers of a background above its wall; the lowest is the table.
BACKGROUND_LAYERS = 7
#: Steepness of the borders within a pattern.
SHARP = 8.0


class Collage(NamedTuple):
    """Shapes upon a ground, under smooth noise; every field may have a leading batch dimension.

    Coordinates x and y run from -1 to 1 over the image; patterns count in units of half the image's height.

    Attributes:
        colours: (L + 1, 2, 3) sRGB in 0..1, two of the ground and of each layer, lowest first.
        waves: (L + 1, 2, 3) of a pattern: periods per unit along x and y, and the phase in periods at the centre. One
            wave makes stripes, two make checks, none (zeros) leaves the second colour.
        sharpness: (L + 1,) how fast the colours change within a pattern.
        marble: (L + 1,) 0 to 1, share of the noise in the mixture of the colours.
        centres: (L, 2) of the layers' shapes.
        half_sizes: (L, 2) of the shapes; 0 for a layer that is not there.
        turns: (L, 2) cosine and sine of the shapes' angle.
        ellipses: (L,) bool, an ellipse in place of a rectangle.
        noise: (3^2 + 9^2 + 44^2,) in -1..1, `NOISE_GRIDS` one after the other.
        grain: (150 * 4,) factors of the brightness of the lowest layer in rows of `GRAIN_GRID`, less 1.
    """

    colours: Tensor
    waves: Tensor
    sharpness: Tensor
    marble: Tensor
    centres: Tensor
    half_sizes: Tensor
    turns: Tensor
    ellipses: Tensor
    noise: Tensor
    grain: Tensor


def sample_print(rng: np.random.Generator) -> Collage:
    """The print on a package: a pattern, a few labels and, as narrow stripes, lines of writing."""
    shapes = {
        "centres": rng.uniform(-1, 1, (PRINT_LAYERS, 2)),
        "half_sizes": rng.uniform(0.08, 0.45, (PRINT_LAYERS, 2)) * (rng.random((PRINT_LAYERS, 1)) < 0.5),
        "angles": np.zeros(PRINT_LAYERS),
        "ellipses": rng.random(PRINT_LAYERS) < 0.15,
    }
    numbers = _sample_patterns(PRINT_LAYERS, 1.0, rng)
    # a layer of writing: rows of ink upon a label
    written = np.r_[False, rng.random(PRINT_LAYERS) < 0.5]
    rows = np.array([[0.0, rng.uniform(4, 9), 0.0], np.zeros(3)])
    numbers["waves"] = np.where(written[:, None, None], rows, numbers["waves"])
    numbers["marble"] = np.where(written, 0, numbers["marble"])
    ink = written[:, None] & np.array([False, True])
    numbers["colours"] = np.where(ink[..., None], 0.4 * numbers["colours"], numbers["colours"])
    return _collage(numbers, shapes, rng)


def sample_background(rng: np.random.Generator) -> Collage:
    """A wall, most often with a table before it, and clutter."""
    layers = BACKGROUND_LAYERS
    shapes = {
        "centres": rng.uniform(-1.1, 1.1, (layers, 2)),
        "half_sizes": rng.uniform(0.05, 0.45, (layers, 2)) * (rng.random((layers, 1)) < 0.7),
        "angles": rng.normal(0, 0.25, layers),
        "ellipses": rng.random(layers) < 0.4,
    }
    numbers = _sample_patterns(layers, 0.6, rng)
    # the wall's pattern is out of focus
    numbers["sharpness"][0] = rng.uniform(0.5, 3)
    if rng.random() < 0.75:
        shapes["centres"][0], shapes["half_sizes"][0] = (0, rng.uniform(-0.5, 0.5) + 3), (9, 3)
        shapes["angles"][0], shapes["ellipses"][0] = 0, False
        numbers["waves"][1], numbers["marble"][1] = 0, rng.uniform(0, 0.3)
    numbers["colours"] = numbers["colours"] * rng.uniform(0.65, 1.05)
    return _collage(numbers, shapes, rng)


def _sample_patterns(layers: int, saturation: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Colours and patterns of a ground and layers: plain, marbled, striped and checked alike."""
    count = layers + 1
    first = sample_colours(count, rng, saturation) / 255
    second = np.where(rng.random((count, 1)) < 0.5, first * rng.uniform(0.5, 0.95, (count, 1)), np.roll(first, 1, 0))
    kind = rng.integers(4, size=count)
    angle, frequency = rng.uniform(0, np.pi, count), 1 / rng.uniform(0.16, 0.8, count)
    along = frequency[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    phases = rng.random((2, count, 1))
    stripes, checks = np.c_[along, phases[0]] * (kind >= 2)[:, None], np.c_[across, phases[1]] * (kind == 3)[:, None]
    return {
        "colours": np.stack([second, first], axis=1),
        "waves": np.stack([stripes, checks], axis=1),
        "sharpness": np.full(count, SHARP),
        "marble": (kind == 1) * rng.uniform(0.5, 1, count),
    }


def _collage(numbers: dict[str, np.ndarray], shapes: dict[str, np.ndarray], rng: np.random.Generator) -> Collage:
    angles = shapes["angles"]
    numbers = numbers | {
        "centres": shapes["centres"],
        "half_sizes": shapes["half_sizes"],
        "turns": np.stack([np.cos(angles), np.sin(angles)], axis=1),
        "noise": rng.uniform(-1, 1, sum(side * side for side in NOISE_GRIDS)),
        "grain": rng.uniform(-0.12, 0.12, GRAIN_GRID[0] * GRAIN_GRID[1]),
    }
    return Collage(
        ellipses=torch.from_numpy(shapes["ellipses"]),
        **{name: torch.from_numpy(value.astype(np.float32)) for name, value in numbers.items()},
    )


def paint(collage: Collage, size: tuple[int, int]) -> Tensor:
    """Paint a batch of collages.

    Args:
        collage: A batch.
        size: Height and width, pixels.

    Returns:
        (B, 3, H, W) sRGB in 0..1.
    """
    device, aspect = collage.noise.device, size[1] / size[0]
    y, x = (torch.linspace(-1, 1, steps, device=device) for steps in size)
    row, column = torch.meshgrid(y, x * aspect, indexing="ij")
    here = torch.stack([column, row, torch.ones_like(row)])
    noise = _noise(collage.noise, size)
    image = _colour(collage, 0, here, noise)
    for layer in range(1, collage.colours.shape[1]):
        colour = _colour(collage, layer, here, noise)
        if layer == 1:
            grain = interpolate(collage.grain.view(-1, 1, *GRAIN_GRID), size, mode="bilinear", align_corners=True)
            colour = colour * (1 + grain)
        image = torch.where(_covered(collage, layer - 1, here, aspect), colour, image)
    return blur((image * (1 + 0.2 * noise)).clamp(0, 1))


def _colour(collage: Collage, layer: int, here: Tensor, noise: Tensor) -> Tensor:
    """(B, 3, H, W) a layer's pattern, everywhere."""
    phase = (collage.waves[:, layer, :, :, None, None] * here).sum(dim=2)
    # from 1 at whole periods to -1 half-way; 1 everywhere without a wave
    wave = 4 * (phase - phase.floor() - 0.5).abs() - 1
    sharpness, marble = (value[:, layer, None, None, None] for value in (collage.sharpness, collage.marble))
    pattern = (1 - marble) * sharpness * wave.prod(dim=1, keepdim=True)
    mix = (0.5 + pattern + 1.2 * marble * noise).clamp(0, 1)
    first, second = (collage.colours[:, layer, i, :, None, None] for i in (0, 1))
    return first + mix * (second - first)


def _covered(collage: Collage, shape: int, here: Tensor, aspect: float) -> Tensor:
    """(B, 1, H, W) bool, where a layer's shape lies."""
    centre = collage.centres[:, shape] * collage.centres.new_tensor([aspect, 1.0])
    dx, dy = (here[:2] - centre[:, :, None, None]).unbind(1)
    cos, sin = collage.turns[:, shape, :, None, None].unbind(1)
    half_width, half_height = collage.half_sizes[:, shape, :, None, None].clamp(min=1e-6).unbind(1)
    across, along = ((cos * dx + sin * dy) / half_width).abs(), ((cos * dy - sin * dx) / half_height).abs()
    round_ = across.square() + along.square()
    return (torch.where(collage.ellipses[:, shape, None, None], round_, torch.maximum(across, along)) < 1)[:, None]


def _noise(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 1, H, W) smooth noise of several scales, in about -1..1."""
    grids = values.split([side * side for side in NOISE_GRIDS], dim=1)
    total = values.new_zeros(len(values), 1, *size)
    for strength, side, grid in zip(NOISE_STRENGTHS, NOISE_GRIDS, grids, strict=True):
        total += strength * interpolate(grid.view(-1, 1, side, side), size, mode="bicubic", align_corners=True)
    return total


def blur(images: Tensor) -> Tensor:
    """Mean of the 3x3 pixels around each pixel of images (B, C, H, W); the border is repeated outside."""
    # added up in two passes: pooling takes ten times as long on CPU
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def horizon(collage: Collage) -> float:
    """The y at which the table of a background begins, for a batch of one; the image's lower border without a table."""
    half_width, half_height = collage.half_sizes[0, 0].tolist()
    return float(collage.centres[0, 0, 1]) - half_height if half_width > 1 else 1.0
