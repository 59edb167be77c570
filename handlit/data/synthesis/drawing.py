"""Images of a sequence's frames as files want them: on a sharp background, with depth, parts, exposure and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from handlit.data.synthesis.collage import Collage, horizon, paint
from handlit.data.synthesis.renderer import SceneRenderer
from handlit.data.synthesis.scene import Scene
from handlit.data.synthesis.sequence import Sequence

#: Backgrounds are larger than the image by this many pixels on each side, so that a frame may look a little aside.
PAN_MARGIN = 12
#: Height and width of an object's texture.
TEXTURE_SIZE = (128, 192)
#: How far a nearer surface casts a shade beside it, pixels: its core and its rim.
SHADE_REACH = (4, 12)
#: The largest noise of the sensor, grey levels; the noise of a sequence is larger than the image by a margin, pixels.
GRAIN, GRAIN_MARGIN = 2, 64


@dataclass(frozen=True)
class Frame:
    """What the camera sees.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 metres, background included.
        parts: (H, W) uint8: `renderer.HAND`, `ARM`, `OBJECT`, or 0.
    """

    image: np.ndarray
    depth: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class Backdrop:
    """A background, larger than the image by `PAN_MARGIN` on every side.

    Attributes:
        image: (H', W', 3) uint8 RGB.
        depth: (H', W') float32 metres.
    """

    image: np.ndarray
    depth: np.ndarray


@torch.inference_mode()
def paint_backdrop(collage: Collage, width: int, height: int, rng: np.random.Generator) -> Backdrop:
    """Paint a background and put it behind the scene: a wall, and a table whose near edge is the image's lower one.

    Args:
        collage: A batch of one.
        width: Of the image, pixels.
        height: Of the image, pixels.
        rng: Source of distances and focus.
    """
    width, height = width + 2 * PAN_MARGIN, height + 2 * PAN_MARGIN
    # half the size is enough for what is out of focus
    image = cv2.resize(_to_bytes(paint(collage, (height // 2, width // 2))[0]), (width, height))
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.2))
    wall_m, table_m = rng.uniform(1.3, 2.2), rng.uniform(1.0, 1.2)
    # on a plane the inverse depth is linear in the image
    row = np.linspace(-1, 1, height)
    down = ((row - horizon(collage)) / max(1 - horizon(collage), 1e-6)).clip(0, 1)
    depth = 1 / (1 / wall_m + down * (1 / table_m - 1 / wall_m))
    return Backdrop(image, np.repeat(depth.astype(np.float32)[:, None], width, axis=1))


class Painter:
    """Draws the frames of one sequence; what they share is prepared once.

    Args:
        renderer: Of the hand model.
        sequence: What is drawn.
        scene: Its numbers, or others in their place for light, persons' colours and the object's texture.
        backdrop: Its background.
    """

    def __init__(self, renderer: SceneRenderer, sequence: Sequence, scene: Scene, backdrop: Backdrop) -> None:
        self.renderer = renderer
        self.sequence = sequence
        self.scene = scene
        self.backdrop = backdrop
        height, width = backdrop.depth.shape
        #: Height and width of the image, pixels.
        self.size = (height - 2 * PAN_MARGIN, width - 2 * PAN_MARGIN)
        grain_size = (self.size[0] + GRAIN_MARGIN, self.size[1] + GRAIN_MARGIN, 3)
        self.grain = np.random.default_rng(0).integers(0, 2 * GRAIN + 1, size=grain_size, dtype=np.uint8)
        #: (1, 3, h, w) linear, and as a file shows it: (h, w, 3) uint8 RGB.
        self.print = _to_bytes(paint(scene.texture, TEXTURE_SIZE)[0])
        self.texture = torch.from_numpy(self.print).permute(2, 0, 1)[None].double().div(255).pow(2.2).float()

    @torch.inference_mode()
    def draw(self, number: int, rng: np.random.Generator, intrinsics: np.ndarray | None = None) -> Frame:
        """Draw a frame.

        Args:
            number: Of the frame within the sequence.
            rng: Source of the sensor's noise.
            intrinsics: (3, 3) of this frame's view, pixels; None for the sequence's own.
        """
        sequence, scene, (height, width) = self.sequence, self.scene, self.size
        left, top = (PAN_MARGIN * (1 + sequence.pan[number])).astype(int)
        window = np.s_[top : top + height, left : left + width]
        image, depth = self.backdrop.image[window].copy(), self.backdrop.depth[window].copy()
        parts = np.zeros(self.size, dtype=np.uint8)

        placed = sequence.placed.frame(number)
        intrinsics = (sequence.intrinsics if intrinsics is None else intrinsics).copy()
        # only the part of the image that hand, arm and object cover is drawn
        box = _bounding_box(placed.vertices[0].numpy(), intrinsics, self.size)
        intrinsics[:2, 2] -= box[1].start, box[0].start
        drawing = self.renderer.draw(
            placed,
            scene.person,
            scene.light,
            self.texture,
            torch.from_numpy(intrinsics).float()[None],
            depth[box].shape,
            SHADE_REACH,
        )
        pixels = drawing.fragments.pixels.numpy()
        _put(image[box], pixels, _to_bytes(drawing.colours))
        _put(depth[box], pixels, drawing.fragments.depths.numpy())
        _put(parts[box], pixels, drawing.parts.byte().numpy())
        # the lens softens what the rasteriser cut out
        image[box] = cv2.GaussianBlur(image[box], (3, 3), 0.65)
        left, top = rng.integers(0, GRAIN_MARGIN, size=2)
        grain = self.grain[top : top + height, left : left + width]
        image = cv2.addWeighted(image, float(sequence.exposure[number]), grain, 1, -GRAIN)
        return Frame(image, depth, parts)


def _put(window: np.ndarray, pixels: np.ndarray, values: np.ndarray) -> None:
    """Write values (P, ...) at positions (P,) in the flattened window (h, w, ...) of an image."""
    content = window.reshape(-1, *window.shape[2:])
    content[pixels] = values
    window[:] = content.reshape(window.shape)


def _to_bytes(colours: torch.Tensor) -> np.ndarray:
    """Colours (3, ...) in 0..1 as bytes (..., 3)."""
    return (colours * 255 + 0.5).byte().movedim(0, -1).contiguous().numpy()


def _bounding_box(vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the image that the vertices in front of the camera may cover; at least one pixel."""
    visible = vertices[vertices[:, 2] > 0.02]
    points = (visible @ intrinsics.T)[:, :2] / visible[:, 2:]
    end = np.array(size[::-1])
    low = np.floor(points.min(axis=0) - 2).clip(0, end - 1).astype(int)
    high = np.ceil(points.max(axis=0) + 3).clip(low + 1, end).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])
