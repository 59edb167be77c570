"""What of a dataset a pack holds: which part of every image, under which number, and what the files depend on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handlit.data.loading.cropping import View
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.dataset import HandDataset
from handlit.data.loading.reference_crops import REFERENCE_CROPS
from handlit.data.packing.extent import CropExtent, kept_region
from handlit.errors import InputError
from handlit.formats.index import fingerprint

#: Splits that may do without a frame; a submission and a published number need all of theirs.
MAY_SKIP = ("train", "val")


@dataclass(frozen=True)
class PackedImage:
    """An image to pack: its files, which part of it is kept, and whether it may be left out."""

    path: Path
    mask: Path | None
    region: tuple[int, int, int, int]
    image_size: tuple[int, int]
    may_skip: bool


def splits_to_pack(module: HandDataModule, stages: Sequence[str]) -> dict[str, HandDataset]:
    """The splits of the stages, by name."""
    if module.crop in REFERENCE_CROPS:
        raise InputError(f"crop={module.crop} cuts whole pixels out of the original files, which a pack does not keep")
    for stage in stages:
        try:
            module.setup(stage)
        except (InputError, FileNotFoundError) as error:
            others = " ".join(name for name in stages if name != stage)
            raise InputError(f"{error}\n(to pack without what `{stage}` needs: --stages {others})") from error
    datasets: dict[str, HandDataset] = {}
    for name, dataset in module.datasets.items():
        if not isinstance(dataset, HandDataset):
            raise InputError(f"the {name} split of {type(module).__name__} is not read from files: it cannot be packed")
        datasets[name] = dataset
    if not any(map(len, datasets.values())):
        raise InputError(f"{type(module).__name__} has no frame to pack")
    return datasets


def images_to_pack(sources: dict[str, HandDataset], extent: CropExtent) -> tuple[list[PackedImage], dict[Path, int]]:
    """What is kept of every image of the splits, in the order of their first use, and their numbers."""
    images: dict[Path, PackedImage] = {}
    for split, dataset in sources.items():
        frames = dataset.frames
        for row in dataset.rows.tolist():
            path = dataset.root / str(frames.images[row])
            width, height = frames.image_sizes[row].tolist()
            object_box = None if frames.object_boxes is None else frames.object_boxes[row]
            view = View((width, height), frames.intrinsics[row], frames.boxes[row], object_box)
            try:
                region = kept_region(view, dataset.crop, extent)  # type: ignore[arg-type]
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            mask = None
            if dataset.read_masks is not None and frames.masks is not None and frames.masks[row]:
                mask = dataset.root / str(frames.masks[row])
            image = PackedImage(path, mask, region, (width, height), split in MAY_SKIP)
            images[path] = _merged(images[path], image) if path in images else image
    return list(images.values()), {path: number for number, path in enumerate(images)}


def _merged(first: PackedImage, second: PackedImage) -> PackedImage:
    """One entry for an image that two frames, or two splits, share."""
    a, b = first.region, second.region
    region = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return replace(first, mask=first.mask or second.mask, region=region, may_skip=first.may_skip and second.may_skip)


def pack_identity(sources: dict[str, HandDataset], images: list[PackedImage], options: dict[str, Any]) -> str:
    """What the packed files depend on."""
    digest = hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=16)
    root = next(iter(sources.values())).root
    files = [path for image in images for path in (image.path, image.mask) if path is not None]
    digest.update(fingerprint(root, files).encode())
    digest.update(repr([image.region for image in images]).encode())
    for split, dataset in sources.items():
        digest.update(split.encode() + dataset.rows.tobytes())
        for name, column in dataset.frames.columns().items():
            digest.update(name.encode() + np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
