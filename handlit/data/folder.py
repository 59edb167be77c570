"""Own images as a data module; what lies on disk: `handlit.formats.folder`, docs/how_to/own_data.md."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule
from handlit.errors import InputError, check_choice, check_number
from handlit.files import leads_outside
from handlit.formats.folder import FOLDER, read_annotations, read_folder, read_label_mask
from handlit.formats.folder_hand import FolderSplit
from handlit.formats.frame_table import FrameTable, check_array, check_columns
from handlit.formats.images import read_image
from handlit.formats.index import cached_arrays, fingerprint
from handlit.geometry.crops import CropRule, share_in_image
from handlit.skeleton import TipConvention

log = logging.getLogger(__name__)


class HandFolder(HandDataModule):
    """Own images, with boxes for prediction or with labels for training and testing.

    Training, validation and test take the hands whose ``split`` says so; prediction takes every hand of the folder.

    Args:
        root: Folder with the images and ``annotations.json``.
        crop: Rule that puts the square around the box; for prediction the rule the method was trained with.
        num_workers: Loader processes.
        assumed_fov_deg: Field of view across the longer side that is assumed for an image without a camera,
            degrees. The depth of the hand scales with it; the shape and the overlay do not.
        tips: Vertices that the labels' finger tips are; the source that they follow.
        allow_outside: Read images and masks that lie outside `root`, too, by absolute names, ``..`` or links: only for
            lists that you trust.
        lifted: Train on lifted joints (``joints_lifted``, a network's, not measured) where a hand has no 3D joints.
        **kwargs: Arguments of `HandDataModule`; for prediction the image size the method was trained with.
    """

    mask_reader = staticmethod(read_label_mask)

    def __init__(
        self,
        root: str,
        crop: CropRule = "amvur",
        num_workers: int = 0,
        assumed_fov_deg: float = 60.0,
        tips: TipConvention = FOLDER.tips,
        allow_outside: bool = False,
        lifted: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(crop=crop, num_workers=num_workers, **kwargs)
        check_number("assumed_fov_deg", assumed_fov_deg, above=0, below=180)
        check_choice("tips", tips, TipConvention)
        self.root = Path(root)
        self.assumed_fov_deg = assumed_fov_deg
        self.tips = tips
        self.allow_outside = allow_outside
        self.lifted = lifted
        self._assumed: dict[str, bool] = {}

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations and choose the hands of the stage."""
        if self.datasets:
            return
        path, images = read_annotations(self.root, self.allow_outside)
        files = [path, *(self.root / name for name in images)]
        settings = (self.assumed_fov_deg, self.allow_outside, self.lifted)
        identity = fingerprint(self.root, files, settings=f"{settings}")
        expected = [name for name, hands in images.items() for _ in hands]

        def check(columns: Mapping[str, np.ndarray], where: Path) -> None:
            _check_index(columns, where, expected)
            if not self.allow_outside and any(leads_outside(self.root, str(name)) for name in set(columns["masks"])):
                raise InputError(f"{where} names masks outside of {self.root}")

        columns = cached_arrays("hands", self.root, identity, lambda: read_folder(self.root, *settings), check)
        splits, assumed = columns.pop("splits"), columns.pop("camera_assumed")
        frames = FrameTable(**columns)
        _warn_of_boxes(path, frames)
        self._assumed = dict(zip(frames.keys.tolist(), assumed.tolist(), strict=True))
        for split in get_args(FolderSplit):
            rows = np.flatnonzero(splits == split)
            self.datasets[split] = self.make_dataset(self.root, frames, rows, train=split == "train")
        self.datasets["predict"] = self.make_dataset(self.root, frames)
        needed = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for split in needed:
            if not (splits == split).any():
                raise InputError(
                    f"{path}: no hand has 'split': '{split}', which `{stage}` needs; `predict` takes hands without it"
                )

    def camera_assumed(self, key: str) -> bool:
        """Whether the camera of a hand's image was assumed, not given."""
        return self._assumed[key]

    def source_image(self, key: str) -> torch.Tensor:
        """The whole source image of a hand.

        Args:
            key: Key of the hand, ``"FILE#NUMBER"``.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        return torch.from_numpy(read_image(self.root / key.rsplit("#", 1)[0]))


def _check_index(columns: Mapping[str, np.ndarray], where: Path, images: list[str]) -> None:
    """Refuse an index, which may come with a stranger's folder, that is not of these images."""
    frames = {name: column for name, column in columns.items() if name not in ("splits", "camera_assumed")}
    check_columns(frames, where)
    if not {"splits", "camera_assumed", "masks"} <= columns.keys() or columns["images"].tolist() != images:
        raise InputError(f"{where} is the index of other images")
    for name, kind in (("splits", "U"), ("camera_assumed", "b")):
        check_array(columns[name], where / f"{name}.npy", kind, (len(images),))


def _warn_of_boxes(path: Path, frames: FrameTable) -> None:
    """Name boxes that an image shows less than half of: a hand at its edge, or a box of another image."""
    cut = frames.keys[share_in_image(frames.boxes, frames.image_sizes) < 0.5].tolist()
    if cut:
        log.warning(
            "%s: %d of %d boxes lie more than half outside their image, %s first: are they of images of this size, "
            "turned as viewers show them (EXIF)?",
            path,
            len(cut),
            len(frames),
            cut[0],
        )
