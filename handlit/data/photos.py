"""A folder of photographs with hand boxes, for prediction.

``boxes.json`` beside the pictures lists the hands of each file:

    {"picture.jpg": [{"box": [x0, y0, x1, y1], "hand": "right", "camera": [fx, fy, cx, cy]}]}

``box`` is in pixels, ``hand`` is right or left, ``camera`` is optional, in pixels.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from handlit.data.augmentation import Augmentation
from handlit.data.base import HandDataModule
from handlit.data.frames import FrameTable
from handlit.data.images import read_image
from handlit.geometry.crops import CropRule
from handlit.types import InputError

BOXES = "boxes.json"
EXAMPLE = '{"picture.jpg": [{"box": [x0, y0, x1, y1], "hand": "right"}]}'


def read_boxes(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Read and check ``boxes.json``.

    Raises:
        FileNotFoundError: The folder, its ``boxes.json`` or a picture is missing.
        InputError: The file is not as documented; the message names the entry.
    """
    path = root / BOXES
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: list the hands of each picture there, as in {EXAMPLE}")
    try:
        boxes = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}): expected {EXAMPLE}") from error
    if not isinstance(boxes, dict) or not boxes:
        raise InputError(f"{path} must map at least one file name to its hands, as in {EXAMPLE}")
    for name, hands in boxes.items():
        if not (root / name).is_file():
            raise FileNotFoundError(f"{path} names {name}, which is not in {root}")
        if not isinstance(hands, list):
            raise InputError(f"{path}: {name} must hold a list of hands, as in {EXAMPLE}")
        for hand in hands:
            _check_hand(hand, f"{path}: {name}")
    return boxes


def _check_hand(hand: Any, where: str) -> None:
    if not isinstance(hand, dict) or hand.get("hand") not in ("right", "left"):
        raise InputError(f"{where}: each hand needs 'hand': 'right' or 'left', got {hand}")
    for key, required in (("box", True), ("camera", False)):
        value = hand.get(key)
        if value is None and not required:
            continue
        if not isinstance(value, list) or len(value) != 4 or not all(_is_number(item) for item in value):
            raise InputError(f"{where}: '{key}' must be four finite numbers, got {value}")
    x0, y0, x1, y1 = hand["box"]
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"{where}: box {hand['box']} is empty, expected x0, y0, x1, y1 with x1 > x0 and y1 > y0")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Photos(HandDataModule):
    """Photographs with hand boxes; offers prediction only.

    Args:
        root: Folder with the pictures and ``boxes.json``.
        image_size: Side of the square crops, pixels; the size the method was trained with.
        crop: Rule that puts the square around the box; the rule the method was trained with.
        batch_size: Hands at once.
        num_workers: Loader processes.
        assumed_fov_deg: Field of view across the longer side that is assumed for a picture without a camera,
            degrees. The depth of the hand scales with it; the shape and the overlay do not.
        augmentation: Not used in prediction; accepted so that a training configuration can be continued here.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        crop: CropRule = "amvur",
        batch_size: int = 16,
        num_workers: int = 0,
        assumed_fov_deg: float = 60.0,
        augmentation: Augmentation | None = None,
        mano_path: str | None = None,
    ) -> None:
        super().__init__(image_size, crop, batch_size, num_workers, augmentation, mano_path)
        self.root = Path(root)
        self.assumed_fov_deg = assumed_fov_deg

    def setup(self, stage: str) -> None:
        """Read the boxes and the pictures' sizes."""
        if stage != "predict":
            raise InputError(f"photographs have no labels: `{stage}` needs a dataset, only `predict` runs on them")
        rows: dict[str, list[Any]] = {
            name: [] for name in ("keys", "images", "image_sizes", "intrinsics", "boxes", "mirrored")
        }
        self.cameras_known: dict[str, bool] = {}
        for name, hands in read_boxes(self.root).items():
            height, width = read_image(self.root / name).shape[:2]
            for number, hand in enumerate(hands):
                rows["keys"].append(f"{name}#{number}")
                self.cameras_known[f"{name}#{number}"] = hand.get("camera") is not None
                rows["images"].append(name)
                rows["image_sizes"].append((width, height))
                rows["intrinsics"].append(self._intrinsics(hand.get("camera"), width, height))
                rows["boxes"].append(hand["box"])
                rows["mirrored"].append(hand["hand"] == "left")
        frames = FrameTable(**{name: np.array(values) for name, values in rows.items()})
        self.datasets["predict"] = self.make_dataset(self.root, frames)

    def _intrinsics(self, camera: list[float] | None, width: int, height: int) -> np.ndarray:
        if camera is not None:
            fx, fy, cx, cy = camera
        else:
            fx = fy = max(width, height) / 2 / math.tan(math.radians(self.assumed_fov_deg) / 2)
            cx, cy = (width - 1) / 2, (height - 1) / 2
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def camera_assumed(self, key: str) -> bool:
        """Whether the camera of a hand's picture was assumed, not given."""
        return not self.cameras_known[key]

    def picture(self, key: str) -> torch.Tensor:
        """The whole source picture of a hand.

        Args:
            key: Key of the hand, ``"FILE#NUMBER"``.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        return torch.from_numpy(read_image(self.root / key.rsplit("#", 1)[0]))
