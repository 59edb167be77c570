"""Pictures of hands: skeletons, mesh overlays and contact sheets. Arrays in, arrays out; no files."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from handlit.render import TorchRasterizer, interpolate, lambert, vertex_normals
from handlit.skeleton import BONES, FINGERS

#: RGB of each finger, thumb to pinky.
FINGER_COLOURS = ((230, 85, 60), (240, 180, 40), (90, 180, 80), (60, 140, 220), (160, 100, 210))
SKIN = (0.88, 0.67, 0.56)
BACKGROUND = 245
#: Standard deviation that the scale map shows in its brightest colour, metres.
SCALE_RANGE_M = 0.03


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
    # cv2 draws at sub-pixel positions given as fixed-point numbers with 4 fractional bits
    places = [tuple(np.round(point * 16).astype(int).tolist()) if _drawable(point) else None for point in joints_2d]
    for number, (parent, child) in enumerate(BONES):
        start, end = places[parent], places[child]
        if start is not None and end is not None:
            colour = FINGER_COLOURS[number // (len(BONES) // len(FINGERS))]
            cv2.line(canvas, start, end, colour, width, cv2.LINE_AA, shift=4)
            cv2.circle(canvas, end, int(width * 1.5 * 16), colour, -1, cv2.LINE_AA, shift=4)
    return canvas


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
    """Lay a shaded mesh over a picture.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        vertices_cam: (V, 3) OpenCV camera frame, metres.
        faces: (F, 3).
        intrinsics: (3, 3) of the picture, pixels.
        colours: (V, 3) in [0, 1] RGB; one skin colour without it.
        opacity: 1 hides the picture behind the mesh.

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
    picture = interpolate(fragments, faces, shaded)[0].numpy() * 255
    covered = (fragments.pix_to_face[0] >= 0).numpy()[..., None]
    blended = opacity * picture + (1 - opacity) * image
    return np.where(covered, blended, image).round().astype(np.uint8)


def scale_colours(vertex_scale: Tensor) -> Tensor:
    """Colours that show how uncertain each vertex is: dark blue is sure, yellow is 30 mm or more.

    Args:
        vertex_scale: (V, 3) standard deviation per coordinate, metres.

    Returns:
        (V, 3) RGB in [0, 1].
    """
    length = vertex_scale.norm(dim=-1) / SCALE_RANGE_M
    level = (length.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    bgr = cv2.applyColorMap(level[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    return torch.from_numpy(bgr[:, ::-1].copy()).float().to(vertex_scale.device) / 255


def side_view(vertices_root: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a hand by 90 degrees about the vertical axis and put it before a camera, to look at its depth.

    Args:
        vertices_root: (V, 3) root-relative, metres.

    Returns:
        Vertices (V, 3) and the intrinsics (3, 3) of a picture of side 1: scale its first two rows to pixels.
    """
    centred = vertices_root - vertices_root.mean(dim=0)
    turned = torch.stack([centred[:, 2], centred[:, 1], -centred[:, 0]], dim=-1)
    distance = 1.0
    extent = turned[:, :2].abs().max().clamp(min=1e-3) * 2.3
    focal = distance / extent
    return turned + turned.new_tensor([0, 0, distance]), torch.tensor(
        [[float(focal), 0, 0.5], [0, float(focal), 0.5], [0, 0, 1.0]]
    )


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], cell: int = 224) -> np.ndarray:
    """Put pictures into a grid under column titles.

    Args:
        rows: Pictures (H, W, 3) uint8 RGB; each is fitted into a square cell.
        titles: One for each column.
        cell: Side of a cell, pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    header, gap = 28, 4
    columns = len(titles)
    sheet = np.full((header + len(rows) * (cell + gap), columns * (cell + gap), 3), BACKGROUND, np.uint8)
    for column, title in enumerate(titles):
        place = (column * (cell + gap) + 6, header - 9)
        cv2.putText(sheet, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            factor = cell / max(picture.shape[:2])
            size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
            method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            fitted = cv2.resize(picture, size, interpolation=method)
            top = header + row * (cell + gap) + (cell - size[1]) // 2
            left = column * (cell + gap) + (cell - size[0]) // 2
            sheet[top : top + size[1], left : left + size[0]] = fitted
    return sheet
