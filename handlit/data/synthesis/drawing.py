"""Draw one frame of a scene: rasterise hand, arm and object together, shade the visible pixels, add the background."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from handlit.data.synthesis.appearance import PAN_MARGIN, to_linear
from handlit.data.synthesis.grasp import Subject
from handlit.data.synthesis.scene import Scene
from handlit.render.rasterizer import TorchRasterizer
from handlit.render.shading import vertex_normals

#: Values of `Picture.parts`.
NOTHING, HAND, ARM, OBJECT = 0, 1, 2, 3
#: Light that enters skin leaves it around the corner, red more than blue: by how much shading wraps, per channel.
SKIN_WRAP = np.array([0.35, 0.2, 0.14])
#: Strength and exponent of the highlight, by part.
GLOSS = np.array([0.0, 0.1, 0.05, 0.22])
SHININESS = 22.0
#: Over this length of the arm the colours of the wrist become the arm's, metres.
SKIN_FADE = 0.12
#: A surface this far behind its neighbourhood in the image lies in its shade, metres.
OCCLUSION_DEPTH = 0.03
#: Linear light 0..1 in 4096 steps to sRGB bytes.
TO_SRGB = (255 * np.linspace(0, 1, 4096) ** (1 / 2.2)).round().astype(np.uint8)


@dataclass(frozen=True)
class Picture:
    """What the camera sees.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 metres, background included.
        parts: (H, W) uint8: `NOTHING`, `HAND`, `ARM` or `OBJECT`.
    """

    image: np.ndarray
    depth: np.ndarray
    parts: np.ndarray


class Painter:
    """Draws the frames of one scene; what its frames share is prepared once.

    Colours are computed in float64: in float32 the last bit of a sum of products depends on where its arrays happen to
    lie in memory, and now and then that bit decides between two grey levels.

    Args:
        scene: The sequence.
        subject: The hand model that it was drawn with.
    """

    def __init__(self, scene: Scene, subject: Subject) -> None:
        self.scene = scene
        height, width = scene.background_depth.shape
        #: Height and width of the image, pixels.
        self.size = (height - 2 * PAN_MARGIN, width - 2 * PAN_MARGIN)
        hand_count, arm_count = scene.vertices.shape[1], scene.arm_vertices.shape[1]
        body = [subject.asset.faces, scene.forearm.faces(subject.loop, hand_count)]
        self.body_faces = torch.from_numpy(np.concatenate(body))
        faces = [*body, scene.solid.faces + hand_count + arm_count]
        self.faces = np.concatenate(faces)
        self.part_of_face = np.repeat(np.array([HAND, ARM, OBJECT], np.uint8), [len(part) for part in faces])
        distances, cloth = scene.forearm.rings
        # the wrist's own colours fade into the arm's
        fade = (distances / SKIN_FADE).clip(0, 1)[:, None, None]
        bare = scene.skin[subject.loop] + fade * (scene.arm_skin - scene.skin[subject.loop])
        arm = np.where(cloth[:, None, None], scene.cloth, bare).reshape(-1, 3)
        albedo = np.concatenate([scene.skin, arm, arm[-1:]])
        # per vertex: a colour for skin and cloth, texture coordinates (and a spare) for the object
        uv = np.pad(scene.solid.uv, ((0, 0), (0, 1)))
        self.attributes = np.concatenate([albedo, uv])
        self.texture = to_linear(scene.texture)
        self.rasterise = TorchRasterizer()

    def draw(self, frame: int, rng: np.random.Generator, intrinsics: np.ndarray | None = None) -> Picture:
        """Draw a frame.

        Args:
            frame: Number within the sequence.
            rng: Source of the sensor's noise.
            intrinsics: (3, 3) of this frame's view, pixels; None for the scene's own.
        """
        scene = self.scene
        intrinsics = (scene.intrinsics if intrinsics is None else intrinsics).copy()
        left, top = (PAN_MARGIN * (1 + scene.pan[frame])).astype(int)
        window = np.s_[top : top + self.size[0], left : left + self.size[1]]
        image, depth = scene.background[window].copy(), scene.background_depth[window].copy()
        parts = np.zeros(self.size, dtype=np.uint8)

        body = np.concatenate([scene.vertices[frame], scene.arm_vertices[frame]])
        rotation = scene.object_rotation[frame]
        thing = scene.solid.vertices @ rotation.T + scene.object_translation[frame]
        vertices = np.concatenate([body, thing]).astype(np.float32)
        front = _facing_camera(vertices, self.faces)
        faces = self.faces[front]
        # only the part of the image that they cover is drawn
        box = _bounding_window(vertices, intrinsics, self.size)
        rows, columns = box
        size = (rows.stop - rows.start, columns.stop - columns.start)
        intrinsics[:2, 2] -= columns.start, rows.start
        with torch.inference_mode():
            fragments = self.rasterise(
                torch.from_numpy(vertices)[None],
                torch.from_numpy(faces),
                torch.from_numpy(intrinsics).float()[None],
                size,
            )
            body_normals = vertex_normals(torch.from_numpy(vertices[None, : len(body)]), self.body_faces)[0].numpy()
        seen = fragments.faces.numpy()
        pixel = np.divmod(fragments.pixels.numpy(), size[1])
        normals = np.concatenate([body_normals, scene.solid.normals @ rotation.T])
        table = np.concatenate([normals, self.attributes], axis=1, dtype=np.float64)
        weights, corners = fragments.weights.double().numpy(), faces[seen]
        values = sum(weights[:, corner, None] * table[corners[:, corner]] for corner in range(3))
        part = self.part_of_face[front][seen]
        albedo = self._albedo(values[:, 3:], part)

        depth[box][pixel] = fragments.depths.numpy()
        colour = self._shade(values[:, :3], _rays(pixel, intrinsics), albedo, part)
        colour *= _openness(depth[box])[pixel][:, None]
        image[box][pixel] = TO_SRGB[(colour * 4095).clip(0, 4095).astype(np.int32)]
        parts[box][pixel] = part
        # the lens softens what the rasteriser cut out
        image[box] = cv2.GaussianBlur(image[box], (3, 3), 0.65)
        image = cv2.convertScaleAbs(image, alpha=float(scene.exposure[frame]))
        return Picture(_add_noise(image, rng), depth, parts)

    def _albedo(self, attributes: np.ndarray, part: np.ndarray) -> np.ndarray:
        height, width = self.texture.shape[:2]
        thing = part == OBJECT
        place = attributes[thing, :2].clip(0, 1) * (width - 1, height - 1) + 0.5
        attributes[thing] = self.texture[place[:, 1].astype(int), place[:, 0].astype(int)]
        return attributes

    def _shade(self, normals: np.ndarray, rays: np.ndarray, albedo: np.ndarray, part: np.ndarray) -> np.ndarray:
        light, to_light = self.scene.light, self.scene.light.direction
        normals = normals / (np.sqrt((normals * normals).sum(axis=1, keepdims=True)) + 1e-9)
        cosine = normals @ to_light
        wrap = np.where((part == OBJECT)[:, None], 0.05, SKIN_WRAP)
        diffuse = ((cosine[:, None] + wrap) / (1 + wrap)).clip(0)
        upward = (0.5 - 0.5 * normals[:, 1])[:, None]
        ambient = light.ground + (light.sky - light.ground) * upward
        halfway = to_light - rays
        alignment = (normals * halfway).sum(axis=1) / np.sqrt((halfway * halfway).sum(axis=1))
        highlight = GLOSS[part] * alignment.clip(0) ** SHININESS * (cosine > 0)
        return albedo * (ambient + light.key * diffuse) + light.key * highlight[:, None]


def _bounding_window(vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the image that the vertices in front of the camera may cover; at least one pixel."""
    visible = vertices[vertices[:, 2] > 0.02]
    points = (visible @ intrinsics.T)[:, :2] / visible[:, 2:]
    end = np.array(size[::-1])
    low = np.floor(points.min(axis=0) - 2).clip(0, end - 1).astype(int)
    high = np.ceil(points.max(axis=0) + 3).clip(low + 1, end).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _facing_camera(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) bool. All surfaces are closed, so the others are never seen; leaving them out halves the work."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return (np.cross(second - first, third - first) * first).sum(axis=1) < 0


