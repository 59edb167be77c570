"""Reconstructed hands drawn over their images and from two sides."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from handlit.formats.images import enlargement
from handlit.geometry import crops
from handlit.reconstruct import ReconstructedHand
from handlit.render.figures import ABOVE_BAR, BACKGROUND, add_colour_bar, side_view
from handlit.render.overlays import draw_mesh, draw_skeleton, scale_colours

#: Columns of the rows that `hand_row` draws.
TITLES = ("detected joints", "mesh", "from the side", "from above", "stated scale")
#: Side of a cell of a row, pixels, and what a cell shows of the image: the hand's box, this much larger.
CELL, MARGIN = 256, 1.5
#: Width of what a side view shows, metres.
_EXTENT_M = 0.26
#: Hands of a frame that get side views.
_MAX_VIEWS = 2


def hand_row(image: np.ndarray, hand: ReconstructedHand) -> list[np.ndarray]:
    """Drawings of one hand, in the order of `TITLES`.

    Args:
        image: (H, W, 3) uint8 RGB, the whole image.
        hand: One of its hands.

    Returns:
        (CELL, CELL, 3) uint8 RGB each.
    """
    x0, y0, x1, y1 = hand.box.tolist()
    side = MARGIN * max(x1 - x0, y1 - y0, 1.0)
    to_cell = crops.crop_transform(np.array([(x0 + x1) / 2, (y0 + y1) / 2]), side, CELL)
    cut = _cut(image, to_cell, CELL / side)
    intrinsics = torch.from_numpy(crops.crop_intrinsics(to_cell, hand.intrinsics))
    vertices, faces = torch.from_numpy(hand.vertices_cam), torch.from_numpy(hand.faces)
    colours = scale_colours(torch.from_numpy(hand.vertex_scale))
    by_scale = draw_mesh(np.full_like(cut, BACKGROUND), vertices, faces, intrinsics, colours, opacity=1)
    return [
        draw_skeleton(cut, crops.apply(to_cell, hand.joints_2d)),
        draw_mesh(cut, vertices, faces, intrinsics),
        _view(hand, CELL, above=False),
        _view(hand, CELL, above=True),
        add_colour_bar(by_scale),
    ]


def frame_with_views(image: np.ndarray, hands: Sequence[ReconstructedHand]) -> np.ndarray:
    """A frame of a video with its hands drawn in it, and beside it two views of them, coloured by stated scale.

    Args:
        image: (H, W, 3) uint8 RGB.
        hands: Of the frame; the two of the lowest track numbers are shown from the side and from above.

    Returns:
        (H, W + H // 2, 3) uint8 RGB, with a bar of the scale's colours below the views.
    """
    height = image.shape[0]
    drawn = image
    # far ones first
    for hand in sorted(hands, key=lambda hand: -hand.root_cam[2]):
        intrinsics = torch.from_numpy(hand.intrinsics)
        drawn = draw_mesh(drawn, torch.from_numpy(hand.vertices_cam), torch.from_numpy(hand.faces), intrinsics)
    for hand in hands:
        drawn = draw_skeleton(drawn, hand.joints_2d)
    panel = add_colour_bar(np.full((height, height // 2, 3), BACKGROUND, np.uint8))
    shown = sorted(hands, key=lambda hand: hand.track or 0)[:_MAX_VIEWS]
    room = round(ABOVE_BAR * height) // 2
    cell = min(room, height // 2 // max(1, len(shown)))
    for column, hand in enumerate(shown):
        for row, above in enumerate((False, True)):
            top = row * room + (room - cell) // 2
            panel[top : top + cell, column * cell : (column + 1) * cell] = _view(hand, cell, above)
    return np.concatenate([drawn, panel], axis=1)


def _view(hand: ReconstructedHand, side: int, above: bool) -> np.ndarray:
    """The hand from the side or from above, coloured by its stated scale."""
    turned, unit = side_view(torch.from_numpy(hand.vertices), above, _EXTENT_M)
    intrinsics = unit * unit.new_tensor([[side], [side], [1]])
    colours = scale_colours(torch.from_numpy(hand.vertex_scale))
    blank = np.full((side, side, 3), BACKGROUND, np.uint8)
    return draw_mesh(blank, turned, torch.from_numpy(hand.faces), intrinsics, colours, opacity=1)


def _cut(image: np.ndarray, to_cell: np.ndarray, zoom: float) -> np.ndarray:
    """The part of an image that a cell shows, (CELL, CELL, 3)."""
    if zoom < 1:
        height, width = image.shape[:2]
        size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        # averages over pixels, where a warp would skip some
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        to_cell = crops.compose(to_cell, enlargement(width / size[0], height / size[1]))
    border = (BACKGROUND,) * 3
    return cv2.warpAffine(image, to_cell, (CELL, CELL), flags=cv2.INTER_CUBIC, borderValue=border)
