"""Figures of hands: colour bars, legends, contact sheets, reliability. Arrays in, arrays out; no files."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from handlit.render.overlays import SCALE_RANGE_M, SEEN, viridis

#: Part of an image's height that a colour bar leaves as it is.
ABOVE_BAR = 0.88
#: Grey level of empty regions, and RGB of text.
BACKGROUND = 245
INK = (40, 40, 40)


def add_colour_bar(image: np.ndarray, range_m: float = SCALE_RANGE_M) -> np.ndarray:
    """Draw the bar of `scale_colours` into an image's lower edge, from 0 to its range in millimetres.

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
    cv2.rectangle(canvas, (0, round(ABOVE_BAR * height)), (width, height), (BACKGROUND,) * 3, -1)
    shades = (viridis(torch.linspace(0, 1, right - left)) * 255).round().byte().numpy()
    canvas[top:bottom, left:right] = shades
    for share in (0.0, 0.5, 1.0):
        text = f"{1000 * range_m * share:g}" + (" mm" if share == 1 else "")
        (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, font, thick)
        corner = (min(round(left + share * (right - left) - length / 2), width - length - 2), bottom + tall + thick * 4)
        cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, font, INK, thick, cv2.LINE_AA)
    return canvas


def add_legend(image: np.ndarray, entries: Sequence[tuple[str, tuple[int, int, int]]]) -> np.ndarray:
    """Write words in their colours along an image's lower edge.

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
        corner = (round((0.04 + number / len(entries)) * width), round(0.975 * height))
        cv2.putText(canvas, word, corner, cv2.FONT_HERSHEY_SIMPLEX, font, colour, thick, cv2.LINE_AA)
    return canvas


def reliability_plot(levels: Sequence[float], shares: Sequence[float], title: str, side: int = 448) -> np.ndarray:
    """Draw actual over nominal coverage: above the diagonal a method is under-confident, below it over-confident.

    Args:
        levels: Nominal coverage of the regions, ascending in [0, 1].
        shares: Shares of points that lie inside them, in [0, 1].
        title: Written above.
        side: Of the image, pixels.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    canvas = np.full((side, side, 3), BACKGROUND, np.uint8)
    font, left, top, span = side / 1000, round(0.13 * side), round(0.08 * side), round(0.8 * side)

    def pixel(level: float, share: float) -> tuple[int, int]:
        return round((left + level * span) * 16), round((top + (1 - share) * span) * 16)

    def write(text: str, x: float, y: float) -> None:
        corner = (round(x * side), round(y * side))
        cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, font, INK, 1, cv2.LINE_AA)

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        for start, end in (((tick, 0.0), (tick, 1.0)), ((0.0, tick), (1.0, tick))):
            cv2.line(canvas, pixel(*start), pixel(*end), (215,) * 3, 1, cv2.LINE_AA, shift=4)
        write(f"{tick:g}", 0.12 + 0.8 * tick, 0.925)
        write(f"{tick:g}", 0.03, 0.09 + 0.8 * (1 - tick))
    cv2.line(canvas, pixel(0, 0), pixel(1, 1), (150,) * 3, 1, cv2.LINE_AA, shift=4)
    points = np.array([pixel(level, share) for level, share in zip(levels, shares, strict=True)])
    cv2.polylines(canvas, [points], False, SEEN, max(1, side // 200), cv2.LINE_AA, shift=4)
    write(title, 0.03, 0.05)
    write("nominal coverage of a region; upwards: actual coverage", 0.13, 0.98)
    return canvas


def side_view(vertices_root: Tensor, above: bool = False, extent_m: float | None = None) -> tuple[Tensor, Tensor]:
    """Turn a hand by 90 degrees and place a camera in front of it, to show its depth.

    Args:
        vertices_root: (V, 3) root-relative, metres.
        above: Look from above, at the hand turned about the horizontal axis; else from the side, about the vertical.
        extent_m: Width of what the camera sees, metres; by default as much as the hand needs.

    Returns:
        Vertices (V, 3) and the intrinsics (3, 3) of an image of side 1: scale its first two rows to pixels.
    """
    x, y, z = (vertices_root - vertices_root.mean(dim=0)).unbind(dim=-1)
    turned = torch.stack([x, -z, y] if above else [z, y, -x], dim=-1)
    distance = 1.0
    extent = turned[:, :2].abs().max().clamp(min=1e-3) * 2.3 if extent_m is None else turned.new_tensor(extent_m)
    focal = distance / extent
    return turned + turned.new_tensor([0, 0, distance]), torch.tensor(
        [[float(focal), 0, 0.5], [0, float(focal), 0.5], [0, 0, 1.0]]
    )


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], cell: int = 224) -> np.ndarray:
    """Put images into a grid under column titles.

    Args:
        rows: Images (H, W, 3) uint8 RGB; each is fitted into a square cell.
        titles: One for each column.
        cell: Side of a cell, pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    header, gap = 28, 4
    columns = len(titles)
    sheet = np.full((header + len(rows) * (cell + gap), columns * (cell + gap), 3), BACKGROUND, np.uint8)
    for column, title in enumerate(titles):
        corner = (column * (cell + gap) + 6, header - 9)
        cv2.putText(sheet, title, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            factor = cell / max(image.shape[:2])
            size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
            method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            fitted = cv2.resize(image, size, interpolation=method)
            top = header + row * (cell + gap) + (cell - size[1]) // 2
            left = column * (cell + gap) + (cell - size[0]) // 2
            sheet[top : top + size[1], left : left + size[0]] = fitted
    return sheet
