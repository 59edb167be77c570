"""How synthetic scenes look: skin, colours and light. Colours are sRGB in 0..255 or linear in 0..1."""

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


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..255 to linear light in 0..1, by the common power law."""
    return (np.asarray(srgb) / 255.0) ** 2.2


def sample_light(rng: np.random.Generator) -> np.ndarray:
    """A lamp above or beside the camera, warm to cool, with a dimmer sky.

    Returns:
        (4, 3): unit vector towards the lamp, in OpenCV camera axes, and the linear colours of the lamp, of the sky
        (light from above) and of the ground (light from below).
    """
    direction = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-1.0, -0.1), rng.uniform(-1.0, -0.25)])
    warmth = rng.uniform(-0.12, 0.12)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    sky = rng.uniform(0.3, 0.5) * (2 - tint)
    lamp = rng.uniform(0.55, 0.95) * tint
    ground = sky * rng.uniform(0.35, 0.7) * np.array([1.08, 1.0, 0.9])
    return np.stack([direction / np.linalg.norm(direction), lamp, sky, ground])


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
    darkness = rng.uniform(0, len(SKIN_TONES) - 1)
    low = int(darkness)
    tone = SKIN_TONES[low] + (darkness - low) * (SKIN_TONES[min(low + 1, len(SKIN_TONES) - 1)] - SKIN_TONES[low])
    tone = tone * rng.uniform(0.95, 1.05) + rng.normal(0, 3, size=3)
    # palms of dark hands are much paler than their backs, those of light hands hardly
    palm = tone + (SKIN_TONES[1] + np.array([4, -8, -6]) - tone) * (0.25 + 0.3 * darkness / len(SKIN_TONES))
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


def sample_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) sRGB colour; dull and vivid ones alike."""
    return sample_colours(1, rng)[0]


def sample_colours(count: int, rng: np.random.Generator, saturation: float = 1.0) -> np.ndarray:
    """(count, 3) sRGB colours; the largest saturation is 1."""
    columns = [rng.uniform(0, 180, count), 255 * saturation * rng.beta(1.2, 1.6, count), rng.uniform(45, 245, count)]
    hsv = np.stack(columns, axis=1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(float)