def _rays(pixel: tuple[np.ndarray, np.ndarray], intrinsics: np.ndarray) -> np.ndarray:
    """(P, 3) unit vectors from the camera through pixels, given by row and column."""
    rays = np.ones((len(pixel[0]), 3))
    rays[:, 0] = (pixel[1] - intrinsics[0, 2]) / intrinsics[0, 0]
    rays[:, 1] = (pixel[0] - intrinsics[1, 2]) / intrinsics[1, 1]
    return rays / np.sqrt((rays * rays).sum(axis=1, keepdims=True))


def _openness(depth: np.ndarray) -> np.ndarray:
    """(h, w) share of the light that reaches each pixel past nearer surfaces beside it; a cheap contact shadow."""
    shade = np.zeros_like(depth)
    for size in (9, 25):
        behind = depth - cv2.blur(depth, (size, size))
        # what is far behind is another object, not a fold: let the shade fade out again
        shade += (behind / OCCLUSION_DEPTH).clip(0, 1) * (2 - behind / OCCLUSION_DEPTH).clip(0, 1)
    return 1 - 0.3 * shade


def _add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add grain of about two grey levels, from a small tile that is laid at a random place."""
    tile = rng.integers(0, 5, size=(96, 96, 3), dtype=np.uint8)
    repeats = (-(-image.shape[0] // 96), -(-image.shape[1] // 96), 1)
    grain = np.tile(tile, repeats)[: image.shape[0], : image.shape[1]]
    return cv2.subtract(cv2.add(image, grain), np.full_like(image, 2))
