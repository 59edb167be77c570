"""Own images on disk: a folder with an ``annotations.json`` that lists the hands of each image; see docs/own_data.md.

    {"image.jpg": [{"hand": "right", "box": [x0, y0, x1, y1], "camera": [fx, fy, cx, cy]}]}

Only ``hand`` and a box, or joints to put one around, are needed. Labels are for fitting and testing.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from handlit.errors import InputError
from handlit.files import leads_outside
from handlit.formats.benchmark import DatasetFormat
from handlit.formats.images import decode, read_bytes, read_image
from handlit.geometry.crops import assumed_intrinsics, check_in_image, inside
from handlit.hand.asset import NUM_VERTICES
from handlit.reading import decode_text, parse_json, shown
from handlit.reading import read_bytes as read_content
from handlit.skeleton import NUM_JOINTS, WRIST

FolderSplit = Literal["train", "val", "test"]

#: The list of hands; the second name is for folders of images that have nothing but boxes.
NAMES = ("annotations.json", "boxes.json")
EXAMPLE = '{"image.jpg": [{"hand": "right", "box": [x0, y0, x1, y1]}]}'

#: Of the list: many thousand hands with every label that there is.
MAX_LIST_BYTES = 1 << 28
_HAND = re.compile(rb'"hand"\s*:')

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
}
KEYS = ("hand", *NUMBERS, "visible", "mask", "split")
#: Labels in the camera frame, which mean nothing without a camera.
IN_CAMERA = ("joints_cam", "root_cam", "vertices_cam", "pose")
#: A hand is at most this large, and at most this far away, in metres.
MAX_REACH, MAX_DEPTH = 0.5, 20.0
#: Given 2D and 3D joints may differ by this share of the hand's box.
MAX_DISAGREEMENT = 0.1
#: A hand's box holds at least this share of its joints that the image shows.
MIN_IN_BOX = 0.5
#: Values of a mask's pixels.
HAND_VALUE, OBJECT_VALUE = 1, 2


def read_annotations(root: Path, allow_outside: bool = False) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """Read the list of hands; its entries are checked by `check_hand`.

    Args:
        root: The folder.
        allow_outside: Accept images that lie outside the folder.

    Returns:
        The file, and the hands of each image.

    Raises:
        FileNotFoundError: The folder, its list or an image is missing.
        InputError: The file is not as documented, or an image lies outside the folder.
    """
    path, images = read_hands(root)
    for name, hands in images.items():
        check_file(root, name, f"{path} names {shown(name, 200)}", allow_outside)
        if not isinstance(hands, list):
            raise InputError(f"{path}: {shown(name, 200)} must hold a list of hands, as in {EXAMPLE}")
    return path, images


def check_file(root: Path, name: object, words: str, allow_outside: bool = False) -> None:
    """Check a file that the list names.

    Args:
        root: The folder.
        name: As it came from the JSON.
        words: Who names which file, for messages.
        allow_outside: Accept a file outside the folder.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The name leads out of the folder.
    """
    if not isinstance(name, str) or not os.path.isfile(root / name):
        raise FileNotFoundError(f"{words}, which is not in {root}")
    if not allow_outside and leads_outside(root, name):
        raise InputError(
            f"{words}, which lies outside {root}: copy the file there or, if you trust the list, set "
            "data.init_args.allow_outside"
        )


def read_hands(root: Path) -> tuple[Path, dict[str, Any]]:
    """Read the list of hands as it is: neither the images nor the hands are looked at.

    Raises:
        FileNotFoundError: The folder or its list is missing.
        InputError: The file is no list of images.
    """
    present = [root / name for name in NAMES if (root / name).is_file()]
    if not present:
        raise FileNotFoundError(f"{root / NAMES[0]} is missing: list the hands of each image there, as in {EXAMPLE}")
    if len(present) > 1:
        raise InputError(f"{root} has both {NAMES[0]} and {NAMES[1]}: keep one of them, the format is the same")
    (path,) = present
    content = read_content(path, MAX_LIST_BYTES, EXAMPLE)
    images = parse_json(content, path, EXAMPLE)
    if not isinstance(images, dict) or not images:
        raise InputError(f"{path} must map at least one file name to its hands, as in {EXAMPLE}")
    _check_lost(content, images, path)
    return path, images


def _check_lost(content: bytes, images: dict[str, Any], path: Path) -> None:
    """Refuse a list that names an image twice: of these JSON keeps the last alone, and hands would be lost."""
    kept = sum(
        isinstance(hand, dict) and "hand" in hand
        for hands in images.values()
        for hand in (hands if isinstance(hands, list) else ())
    )
    # in UTF-16 a letter has a zero beside it
    if len(_HAND.findall(content.replace(b"\0", b""))) <= kept:
        return
    twice: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        twice.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)

    # what this parser does not take, the one above has taken
    with suppress(RecursionError, ValueError):
        json.loads(decode_text(content, path), object_pairs_hook=note)
    if twice:
        raise InputError(f"{path} names {shown(twice[0], 200)} twice: list all hands of an image together")


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
        off = float(np.abs(joints_2d[_trusted(values)] - known).max())
        if off > MAX_DISAGREEMENT * float((values["box"][2:] - values["box"][:2]).max()):
            raise InputError(
                f"{where}: 'camera' shows 'joints_cam' up to {off:.1f} px away from 'joints_2d': check the joints' "
                "order, the axes (x right, y down, z forward) and the camera"
            )
    return values


def _trusted(values: Mapping[str, np.ndarray]) -> np.ndarray:
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
    known = values["joints_2d"][_trusted(values)] if "joints_2d" in values else np.empty((0, 2))
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
    if {"joints_cam", "root_cam"} <= values.keys() and np.abs(
        values["joints_cam"][WRIST] - values["root_cam"]
    ).max() > 0.001:
        raise InputError(f"{where}: 'root_cam' is not the wrist, the first of 'joints_cam': leave it out")
    if "pose" in values and np.linalg.norm(values["pose"].reshape(16, 3), axis=1).max() > 2 * math.pi + 1e-6:
        raise InputError(f"{where}: 'pose' turns by more than a whole turn: expected 16 rotation vectors in radians")


def _project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:] * camera[:2] + camera[2:]


def read_label_mask(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode a mask of one channel: 0 is neither, 1 the hand, 2 an object that may hide it.

    Returns:
        Masks of hand and object, (h, w) bool.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged or has other values.
    """
    image = decode(read_bytes(path), path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2 or image.max() > OBJECT_VALUE:
        got = f"{image.shape[2]} channels" if image.ndim != 2 else f"values up to {image.max()}"
        raise InputError(f"mask {path}: expected a png of one channel with 0, 1 (hand) and 2 (object), got {got}")
    return image == HAND_VALUE, image == OBJECT_VALUE


def read_folder(root: Path, assumed_fov_deg: float, allow_outside: bool = False) -> dict[str, np.ndarray]:
    """Read and check the annotations of a folder.

    Args:
        root: Folder with the images and their list.
        assumed_fov_deg: Field of view across the longer side of an image without a camera, degrees.
        allow_outside: Accept files that lie outside the folder.

    Returns:
        The columns of a `FrameTable`; ``camera_assumed`` (N,) bool; ``splits`` (N,), "" where none is given.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: An annotation is not as documented, or a file lies outside the folder; the message names it.
    """
    path, images = read_annotations(root, allow_outside)
    labels = [key for key in NUMBERS if key not in ("box", "camera")]
    rows: dict[str, list[Any]] = {}

    def add(**cells: Any) -> None:
        for column, cell in cells.items():
            rows.setdefault(column, []).append(cell)

    for name, hands in images.items():
        height, width = read_image(root / name).shape[:2]
        for number, hand in enumerate(hands):
            where = f"{path}: {shown(name, 200)}, hand {number}"
            values = check_hand(hand, (width, height), where)
            if "joints_cam" in values:
                values["root_cam"] = values["joints_cam"][WRIST]
            mask = hand.get("mask") or ""
            if mask:
                check_file(root, mask, f"{where} names the mask {shown(mask)}", allow_outside)
            add(
                keys=f"{name}#{number}",
                images=name,
                image_sizes=(width, height),
                intrinsics=_intrinsics(values.get("camera"), (width, height), assumed_fov_deg),
                boxes=values["box"],
                mirrored=hand["hand"] == "left",
                masks=mask,
                visible=_flags(hand.get("visible")),
                camera_assumed="camera" not in values,
                splits=hand.get("split") or "",
                **{key: values.get(key, np.full(NUMBERS[key], np.nan)) for key in labels},
            )
    if not rows:
        raise InputError(f"{path} lists no hand in any of its {len(images)} images, expected {EXAMPLE}")
    columns = {column: np.array(cells) for column, cells in rows.items()}
    columns["visible"] = columns["visible"].astype(np.int8)
    # what no hand has takes no space
    known = {key for key in labels if not np.isnan(columns[key]).all()}
    return {column: values for column, values in columns.items() if column not in labels or column in known}


def _flags(visible: list[bool] | None) -> np.ndarray:
    return np.full(NUM_JOINTS, -1) if visible is None else np.array(visible, dtype=int)


def _intrinsics(camera: np.ndarray | None, image_size: tuple[int, int], assumed_fov_deg: float) -> np.ndarray:
    if camera is None:
        return assumed_intrinsics(image_size, assumed_fov_deg)
    fx, fy, cx, cy = camera
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


FOLDER = DatasetFormat(
    name="folder",
    title="own images",
    page="docs/own_data.md",
    marks=NAMES,
    data="handlit.data.folder.HandFolder",
    read_masks=read_label_mask,
)
