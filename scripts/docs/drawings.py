"""Drawings and plots of the pages as SVG, in docs/images/drawings: ``python -m scripts.docs.drawings``."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from handlit.files import write_text
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.render.rasterizer import TorchRasterizer
from handlit.skeleton import BONES, JOINTS, KINEMATIC_JOINTS, TIPS
from scripts.docs.calibration_plots import calibration_figures, calibration_plots
from scripts.docs.links import ROOT

FOLDER = ROOT / "docs" / "images" / "drawings"
FIGURES = ROOT / "docs" / "figures"
SKIN, INK, MUTED = "#e7d3c4", "#263238", "#78909c"
FINGER_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#8a6d00")
AXIS_COLOURS = ("#c62828", "#2e7d32", "#1565c0")
#: Pixels for a metre of the hand in `joints_drawing`.
_ZOOM = 2100.0
_WIDTH, _HEIGHT = 560, 560


def drawings() -> dict[str, str]:
    """Every drawing by its file's name."""
    return {
        "joints.svg": joints_drawing(),
        "frames.svg": frames_drawing(),
        "pixels.svg": pixels_drawing(),
        "orders.svg": orders_drawing(),
        **calibration_plots(),
    }


def flat_hand() -> tuple[Tensor, Tensor, Tensor]:
    """The stand-in right hand with its palm to the viewer and its fingers up.

    Returns:
        Vertices (778, 3) and joints (21, 3), metres, wrist at the origin, x right, y down, z forward; faces (1538, 3).
    """
    layer = HandLayer(load_hand())
    mesh = layer(torch.zeros(1, 45), torch.zeros(1, 10), torch.zeros(1, 3))
    joints = mesh.joints[0] - mesh.joints[0, 0]
    down = -joints[JOINTS.index("middle_1")]
    down = down / down.norm()
    right = joints[JOINTS.index("index_1")] - joints[JOINTS.index("pinky_1")]
    right = right - (right @ down) * down
    right = right / right.norm()
    turn = torch.stack([right, down, torch.linalg.cross(right, down)])
    return (mesh.vertices[0] - mesh.joints[0, 0]) @ turn.T, joints @ turn.T, layer.faces


