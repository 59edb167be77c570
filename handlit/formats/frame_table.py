"""The labels of a whole dataset as arrays, in memory or mapped from files."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from handlit.errors import InputError, one_line
from handlit.reading import shown

#: Kinds of numbers (NumPy's letters) and further dimensions of a table's columns; the others are floats of one row.
_TEXTS = ("keys", "images", "masks", "depths", "object_names")
_STATES = ("visible", "vertices_visible", "fingers")
_KINDS = dict.fromkeys(_TEXTS, "U") | dict.fromkeys(_STATES, "i") | {"image_sizes": "iu", "mirrored": "b"}
_SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((*_TEXTS, "mirrored"), ()),
    "image_sizes": (2,),
    "intrinsics": (3, 3),
    "boxes": (4,),
    "object_boxes": (4,),
    "root_cam": (3,),
    "joints_cam": (21, 3),
    "joints_2d": (21, 2),
    "joints_2d_confidence": (21,),
    "vertices_cam": (778, 3),
    "pose": (48,),
    "betas": (10,),
    "visible": (21,),
    "vertices_visible": (778,),
    "fingers": (5,),
    "object_pose": (6,),
}


@dataclass(frozen=True)
class FrameTable:
    """The labels of N frames as arrays, in handlit's conventions (OpenCV axes, metres, handlit's joint order).

    Whole arrays, not a list of objects: the loader's worker processes share them without a copy. Forked workers share
    the memory; to others a mapped array travels as the name of its file.

    A label that is not known for one frame is a row of NaN there (of -1 for flags, of "" for files).

    Attributes:
        keys: (N,) name of each frame.
        images: (N,) image file of each frame, relative to the dataset's root.
        image_sizes: (N, 2) width and height, pixels.
        intrinsics: (N, 3, 3) of the source image, pixels.
        boxes: (N, 4) x0, y0, x1, y1 around the hand, source pixels.
        object_boxes: (N, 4) around the held object, if the dataset has one.
        root_cam: (N, 3) wrist, if known.
        joints_cam: (N, 21, 3), if known.
        joints_2d: (N, 21, 2) source pixels, for frames without joints in the camera frame.
        joints_2d_confidence: (N, 21) from 0 to 1, how far each of them is trusted.
        vertices_cam: (N, 778, 3), if stored with the dataset; otherwise pose and betas give them.
        pose: (N, 48) as in `HandBatch.pose`, if known.
        betas: (N, 10), if known.
        mirrored: (N,) bool, frames that show a left hand.
        masks: (N,) segmentation file of each frame, relative to the dataset's root.
        depths: (N,) depth image of each frame, relative to the dataset's root.
        visible: (N, 21) int8, joints that are seen: 1, hidden: 0, not known: -1.
        vertices_visible: (N, 778) int8, the same of the vertices.
        fingers: (N, 5) int8, states of the fingers as in `HandBatch.fingers`, if known.
        object_pose: (N, 6) axis-angle and translation of the held object from its model's frame to the camera's,
            radians and metres.
        object_names: (N,) name of the held object.
    """

    keys: np.ndarray
    images: np.ndarray
    image_sizes: np.ndarray
    intrinsics: np.ndarray
    boxes: np.ndarray
    object_boxes: np.ndarray | None = None
    root_cam: np.ndarray | None = None
    joints_cam: np.ndarray | None = None
    joints_2d: np.ndarray | None = None
    joints_2d_confidence: np.ndarray | None = None
    vertices_cam: np.ndarray | None = None
    pose: np.ndarray | None = None
    betas: np.ndarray | None = None
    mirrored: np.ndarray | None = None
    masks: np.ndarray | None = None
    depths: np.ndarray | None = None
    visible: np.ndarray | None = None
    vertices_visible: np.ndarray | None = None
    fingers: np.ndarray | None = None
    object_pose: np.ndarray | None = None
    object_names: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays that the table has, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def select(self, rows: np.ndarray) -> "FrameTable":
        """The table of some rows, given by indices or a bool mask; a copy in memory."""
        return replace(self, **{name: value[rows] for name, value in self.columns().items()})

    def __getstate__(self) -> dict[str, Any]:
        return {name: _by_name(value) for name, value in self.columns().items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            # the class is frozen; attributes that are missing here keep the class's default, None
            object.__setattr__(self, name, open_array(value) if isinstance(value, Path) else value)


def open_array(path: Path) -> np.ndarray:
    """Map the array of a ``.npy`` file, read-only: pages are read when they are looked at and shared by processes.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is damaged, or holds no plain array.
    """
    try:
        # unlike `np.load`, this opens neither archives nor pickled objects
        with np.errstate(over="ignore"):
            array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise
    # a damaged header gives what Python's parsers and the mapping of memory raise, which has no common class
    except Exception as error:
        raise InputError(f"{path} is damaged ({shown(one_line(error), 200)}): copy it again") from error
    return array


def check_array(array: np.ndarray, where: Path, kinds: str, shape: tuple[int | None, ...]) -> None:
    """Refuse an array of a file that is not what it should be.

    Args:
        array: It.
        where: The file, for the message.
        kinds: NumPy's letters of the kinds of numbers that are right.
        shape: Of the array; None for any length.

    Raises:
        InputError: It is another one, or holds texts that are none.
    """
    fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if not fits or (array.size and not (array.dtype.kind in kinds and array.dtype.isnative)):
        wanted = ", ".join("N" if side is None else str(side) for side in shape)
        raise InputError(
            f"{where} holds an array {array.shape} of {shown(array.dtype)}, expected ({wanted}) of kind {kinds}: "
            "pack the dataset again"
        )
    if array.dtype.kind == "U" and array.size and not _are_letters(array.view(np.uint32)):
        raise InputError(f"{where} is damaged: it holds what is no text; copy it again")


def _are_letters(codes: np.ndarray) -> bool:
    """Whether numbers are those of characters; others end the process that makes a text of them."""
    return bool(((codes < 0xD800) | ((codes > 0xDFFF) & (codes < 0x110000))).all())


def check_columns(columns: Mapping[str, np.ndarray], folder: Path) -> None:
    """Refuse arrays of a folder's files that are no columns of a table; all have the length of ``keys``.

    Raises:
        InputError: One is missing that every table has, is not a column of a `FrameTable`, or is another array; or a
            camera has no focal length.
    """
    missing = [item.name for item in fields(FrameTable) if item.default is MISSING and item.name not in columns]
    if unknown := [*missing, *(name for name in columns if name not in _SHAPES)]:
        raise InputError(f"{folder} holds no table of labels: {shown(unknown[0])} is missing or unknown")
    check_array(columns["keys"], folder / "keys.npy", "U", (None,))
    for name, column in columns.items():
        check_array(column, folder / f"{name}.npy", _KINDS.get(name, "fiu"), (len(columns["keys"]), *_SHAPES[name]))
    # not known ones are NaN
    if (columns["intrinsics"][:, (0, 1), (0, 1)] <= 0).any():
        raise InputError(f"{folder / 'intrinsics.npy'} is damaged: a camera has no focal length; copy it again")


def _by_name(array: np.ndarray) -> np.ndarray | Path:
    """The file of an array that maps a whole ``.npy`` file, otherwise the array."""
    if isinstance(array, np.memmap) and array.filename is not None and isinstance(array.base, mmap):
        return Path(array.filename)
    return array
