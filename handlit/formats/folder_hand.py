"""One hand of a folder of own images: its keys, and whether its numbers make sense; see docs/how_to/own_data.md."""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from handlit.errors import InputError
from handlit.geometry.crops import check_in_image, inside
from handlit.hand.asset import NUM_VERTICES
from handlit.reading import shown
from handlit.skeleton import FINGER_STATES, NUM_JOINTS, WRIST

FolderSplit = Literal["train", "val", "test"]

#: Shapes of the numbers that a hand may have.
NUMBERS: dict[str, tuple[int, ...]] = {
    "box": (4,),
    "camera": (4,),
    "joints_2d": (NUM_JOINTS, 2),
    "joints_2d_confidence": (NUM_JOINTS,),
    "joints_cam": (NUM_JOINTS, 3),
    "root_cam": (3,),
    "vertices_cam": (NUM_VERTICES, 3),
    "pose": (48,),
    "betas": (10,),
    "joints_lifted": (NUM_JOINTS, 3),
}
#: Those that are labels of an image: what a network lifted from 2D joints is none, unless it is asked for.
LABELS = tuple(name for name in NUMBERS if name not in ("box", "camera", "joints_lifted"))
KEYS = ("hand", *NUMBERS, "visible", "fingers", "mask", "split")
#: Labels in the camera frame, which mean nothing without a camera.
IN_CAMERA = ("joints_cam", "root_cam", "vertices_cam", "pose")
#: A hand is at most this large, and at most this far away, in metres.
MAX_REACH, MAX_DEPTH = 0.5, 20.0
#: Given 2D and 3D joints may differ by this share of the hand's box.
MAX_DISAGREEMENT = 0.1
#: A hand's box holds at least this share of its joints that the image shows.
MIN_IN_BOX = 0.5


def check_hand(hand: Any, image_size: tuple[int, int], where: str) -> dict[str, np.ndarray]:
    """Check one hand of an image.

    Args:
        hand: As it came from the JSON.
        image_size: Width and height of its image, pixels.
        where: File, image and number of the hand, for messages.

    Returns:
        Its numbers by key, and always ``box``.

    Raises:
        InputError: A key is unknown, a value is not as documented, or two of them contradict each other.
    """
    if not isinstance(hand, dict) or hand.get("hand") not in ("right", "left"):
        raise InputError(f"{where}: each hand needs 'hand': 'right' or 'left', got {shown(hand)}")
    unknown = sorted(set(hand) - set(KEYS))
    if unknown:
        raise InputError(f"{where}: unknown key '{shown(unknown[0])}'; a hand may have {', '.join(KEYS)}")
    if hand.get("split") not in (None, *get_args(FolderSplit)):
        raise InputError(
            f"{where}: 'split' must be one of {', '.join(get_args(FolderSplit))}, got {shown(hand['split'])}"
        )
    visible = hand.get("visible")
    if visible is not None and not (
        isinstance(visible, list) and len(visible) == 21 and all(isinstance(flag, bool) for flag in visible)
    ):
        raise InputError(f"{where}: 'visible' must be 21 times true or false, got {shown(visible)}")
    _check_fingers(hand.get("fingers"), where)
    values = {key: _numbers(hand[key], key, where) for key in NUMBERS if hand.get(key) is not None}
    if "camera" in values and not (values["camera"][:2] > 10).all():
        raise InputError(f"{where}: 'camera' must be fx, fy, cx, cy in pixels, got {hand['camera']}")
    _check_space(values, where)
    known = _known_2d(values, where)
    joints_2d = _project(values["joints_cam"], values["camera"]) if "joints_cam" in values else known
    if joints_2d is not None and not inside(joints_2d, np.array(image_size)).any():
        raise InputError(
            f"{where}: all joints lie outside the {image_size[0]}x{image_size[1]} image, the first at "
            f"{joints_2d[0].round(1).tolist()}: are joints and camera of this image, in pixels and OpenCV axes?"
        )
    if "box" not in values:
        if joints_2d is None:
            raise InputError(f"{where}: a hand needs 'box': [x0, y0, x1, y1], or joints to put one around")
        values["box"] = np.concatenate([joints_2d.min(axis=0), joints_2d.max(axis=0)])
    else:
        _check_box(values["box"], joints_2d, image_size, where)
    if "joints_cam" in values and joints_2d is not None and known is not None:
        off = float(np.abs(joints_2d[trusted_joints(values)] - known).max())
        if off > MAX_DISAGREEMENT * float((values["box"][2:] - values["box"][:2]).max()):
            raise InputError(
                f"{where}: 'camera' shows 'joints_cam' up to {off:.1f} px away from 'joints_2d': check the joints' "
                "order, the axes (x right, y down, z forward) and the camera"
            )
    return values


def _check_fingers(fingers: Any, where: str) -> None:
    """Whether states of fingers are five of the words for them."""
    known = [None, *FINGER_STATES]
    if fingers is None or (isinstance(fingers, list) and len(fingers) == 5 and all(x in known for x in fingers)):
        if fingers is None or fingers[0] != "touching":
            return
        raise InputError(f"{where}: 'fingers' says that the thumb touches the thumb: say which finger's tip touches it")
    words = ", ".join(f'"{word}"' for word in FINGER_STATES)
    raise InputError(f"{where}: 'fingers' must be five of {words} or null, thumb to pinky, got {shown(fingers)}")


