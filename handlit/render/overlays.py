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
#: RGB of what is seen in the image and of what is hidden, as in MHEntropy's figures (ICCV 2023).
SEEN, HIDDEN = (45, 95, 235), (25, 165, 70)
INK = (40, 40, 40)


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
    # a place that a quarter of the skeletons cross is nearly opaque
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
    places = [tuple(np.round(point * 16).astype(int).tolist()) if _drawable(point) else None for point in joints_2d]
    return [(places[parent], places[child]) for parent, child in BONES]


def visibility_colours(visible: np.ndarray) -> np.ndarray:
    """Colours (20, 3) uint8 of bones: `SEEN` where both joints of (21,) bool are seen, else `HIDDEN`."""
    return np.array([SEEN if visible[parent] and visible[child] else HIDDEN for parent, child in BONES], np.uint8)


def spread_colours(spread: Tensor, range_m: float = SCALE_RANGE_M) -> np.ndarray:
    """Colours (20, 3) uint8 of bones by the spread (21,) of the joint at their far end, metres."""
    colours = _viridis(spread / range_m)[[child for _, child in BONES]]
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


def scale_colours(vertex_scale: Tensor, range_m: float = SCALE_RANGE_M) -> Tensor:
    """Colours that show how uncertain each vertex is, from dark blue to yellow.

    Args:
        vertex_scale: (V, 3) standard deviation per coordinate, metres; its length decides.
        range_m: What yellow stands for, and everything above it, metres.

    Returns:
        (V, 3) RGB in [0, 1].
    """
    return _viridis(vertex_scale.norm(dim=-1) / range_m)


def _viridis(shares: Tensor) -> Tensor:
    """RGB (N, 3) in [0, 1] of numbers (N,), clamped to [0, 1]."""
    level = (shares.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    bgr = cv2.applyColorMap(level[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    return torch.from_numpy(bgr[:, ::-1].copy()).float().to(shares.device) / 255


def add_colour_bar(image: np.ndarray, range_m: float = SCALE_RANGE_M) -> np.ndarray:
    """Draw the bar of `scale_colours` into a picture's lower edge, from 0 to its range in millimetres.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        range_m: What yellow stands for, metres.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    canvas = np.ascontiguousarray(image.copy())
    font, thick = height / 560, max(1, round(height / 400))
    top, bottom = round(0.90 * height), round(0.93 * height)
    left, right = round(0.1 * width), round(0.9 * width)
    cv2.rectangle(canvas, (0, round(0.88 * height)), (width, height), (BACKGROUND,) * 3, -1)
    shades = (_viridis(torch.linspace(0, 1, right - left)) * 255).round().byte().numpy()
    canvas[top:bottom, left:right] = shades
    for share in (0.0, 0.5, 1.0):
        text = f"{1000 * range_m * share:g}" + (" mm" if share == 1 else "")
        (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, font, thick)
        place = (min(round(left + share * (right - left) - length / 2), width - length - 2), bottom + tall + thick * 4)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, font, INK, thick, cv2.LINE_AA)
    return canvas


def add_legend(image: np.ndarray, entries: Sequence[tuple[str, tuple[int, int, int]]]) -> np.ndarray:
    """Write words in their colours along a picture's lower edge.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        entries: Word and RGB colour.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    canvas = np.ascontiguousarray(image.copy())
    font, thick = height / 560, max(1, round(height / 400))
    cv2.rectangle(canvas, (0, round(0.92 * height)), (width, height), (BACKGROUND,) * 3, -1)
    for number, (word, colour) in enumerate(entries):
        place = (round((0.04 + number / len(entries)) * width), round(0.975 * height))
        cv2.putText(canvas, word, place, cv2.FONT_HERSHEY_SIMPLEX, font, colour, thick, cv2.LINE_AA)
    return canvas


def reliability_plot(levels: Sequence[float], shares: Sequence[float], title: str, side: int = 448) -> np.ndarray:
    """Draw actual over nominal coverage: above the diagonal a method is too cautious, below it too sure.

    Args:
        levels: Shares of points that the regions are to hold, ascending in [0, 1].
        shares: Those that they hold, in [0, 1].
        title: Written above.
        side: Of the picture, pixels.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    canvas = np.full((side, side, 3), BACKGROUND, np.uint8)
    font, left, top, span = side / 1000, round(0.13 * side), round(0.08 * side), round(0.8 * side)

    def place(level: float, share: float) -> tuple[int, int]:
        return round((left + level * span) * 16), round((top + (1 - share) * span) * 16)

    def write(text: str, x: float, y: float) -> None:
        place = (round(x * side), round(y * side))
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, font, INK, 1, cv2.LINE_AA)

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        for start, end in (((tick, 0.0), (tick, 1.0)), ((0.0, tick), (1.0, tick))):
            cv2.line(canvas, place(*start), place(*end), (215,) * 3, 1, cv2.LINE_AA, shift=4)
        write(f"{tick:g}", 0.12 + 0.8 * tick, 0.925)
        write(f"{tick:g}", 0.03, 0.09 + 0.8 * (1 - tick))
    cv2.line(canvas, place(0, 0), place(1, 1), (150,) * 3, 1, cv2.LINE_AA, shift=4)
    points = np.array([place(level, share) for level, share in zip(levels, shares, strict=True)])
    cv2.polylines(canvas, [points], False, SEEN, max(1, side // 200), cv2.LINE_AA, shift=4)
    write(title, 0.03, 0.05)
    write("share that a region is to hold; upwards: that it holds", 0.13, 0.98)
    return canvas


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
        cv2.putText(sheet, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
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
