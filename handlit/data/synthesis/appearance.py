"""How synthetic scenes look: skin, cloth, object textures, backgrounds and light. Colours are sRGB bytes or linear."""

from dataclasses import dataclass

import cv2
import numpy as np

from handlit.hand.asset import HandAsset
from handlit.skeleton import KINEMATIC_JOINTS, TIP_VERTICES

#: Skin tones from light to dark, sRGB.
SKIN_TONES = np.array(
    [(247, 214, 192), (236, 192, 162), (219, 167, 132), (191, 136, 100), (152, 102, 73), (110, 72, 52), (78, 52, 41)],
    dtype=float,
)
#: Backgrounds are larger than the image by this many pixels on each side, so that a frame may look a little aside.
PAN_MARGIN = 12


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..255 to linear light in 0..1, by the common power law."""
    return (np.asarray(srgb) / 255.0) ** 2.2


@dataclass(frozen=True)
class Light:
    """A directional light and a sky, in OpenCV camera axes, linear colours.

    Attributes:
        direction: (3,) unit vector from the scene towards the light.
        key: (3,) its colour.
        sky: (3,) light from above.
        ground: (3,) light from below.
    """

    direction: np.ndarray
    key: np.ndarray
    sky: np.ndarray
    ground: np.ndarray


def sample_light(rng: np.random.Generator) -> Light:
    """A light from above or beside the camera, warm to cool, with a dimmer sky."""
    direction = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-1.0, -0.1), rng.uniform(-1.0, -0.25)])
    warmth = rng.uniform(-0.12, 0.12)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    sky = rng.uniform(0.3, 0.5) * (2 - tint)
    return Light(
        direction=direction / np.linalg.norm(direction),
        key=(rng.uniform(0.55, 0.95) * tint).astype(np.float32),
        sky=sky.astype(np.float32),
        ground=(sky * rng.uniform(0.35, 0.7) * np.array([1.08, 1.0, 0.9])).astype(np.float32),
    )


@dataclass(frozen=True)
class SkinRegions:
    """Where skin differs from its mean tone, as weights in 0..1 for each of the 778 vertices.

    Attributes:
        palm: Palm side of hand and fingers.
        knuckle: Back of the finger joints.
        nail: Nails.
        tip: Finger pads.
    """

    palm: np.ndarray
    knuckle: np.ndarray
    nail: np.ndarray
    tip: np.ndarray


def skin_regions(asset: HandAsset) -> SkinRegions:
    """Find palm, knuckles, nails and pads on the rest hand (palm towards -y)."""
    template = asset.template
    corners = template[asset.faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(template)
    for corner in range(3):
        np.add.at(normals, asset.faces[:, corner], face_normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    up = normals[:, 1]
    joints = asset.joint_regressor @ template
    tips = template[list(TIP_VERTICES["ho3d"])]
    ends = joints[[KINEMATIC_JOINTS.index(f"{finger}_3") for finger in ("thumb", "index", "middle", "ring", "pinky")]]

    def near(points: np.ndarray, radius: float) -> np.ndarray:
        squared = ((template[:, None] - points) ** 2).sum(axis=-1)
        return np.exp(-squared / radius**2).max(axis=1)

    back = np.clip(1.4 * up - 0.2, 0, 1)
    return SkinRegions(
        palm=np.clip(0.5 - 1.2 * up, 0, 1),
        knuckle=near(joints[1:], 0.011) * back,
        nail=near(tips + 0.28 * (ends - tips) + np.array([0, 0.005, 0]), 0.0065) * np.clip(2 * up - 0.4, 0, 1),
        tip=near(tips, 0.011) * np.clip(0.7 - up, 0, 1),
    )


def sample_skin(regions: SkinRegions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a person's skin.

    Args:
        regions: Of the hand model.
        rng: Source of tone and blemishes.

    Returns:
        (778, 3) albedo of the hand and (3,) of the arm, linear.
    """
    place = rng.uniform(0, len(SKIN_TONES) - 1)
    low = int(place)
    tone = SKIN_TONES[low] + (place - low) * (SKIN_TONES[min(low + 1, len(SKIN_TONES) - 1)] - SKIN_TONES[low])
    tone = tone * rng.uniform(0.95, 1.05) + rng.normal(0, 3, size=3)
    # palms of dark hands are much paler than their backs, those of light hands hardly
    palm = tone + (SKIN_TONES[1] + np.array([4, -8, -6]) - tone) * (0.25 + 0.3 * place / len(SKIN_TONES))
    knuckle = tone * np.array([0.9, 0.74, 0.72])
    nail = 0.45 * tone + 0.55 * np.array([238, 190, 178])
    pad = palm * np.array([1.02, 0.86, 0.84])
    colour = np.tile(tone, (len(regions.palm), 1))
    for weight, target, strength in (
        (regions.palm, palm, 0.9),
        (regions.knuckle, knuckle, rng.uniform(0.4, 0.8)),
        (regions.tip, pad, 0.6),
        (regions.nail, nail, 0.85),
    ):
        colour += (strength * weight)[:, None] * (target - colour)
    colour *= 1 + rng.normal(0, 0.02, size=(len(colour), 1))
    return to_linear(colour.clip(15, 252)), to_linear(tone.clip(15, 252))