def trusted_joints(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """(21,) bool, joints of ``joints_2d`` that a confidence of 0 does not take back."""
    return values.get("joints_2d_confidence", np.ones(NUM_JOINTS)) > 0


def _known_2d(values: Mapping[str, np.ndarray], where: str) -> np.ndarray | None:
    """(N, 2) the given 2D joints of which something is known; None for none."""
    confidence = values.get("joints_2d_confidence")
    if confidence is not None:
        if "joints_2d" not in values:
            raise InputError(f"{where}: 'joints_2d_confidence' says how far 'joints_2d' are trusted, which is missing")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise InputError(f"{where}: 'joints_2d_confidence' must be from 0 to 1, got {shown(confidence.tolist())}")
    known = values["joints_2d"][trusted_joints(values)] if "joints_2d" in values else np.empty((0, 2))
    return known if len(known) else None


def _check_box(box: np.ndarray, joints_2d: np.ndarray | None, image_size: tuple[int, int], where: str) -> None:
    """Whether a given box is one, lies in the image and holds the joints."""
    x0, y0, x1, y1 = box.tolist()
    if x1 <= x0 or y1 <= y0:
        fits = min(x0, y0) >= 0 and min(x1, y1) > 0 and x0 + x1 <= image_size[0] and y0 + y1 <= image_size[1]
        cause = ": is it x, y, width, height?" if fits else ""
        raise InputError(
            f"{where}: box {box.tolist()} is empty, expected x0, y0, x1, y1 with x1 > x0 and y1 > y0{cause}"
        )
    try:
        check_in_image(box, image_size)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if joints_2d is None:
        return
    shown = joints_2d[inside(joints_2d, np.array(image_size))]

    def share(corners: Any) -> float:
        return float(((shown >= corners[:2]) & (shown <= corners[2:])).all(axis=1).mean())

    if share(box) < MIN_IN_BOX:
        as_size = share((x0, y0, x0 + x1, y0 + y1)) > MIN_IN_BOX
        cause = "it is x, y, width, height" if as_size else "are box and joints of this image, in its pixels?"
        raise InputError(f"{where}: box {box.tolist()} holds {share(box):.0%} of the joints in the image: {cause}")


def _numbers(value: Any, key: str, where: str) -> np.ndarray:
    shape = NUMBERS[key]
    words = "four finite numbers" if shape == (4,) else f"finite numbers of shape {' x '.join(map(str, shape))}"
    if not _has_shape(value, shape):
        raise InputError(f"{where}: '{key}' must be {words}, got {shown(value)}")
    return np.array(value, dtype=np.float64)


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether lists of lists of finite numbers have a shape; NumPy may take any memory to find out."""
    if not shape:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, list) and len(value) == shape[0] and all(_has_shape(part, shape[1:]) for part in value)


def _check_space(values: Mapping[str, np.ndarray], where: str) -> None:
    """Units and axes of what is in the camera frame."""
    for key in IN_CAMERA:
        if key in values and "camera" not in values:
            raise InputError(
                f"{where}: '{key}' is in the camera's frame and needs 'camera': [fx, fy, cx, cy] in pixels"
            )
    for key in ("joints_cam", "root_cam", "vertices_cam"):
        if key not in values:
            continue
        points = values[key].reshape(-1, 3)
        if (points[:, 2] < 0).any():
            raise InputError(
                f"{where}: '{key}' has negative z, behind the camera: expected OpenCV axes (x right, y down, z "
                "forward); from OpenGL axes change the signs of y and z"
            )
        reach, depth = float(np.ptp(points, axis=0).max()), float(points[:, 2].max())
        if reach > MAX_REACH or depth > MAX_DEPTH:
            raise InputError(
                f"{where}: '{key}' spans {reach:.4g} and reaches a depth of {depth:.4g}, too much for a hand in "
                "metres: are these millimetres? Divide by 1000"
            )
        if not (points[:, 2] > 0).all():
            raise InputError(
                f"{where}: '{key}' has a point at z = 0: expected absolute camera coordinates, not "
                "relative to the wrist"
            )
    if "joints_lifted" in values and not (
        np.abs(values["joints_lifted"][WRIST]).max() < 0.001 and np.abs(values["joints_lifted"]).max() <= MAX_REACH
    ):
        raise InputError(f"{where}: 'joints_lifted' must be in metres, with the wrist, the first, at the origin")
    if {"joints_cam", "root_cam"} <= values.keys() and np.abs(
        values["joints_cam"][WRIST] - values["root_cam"]
    ).max() > 0.001:
        raise InputError(f"{where}: 'root_cam' is not the wrist, the first of 'joints_cam': leave it out")
    if "pose" in values and np.linalg.norm(values["pose"].reshape(16, 3), axis=1).max() > 2 * math.pi + 1e-6:
        raise InputError(f"{where}: 'pose' turns by more than a whole turn: expected 16 rotation vectors in radians")


def _project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:] * camera[:2] + camera[2:]