def outline(vertices: Tensor, faces: Tensor, to_pixels: Tensor) -> str:
    """The silhouette of a mesh as the data of an SVG path.

    Args:
        vertices: (V, 3) metres; z is the depth, beyond the camera.
        faces: (F, 3).
        to_pixels: (3, 3) intrinsics of the drawing.
    """
    fragments = TorchRasterizer()(vertices[None], faces, to_pixels[None], (_HEIGHT, _WIDTH))
    mask = np.zeros(_HEIGHT * _WIDTH, np.uint8)
    mask[fragments.pixels.numpy()] = 1
    contours, _ = cv2.findContours(mask.reshape(_HEIGHT, _WIDTH), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = cv2.approxPolyDP(max(contours, key=len), 0.8, True)[:, 0]
    return "M" + " L".join(f"{x} {y}" for x, y in points) + " Z"


def joints_drawing() -> str:
    """The 21 joints over the hand's silhouette, each with its number and name."""
    vertices, joints, faces = flat_hand()
    # as good as parallel rays: the camera is far away
    far = 10.0
    intrinsics = torch.tensor([[_ZOOM * far, 0, 250.0], [0, _ZOOM * far, 500.0], [0, 0, 1]])
    ahead = torch.tensor([0, 0, far])
    path = outline(vertices + ahead, faces, intrinsics)
    pixels = (joints[:, :2] * _ZOOM + torch.tensor([250.0, 500.0])).tolist()
    parts = [f'<path d="{path}" fill="{SKIN}" stroke="#b99f8d"/>']
    for parent, child in BONES:
        colour = FINGER_COLOURS[(child - 1) // 4]
        (x, y), (x_end, y_end) = pixels[parent], pixels[child]
        parts.append(_line(x, y, x_end, y_end, colour, 3))
    for number, (x, y) in enumerate(pixels):
        colour = INK if number == 0 else FINGER_COLOURS[(number - 1) // 4]
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="9" fill="{colour}"/>')
        parts.append(_text(x, y + 4, str(number), "middle", "#fff", 11))
        if number % 4 == 0 and number:
            parts.append(_text(x, y - 16, JOINTS[number].partition("_")[0], "middle", colour, 14))
    parts.append(_text(pixels[0][0] - 18, pixels[0][1] + 5, "wrist", "end", INK, 14))
    names = ["0 wrist"] + [f"{4 * i + 1} to {4 * i + 4} {finger}" for i, finger in enumerate(_fingers())]
    parts += [_text(18, 36 + 19 * row, text, "start", INK, 13) for row, text in enumerate(names)]
    return _svg(_WIDTH, _HEIGHT, "The 21 joints of a right hand, palm to the viewer", parts)


def frames_drawing() -> str:
    """The camera's axes in OpenCV's and OpenGL's convention, and the hand's frames."""
    vertices, joints, faces = flat_hand()
    intrinsics = torch.tensor([[6000.0, 0, 0], [0, 6000, 0], [0, 0, 1]])
    shifted = vertices + torch.tensor([0.66, 0.42, 10.0])
    path = outline(shifted, faces, intrinsics)
    x, y = ((joints[0] + torch.tensor([0.66, 0.42, 0]))[:2] * 600).tolist()
    parts = [
        _text(130, 52, "inside handlit: OpenCV", "middle", INK, 15),
        _text(130, 72, "x right, y down, z forward", "middle", MUTED, 12),
        *_axes(130, 190, ((70, 0), (0, 70), (42, -42)), "xyz"),
        _text(130, 370, "HO-3D's files: OpenGL", "middle", INK, 15),
        _text(130, 390, "x right, y up, z backward", "middle", MUTED, 12),
        *_axes(130, 500, ((70, 0), (0, -70), (-42, 42)), "xyz"),
        f'<path d="{path}" fill="{SKIN}" stroke="#b99f8d"/>',
        f'<path d="M136 192 L{x - 7:.0f} {y:.0f}" stroke="{INK}" stroke-dasharray="5 4" fill="none" '
        'marker-end="url(#arrow-ink)"/>',
        _text(290, 210, "root_cam", "middle", INK, 13),
        *_axes(x, y, ((52, 0), (0, 52), (31, -31)), "xyz"),
        _text(x, y + 102, "_root: the wrist is the origin,", "middle", INK, 13),
        _text(x, y + 119, "the axes are the camera's", "middle", INK, 13),
        _text(130, 315, "_cam: the camera is the origin", "middle", INK, 13),
    ]
    return _svg(_WIDTH, _HEIGHT, "Frames: camera and wrist", parts)


def pixels_drawing() -> str:
    """Where pixel (0, 0) is: the centre of the first pixel, not its corner."""
    side, left, top = 70, 70, 60
    parts = []
    for row in range(3):
        for column in range(4):
            x, y = left + side * column, top + side * row
            fill = "#cfe3f5" if (row, column) == (0, 0) else "#f4f6f7"
            parts.append(f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{fill}" stroke="{MUTED}"/>')
            parts.append(f'<circle cx="{x + side / 2:g}" cy="{y + side / 2:g}" r="3" fill="{INK}"/>')
            parts.append(_text(x + side / 2, y + side / 2 + 20, f"({column}, {row})", "middle", INK, 12))
    parts.append(_text(left - 8, top - 10, "(-0.5, -0.5)", "start", AXIS_COLOURS[0], 12))
    parts.append(f'<circle cx="{left}" cy="{top}" r="4" fill="{AXIS_COLOURS[0]}"/>')
    parts.append(_text(left + 2 * side, top + 3 * side + 28, "an image of 4 x 3 pixels", "middle", MUTED, 12))
    return _svg(420, 320, "Pixel coordinates", parts)


def orders_drawing() -> str:
    """One hand's joints in handlit's order and in the order of MANO's files with tips at the end."""
    official = KINEMATIC_JOINTS + TIPS
    parts = [
        _text(140, 30, "handlit, FreiHAND", "end", INK, 13),
        _text(380, 30, "HO-3D: MANO's, then tips", "start", INK, 13),
    ]
    for number, name in enumerate(JOINTS):
        other = official.index(name)
        y, y_other = 52 + 22 * number, 52 + 22 * other
        colour = INK if number == 0 else FINGER_COLOURS[(number - 1) // 4]
        parts.append(_text(140, y + 4, f"{name} {number}", "end", colour, 12))
        parts.append(_text(380, y_other + 4, f"{other} {name}", "start", colour, 12))
        parts.append(_line(146, y, 374, y_other, colour, 1.4))
    return _svg(_WIDTH, 530, "Joint orders", parts)


def _fingers() -> list[str]:
    return [JOINTS[4 * finger + 1].partition("_")[0] for finger in range(5)]


def _axes(x: float, y: float, ends: Sequence[tuple[float, float]], names: str) -> list[str]:
    parts = []
    for (dx, dy), name, colour in zip(ends, names, AXIS_COLOURS, strict=True):
        length = math.hypot(dx, dy)
        parts.append(
            f'<path d="M{x:.0f} {y:.0f} L{x + dx:.0f} {y + dy:.0f}" stroke="{colour}" stroke-width="3" '
            f'marker-end="url(#arrow-{name})"/>'
        )
        reach = 1 + 20 / length
        parts.append(_text(x + dx * reach, y + dy * reach + 5, name, "middle", colour, 15))
    return [*parts, f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{INK}"/>']


def _line(x: float, y: float, x_end: float, y_end: float, colour: str, width: float) -> str:
    ends = f'x1="{x:.0f}" y1="{y:.0f}" x2="{x_end:.0f}" y2="{y_end:.0f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}" stroke-linecap="round"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str, size: int) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{text}</text>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    arrows = "".join(
        f'<marker id="arrow-{name}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="4" markerHeight="4" '
        f'orient="auto"><path d="M0 0 L8 4 L0 8 Z" fill="{colour}"/></marker>'
        for name, colour in zip(("x", "y", "z", "ink"), (*AXIS_COLOURS, INK), strict=True)
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{title}" font-family="sans-serif">'
    )
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#fdfdfd"/>'
    return "\n".join([head, f"<defs>{arrows}</defs>", ground, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the drawings, and the figures that pages quote of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in drawings().items():
        write_text(FOLDER / name, text)
        print(FOLDER / name)
    FIGURES.mkdir(exist_ok=True)
    write_text(FIGURES / "calibration.json", calibration_figures())
    print(FIGURES / "calibration.json")


if __name__ == "__main__":
    main()