def sample_colour(rng: np.random.Generator, saturation: float = 1.0) -> np.ndarray:
    """(3,) sRGB colour; dull and vivid ones alike."""
    hsv = np.array([[[rng.uniform(0, 180), 255 * saturation * rng.beta(1.2, 1.6), rng.uniform(45, 245)]]])
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def fractal_noise(width: int, height: int, cells: float, rng: np.random.Generator, octaves: int = 4) -> np.ndarray:
    """Smooth noise of several scales.

    Args:
        width: Pixels.
        height: Pixels.
        cells: Blobs of the coarsest octave across the width.
        rng: Source.
        octaves: Each has twice the frequency and 0.55 times the amplitude of the one before.

    Returns:
        (height, width) float32 in about -1..1.
    """
    total = np.zeros((height, width), dtype=np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        shape = (max(2, round(cells * height / width)), max(2, round(cells)))
        grid = rng.uniform(-1, 1, size=shape).astype(np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        amplitude, cells = amplitude * 0.55, cells * 2
    return total / 1.6


def _pattern(width: int, height: int, rng: np.random.Generator, saturation: float = 1.0) -> np.ndarray:
    """(height, width, 3) float32 sRGB: plain, marbled, striped or checked in two colours."""
    first = sample_colour(rng, saturation)
    second = first * rng.uniform(0.5, 0.95) if rng.random() < 0.5 else sample_colour(rng, saturation)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    kind = rng.choice(["plain", "marble", "stripes", "checks"])
    period = rng.uniform(0.06, 0.3) * width
    mix: np.ndarray
    if kind == "plain":
        mix = np.zeros((height, width), dtype=np.float32)
    elif kind == "marble":
        mix = fractal_noise(width, height, rng.uniform(2, 8), rng) * 0.5 + 0.5
    else:
        angle = rng.uniform(0, np.pi)
        along = (columns * np.cos(angle) + rows * np.sin(angle)) / period
        mix = (along % 1 < rng.uniform(0.3, 0.7)).astype(np.float32)
        if kind == "checks":
            across = (rows * np.cos(angle) - columns * np.sin(angle)) / period
            mix = np.abs(mix - (across % 1 < 0.5))
    return first.astype(np.float32) + mix[..., None].clip(0, 1) * (second - first).astype(np.float32)


def sample_texture(rng: np.random.Generator) -> np.ndarray:
    """A printed package: a pattern, a few labels and lines of writing.

    Returns:
        (128, 192, 3) uint8 RGB.
    """
    height, width = 128, 192
    image = np.ascontiguousarray(_pattern(width, height, rng))
    for _ in range(rng.integers(0, 5)):
        x, y = rng.integers(0, width), rng.integers(10, height - 10)
        w, h = rng.integers(12, 70), rng.integers(8, 50)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), sample_colour(rng).tolist(), -1)
        ink = (sample_colour(rng) * 0.4).tolist()
        for line in range(int(y) + 6, int(y + h) - 3, 6):
            cv2.line(image, (int(x) + 4, line), (int(x) + 4 + int(rng.uniform(0.3, 0.9) * w), line), ink, 2)
    image *= 1 + 0.05 * fractal_noise(width, height, 12, rng, octaves=2)[..., None]
    return cv2.GaussianBlur(image.clip(0, 255), (3, 3), 0.6).astype(np.uint8)


def sample_background(width: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A wall, most often with a table before it, and clutter, a little out of focus.

    Args:
        width: Of the image, pixels; the result is `PAN_MARGIN` larger on every side.
        height: Of the image, pixels.
        rng: Source.

    Returns:
        (H', W', 3) uint8 RGB and (H', W') float32 depth in metres.
    """
    width, height = width + 2 * PAN_MARGIN, height + 2 * PAN_MARGIN
    rows = np.arange(height, dtype=np.float32)[:, None]
    image = _pattern(width, height, rng, saturation=0.55)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(2, 14)), dtype=np.float32)
    far = rng.uniform(1.3, 2.2)
    depth = np.full((height, width), far, dtype=np.float32)
    horizon = rng.uniform(0.25, 0.75) * height if rng.random() < 0.75 else float(height)
    _clutter(image, int(rng.integers(0, 7)), (0.1 * height, horizon), rng)
    if horizon < height:
        table = sample_colour(rng, saturation=0.55) * (
            1 + 0.12 * fractal_noise(width, height, rng.uniform(2, 5), rng)[..., None]
        )
        # grain along the table's width, as on planks
        grain = rng.uniform(-1, 1, size=(height // 3, 4)).astype(np.float32)
        table *= 1 + 0.1 * cv2.resize(grain, (width, height))[..., None]
        table = np.ascontiguousarray(table, dtype=np.float32)
        _clutter(table, int(rng.integers(0, 5)), (horizon, height), rng)
        below = rows[:, 0] >= horizon
        image[below] = table[below]
        near = rng.uniform(1.0, 1.2)
        slope = (far / near - 1) / (height - horizon)
        depth[below] = far / (1 + slope * (rows[below] - horizon))
    image *= (1 + 0.12 * fractal_noise(width, height, rng.uniform(1, 3), rng, octaves=2))[..., None]
    image *= 1 + 0.03 * fractal_noise(width, height, 60, rng, octaves=3)[..., None]
    image *= rng.uniform(0.65, 1.05)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 2.5))
    return image.clip(0, 255).astype(np.uint8), depth


def _clutter(image: np.ndarray, count: int, rows: tuple[float, float], rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    for _ in range(count):
        centre = (float(rng.uniform(0, width)), float(rng.uniform(*rows)))
        size = (float(rng.uniform(0.04, 0.35) * width), float(rng.uniform(0.04, 0.35) * height))
        angle = float(rng.normal(0, 12))
        if rng.random() < 0.6:
            corners = cv2.boxPoints((centre, size, angle)).astype(np.int32)
            mask = cv2.fillConvexPoly(np.zeros((height, width), dtype=np.uint8), corners, 255)
        else:
            mask = cv2.ellipse(np.zeros((height, width), dtype=np.uint8), (centre, size, angle), 255, -1)
        inside = mask > 0
        image[inside] = _pattern(width, height, rng, 0.8)[inside] if rng.random() < 0.5 else sample_colour(rng, 0.8)
