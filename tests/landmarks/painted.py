"""Painted hands and networks that see them: a red wrist (blue on a left hand) and a green middle knuckle."""

from collections.abc import Callable

import cv2
import numpy as np

from handlit.landmarks import joint_network, palms
from handlit.skeleton import JOINTS

#: Joints of an upright hand from the wrist, in lengths from the wrist to the middle knuckle (x right, y down).
HAND = np.array(
    [(0.0, 0.0)]
    + [(-0.5 - 0.2 * i, -0.3 - 0.2 * i) for i in range(4)]
    + [(x, -1.0 - 0.35 * i) for x in (-0.3, 0.0, 0.3, 0.55) for i in range(4)]
)
KNUCKLE = JOINTS.index("middle_1")
RIGHT, LEFT, GREEN = (230, 0, 0), (0, 0, 230), (0, 230, 0)


def turned_hand(wrist: tuple[float, float], length: float, degrees: float = 0.0) -> np.ndarray:
    """Joints (21, 2) of a hand, turned clockwise."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array(wrist) + length * HAND @ np.array([[cos, sin], [-sin, cos]])


def paint(hands: list[np.ndarray], size: tuple[int, int] = (320, 240), left: bool = False) -> np.ndarray:
    """An image (H, W, 3) of these joints; size is its width and height."""
    image = np.full((size[1], size[0], 3), 20, np.uint8)
    for joints in hands:
        radius = max(2, round(0.15 * float(np.linalg.norm(joints[KNUCKLE] - joints[0]))))
        for point, colour in ((joints[0], LEFT if left else RIGHT), (joints[KNUCKLE], GREEN)):
            cv2.circle(image, np.round(point * 16).astype(int).tolist(), radius * 16, colour, -1, cv2.LINE_AA, 4)
    return image


def discs(image: np.ndarray, channel: int) -> np.ndarray:
    """Centres (N, 2) of the discs whose colour is a channel's; image (H, W, 3) float in [0, 1]."""
    others = [other for other in range(3) if other != channel]
    weight = (image[..., channel] - image[..., others].max(axis=-1)).clip(0)
    count, marks = cv2.connectedComponents((weight > 0.3).astype(np.uint8))
    v, u = np.mgrid[: image.shape[0], : image.shape[1]]
    parts = [weight * cv2.dilate((marks == mark).astype(np.uint8), np.ones((3, 3))) for mark in range(1, count)]
    return np.array([[(part * u).sum(), (part * v).sum()] / part.sum() for part in parts]).reshape(-1, 2)


def pairs(image: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Wrist, knuckle and whether it is right, of each hand, pixels."""
    knuckles = discs(image, 1)
    wrists = [(wrist, channel == 0) for channel in (0, 2) for wrist in discs(image, channel)]
    return [
        (wrist, min(knuckles, key=lambda point: float(np.linalg.norm(point - wrist))), right)
        for wrist, right in wrists
        if len(knuckles)
    ]


def palm_engine(image: np.ndarray) -> list[np.ndarray]:
    """Sees palms of at least 12 pixels; two anchors say each, one of them less surely."""
    numbers, logits = np.zeros((2016, 18), np.float32), np.full((2016, 1), -9.0, np.float32)
    for wrist, knuckle, _ in pairs(image):
        length = float(np.linalg.norm(knuckle - wrist))
        middle = (wrist + knuckle) / 2 + 0.5
        cell = (middle / 8).astype(int).clip(0, 23)
        anchor = 2 * (cell[1] * 24 + cell[0])
        points = np.stack([middle, *[wrist + 0.5] * 2, knuckle + 0.5, *[middle] * 4]) - (cell + 0.5) * 8
        numbers[anchor : anchor + 2] = np.concatenate([points[0], [length, length], points[1:].ravel()])[:18]
        logits[anchor : anchor + 2, 0] = (4.0, 1.0) if length >= 12 else -9.0
    return [numbers, logits]


def joint_engine(image: np.ndarray) -> list[np.ndarray]:
    """Sees the hand in the middle, surely if it is upright and of the size that it was trained with."""
    middle = (np.array(image.shape[1::-1]) - 1) / 2
    landmarks, presence, handedness = np.zeros((21, 3), np.float32), 0.0, 0.5
    hands = sorted(pairs(image), key=lambda hand: float(np.linalg.norm((hand[0] + hand[1]) / 2 - middle)))
    for wrist, knuckle, right in hands[:1]:
        up = knuckle - wrist
        length = float(np.linalg.norm(up))
        degrees = float(np.degrees(np.arctan2(up[0], -up[1])))
        landmarks[:, :2] = turned_hand((float(wrist[0]), float(wrist[1])), length, degrees) + 0.5
        presence = max(0.0, 1 - abs(degrees) / 90) * min(1.0, length / 30)
        handedness = 0.9 if right else 0.1
    return [landmarks.reshape(63), np.array([presence], np.float32), np.array([handedness], np.float32), np.zeros(63)]


ENGINES: tuple[Callable[[np.ndarray], list[np.ndarray]], Callable[[np.ndarray], list[np.ndarray]]] = (
    palm_engine,
    joint_engine,
)
assert (palms.SIZE, joint_network.SIZE) == (192, 224)
