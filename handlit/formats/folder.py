"""Own images on disk: a folder with an ``annotations.json`` that lists the hands of each image.

See docs/how_to/own_data.md.

    {"image.jpg": [{"hand": "right", "box": [x0, y0, x1, y1], "camera": [fx, fy, cx, cy]}]}

Only ``hand`` and a box, or joints to put one around, are needed. Labels are for fitting and testing.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handlit.errors import InputError
from handlit.files import leads_outside
from handlit.formats.benchmark import DatasetFormat
from handlit.formats.folder_hand import LABELS, NUMBERS, check_hand, trusted_joints
from handlit.formats.images import decode, read_bytes, read_image
from handlit.geometry.crops import assumed_intrinsics
from handlit.reading import MAX_TEXT, decode_text, parse_json, shown
from handlit.reading import read_bytes as read_content
from handlit.skeleton import FINGER_STATES, FINGERS, NUM_JOINTS, WRIST

#: The list of hands; the second name is for folders of images that have nothing but boxes.
NAMES = ("annotations.json", "boxes.json")
EXAMPLE = '{"image.jpg": [{"hand": "right", "box": [x0, y0, x1, y1]}]}'

_HAND = re.compile(rb'"hand"\s*:')

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
    content = read_content(path, MAX_TEXT, "a list of hands")
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


def read_folder(
    root: Path, assumed_fov_deg: float, allow_outside: bool = False, lifted: bool = False
) -> dict[str, np.ndarray]:
    """Read and check the annotations of a folder.

    Args:
        root: Folder with the images and their list.
        assumed_fov_deg: Field of view across the longer side of an image without a camera, degrees.
        allow_outside: Accept files that lie outside the folder.
        lifted: Let lifted joints be labels of training hands without 3D joints.

    Returns:
        The columns of a `FrameTable`; ``camera_assumed`` (N,) bool; ``splits`` (N,), "" where none is given.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: An annotation is not as documented, or a file lies outside the folder; the message names it.
    """
    path, images = read_annotations(root, allow_outside)
    rows: dict[str, list[Any]] = {}

    def add(**cells: Any) -> None:
        for column, cell in cells.items():
            rows.setdefault(column, []).append(cell)

    for name, hands in images.items():
        height, width = read_image(root / name).shape[:2]
        for number, hand in enumerate(hands):
            where = f"{path}: {shown(name, 200)}, hand {number}"
            values = check_hand(hand, (width, height), where)
            intrinsics = _intrinsics(values.get("camera"), (width, height), assumed_fov_deg)
            if lifted and hand.get("split") == "train":
                values |= _placed(values, intrinsics)
            if "joints_cam" in values:
                values["root_cam"] = values["joints_cam"][WRIST]
            mask = hand.get("mask") or ""
            if mask:
                check_file(root, mask, f"{where} names the mask {shown(mask)}", allow_outside)
            add(
                keys=f"{name}#{number}",
                images=name,
                image_sizes=(width, height),
                intrinsics=intrinsics,
                boxes=values["box"],
                mirrored=hand["hand"] == "left",
                masks=mask,
                visible=_flags(hand.get("visible")),
                fingers=[FINGER_STATES.get(word, -1) for word in hand.get("fingers") or [None] * len(FINGERS)],
                camera_assumed="camera" not in values,
                splits=hand.get("split") or "",
                **{key: values.get(key, np.full(NUMBERS[key], np.nan)) for key in LABELS},
            )
    if not rows:
        raise InputError(f"{path} lists no hand in any of its {len(images)} images, expected {EXAMPLE}")
    columns = {column: np.array(cells) for column, cells in rows.items()}
    columns |= {name: columns[name].astype(np.int8) for name in ("visible", "fingers")}
    # what no hand has takes no space
    unknown = {key for key in LABELS if np.isnan(columns[key]).all()}
    unknown |= {"fingers"} if columns["fingers"].max() < 0 else set()
    return {column: values for column, values in columns.items() if column not in unknown}


def _placed(values: Mapping[str, np.ndarray], intrinsics: np.ndarray) -> dict[str, np.ndarray]:
    """Lifted joints as ``joints_cam``, where their 2D joints put them; nothing where there are true ones."""
    if "joints_cam" in values or not {"joints_lifted", "joints_2d"} <= values.keys():
        return {}
    trusted = trusted_joints(values)
    points, points_2d = values["joints_lifted"][trusted], values["joints_2d"][trusted]
    if len(points) < 2:
        return {}
    import torch

    from handlit.geometry.cameras import fit_root

    root = fit_root(torch.from_numpy(points), torch.from_numpy(points_2d), torch.from_numpy(intrinsics)).numpy()
    placed = values["joints_lifted"] + root
    return {"joints_cam": placed} if (placed[:, 2] > 0).all() else {}


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
    page="docs/how_to/own_data.md",
    marks=NAMES,
    data="handlit.data.folder.HandFolder",
    read_masks=read_label_mask,
)
