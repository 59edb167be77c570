"""Hands drawn over images: skeletons and meshes, and the colours that say something of them. No files."""

import cv2
import numpy as np
import torch
from torch import Tensor

from handlit.render import TorchRasterizer, lambert, vertex_normals
from handlit.render.shading import interpolate_covered
from handlit.skeleton import BONES, FINGERS

#: RGB of each finger, thumb to pinky.
FINGER_COLOURS = ((230, 85, 60), (240, 180, 40), (90, 180, 80), (60, 140, 220), (160, 100, 210))
SKIN = (0.88, 0.67, 0.56)
#: Standard deviation that the scale map shows in its brightest colour, metres: hands lifted from joints say 5 to 40 mm.
SCALE_RANGE_M = 0.05
#: RGB of bones that are seen in the image and of hidden ones, as in MHEntropy's figures (ICCV 2023).
SEEN, HIDDEN = (45, 95, 235), (25, 165, 70)


def draw_skeleton(image: np.ndarray, joints_2d: np.ndarray) -> np.ndarray:
    """Draw the 20 bones and 21 joints of a hand.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        joints_2d: (21, 2) pixels of the image.

    Returns:
        (H, W, 3) uint8 RGB. Joints that are not finite are left out.
    """
    canvas = np.ascontiguousarray(image.copy())
    width = max(1, round(max(image.shape[:2]) / 120))
    for number, (start, end) in enumerate(_bones(joints_2d)):
        if start is not None and end is not None:
            colour = FINGER_COLOURS[number // (len(BONES) // len(FINGERS))]
            cv2.line(canvas, start, end, colour, width, cv2.LINE_AA, shift=4)
            cv2.circle(canvas, end, int(width * 1.5 * 16), colour, -1, cv2.LINE_AA, shift=4)
    return canvas


def draw_skeletons(image: np.ndarray, joints_2d: np.ndarray, bone_colours: np.ndarray) -> np.ndarray:
    """Draw many skeletons of one hand over each other, thin and translucent: dense where they agree.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        joints_2d: (S, 21, 2) pixels of the image.
        bone_colours: (20, 3) uint8 RGB of the bones, in the order of `skeleton.BONES`.

    Returns:
        (H, W, 3) uint8 RGB. Joints that are not finite are left out.
    """
    width = max(1, round(max(image.shape[:2]) / 220))
    # a pixel that a quarter of the skeletons cross is nearly opaque
    opacity = 1 - 0.1 ** min(1.0, 4 / max(1, len(joints_2d)))
    canvas = image.astype(np.float32)
    for joints in joints_2d:
        layer = np.zeros(image.shape[:2], np.uint8)
        colours = np.zeros_like(image)
        for (start, end), colour in zip(_bones(joints), bone_colours.tolist(), strict=True):
            if start is not None and end is not None:
                # the colour reaches past the line's soft edge, which the layer alone decides
                cv2.line(colours, start, end, colour, width + 4, cv2.LINE_8, shift=4)
                cv2.line(layer, start, end, 255, width, cv2.LINE_AA, shift=4)
        cover = opacity * layer[..., None].astype(np.float32) / 255
        canvas += cover * (colours - canvas)
    return canvas.round().astype(np.uint8)


def _bones(joints_2d: np.ndarray) -> list[tuple[tuple[int, int] | None, tuple[int, int] | None]]:
    """Ends of the bones as cv2's fixed-point numbers with 4 fractional bits; None where one cannot be drawn."""
    ends = [tuple(np.round(point * 16).astype(int).tolist()) if _drawable(point) else None for point in joints_2d]
    return [(ends[parent], ends[child]) for parent, child in BONES]


def visibility_colours(visible: np.ndarray) -> np.ndarray:
    """Colours (20, 3) uint8 of bones: `SEEN` where both joints of (21,) bool are seen, else `HIDDEN`."""
    return np.array([SEEN if visible[parent] and visible[child] else HIDDEN for parent, child in BONES], np.uint8)


def spread_colours(spread: Tensor, range_m: float = SCALE_RANGE_M) -> np.ndarray:
    """Colours (20, 3) uint8 of bones by the spread (21,) of the joint at their far end, metres."""
    colours = viridis(spread / range_m)[[child for _, child in BONES]]
    return (colours * 255).round().byte().cpu().numpy()


def _drawable(point: np.ndarray) -> bool:
    return bool(np.isfinite(point).all() and np.abs(point).max() < 1e5)


def draw_mesh(
    image: np.ndarray,
    vertices_cam: Tensor,
    faces: Tensor,
    intrinsics: Tensor,
    colours: Tensor | None = None,
    opacity: float = 0.85,
) -> np.ndarray:
    """Draw a shaded mesh over an image.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        vertices_cam: (V, 3) OpenCV camera frame, metres.
        faces: (F, 3).
        intrinsics: (3, 3) of the image, pixels.
        colours: (V, 3) in [0, 1] RGB; one skin colour without it.
        opacity: 1 hides the image behind the mesh.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    vertices = vertices_cam[None].float()
    if colours is None:
        colours = vertices.new_tensor(SKIN).expand(vertices.shape[1], 3)
    fragments = TorchRasterizer()(vertices, faces, intrinsics[None].float(), image.shape[:2])
    normals = vertex_normals(vertices, faces)
    # lit from the camera's upper left; both sides of a surface are shown lit, so an open wrist is not black
    light = torch.nn.functional.normalize(vertices.new_tensor([-0.4, -0.6, -0.7]), dim=0)
    facing = torch.where(normals[..., 2:] > 0, -normals, normals)
    shaded = lambert(colours[None], facing, light, ambient=0.45, diffuse=0.6).clamp(0, 1)
    drawn = interpolate_covered(fragments, faces, shaded).numpy() * 255
    canvas = np.ascontiguousarray(image).copy()
    pixels, covered = canvas.reshape(-1, 3), fragments.pixels.numpy()
    pixels[covered] = (opacity * drawn + (1 - opacity) * pixels[covered]).round()
    return canvas


def scale_colours(vertex_scale: Tensor, range_m: float = SCALE_RANGE_M) -> Tensor:
    """Colours that show how uncertain each vertex is, from dark blue to yellow.

    Args:
        vertex_scale: (V, 3) standard deviation per coordinate, metres; its length decides.
        range_m: What yellow stands for, and everything above it, metres.

    Returns:
        (V, 3) RGB in [0, 1].
    """
    return viridis(vertex_scale.norm(dim=-1) / range_m)


def viridis(shares: Tensor) -> Tensor:
    """RGB (N, 3) in [0, 1] of numbers (N,), clamped to [0, 1]."""
    level = (shares.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    bgr = cv2.applyColorMap(level[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    return torch.from_numpy(bgr[:, ::-1].copy()).float().to(shares.device) / 255
