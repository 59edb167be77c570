"""A packed dataset (`handlit.data.packing.write`): chunks of images cut to what crops can reach, labels as arrays.

A packed dataset is the original one with other image files: labels, crop squares and augmentation are computed from
the original frames' numbers by the same code, so its batches are the original's but for the rounding of one more JPEG.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from filelock import FileLock

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.cropping import Crop
from handlit.data.loading.dataset import HandDataset
from handlit.data.packing.extent import CropExtent, crop_extent, part_of_image, shows_beyond
from handlit.errors import InputError
from handlit.files import sha256, whole
from handlit.formats.frame_table import FrameTable, open_array
from handlit.formats.images import decode, warp_to_crop
from handlit.formats.index import user_cache
from handlit.formats.packed import MANIFEST
from handlit.geometry.crops import CropRule
from handlit.program import program

#: Goes up when the files of a packed dataset get another meaning.
FORMAT = 1
#: Folder of what is not finished yet.
PROGRESS = ".packing"
#: Bits of the packed masks; some datasets do not segment the object.
HAND, OBJECT, OBJECT_KNOWN = 1, 2, 4
#: Columns of ``labels/members.npy``: where an image and its masks (0 bytes: none) lie.
SHARD, IMAGE, IMAGE_BYTES, MASK, MASK_BYTES = range(5)


class Pack:
    """The files of a packed dataset, in a folder or behind a URL.

    Remote files are downloaded when they are first needed, each once per machine, checked, and kept.

    Args:
        root: Folder, or a URL that fsspec knows (``s3://``, ``gs://``, ``https://``, ...; the first two need its
            driver, ``s3fs`` or ``gcsfs``).
        cache: Folder for what is downloaded; None for the user's cache.

    Raises:
        FileNotFoundError: There is no packed dataset, or a file of it is missing.
        InputError: It was not finished, was written in another format, or a file has another size than was written.
    """

    def __init__(self, root: str, cache: str | None = None) -> None:
        self.root = root
        self.remote = root.rstrip("/") if "://" in root else None
        self.folder = Path(root)
        self.manifest = self._read_manifest(root)
        if self.manifest.get("format") != FORMAT:
            raise InputError(
                f"{root} was packed in format {self.manifest.get('format')}, this version of handlit reads {FORMAT}: "
                "pack the dataset again"
            )
        if self.remote is not None:
            base = user_cache() / "packed" if cache is None else Path(cache)
            self.folder = base / self.manifest["identity"]
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in self.manifest["files"]:
                if name.startswith("labels/"):
                    self._fetch(name)
        else:
            for name in self.manifest["files"]:
                self._check_size(name)
        self._map()
        self._files: dict[int, int] = {}

    @property
    def extent(self) -> CropExtent:
        """How far crops may reach."""
        return CropExtent(**self.manifest["reach"])

    def _map(self) -> None:
        # plain views of the mapped files: rows of np.memmap take ten times as long
        self.members = np.asarray(open_array(self.folder / "labels" / "members.npy"))
        self.regions = np.asarray(open_array(self.folder / "labels" / "regions.npy"))

    def _read_manifest(self, root: str) -> dict[str, Any]:
        path = f"{self.remote or self.folder}/{MANIFEST}"
        try:
            with fsspec.open(path, "rb") as file:
                return json.load(file)
        except FileNotFoundError as error:
            hint = f"packing it was not finished: run `{program()} pack` again with the same options"
            if not (self.folder / PROGRESS).is_dir():
                hint = f"expected the folder that `{program()} pack ROOT --out DIR` wrote"
            raise FileNotFoundError(f"{path} is missing: {hint}") from error
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}): pack the dataset again") from error

    def _check_size(self, name: str) -> None:
        path, expected = self.folder / name, self.manifest["files"][name]["bytes"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: copy it again, or pack the dataset again")
        if path.stat().st_size != expected:
            raise InputError(
                f"{path} has {path.stat().st_size} bytes, {expected} were packed: copy it again, or pack the dataset "
                "again"
            )

    def _fetch(self, name: str) -> Path:
        """The local file of this name, downloaded if it is not there yet."""
        path = self.folder / name
        if self.remote is None or path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                self._download(name, path)
        return path

    def _download(self, name: str, path: Path) -> None:
        url = f"{self.remote}/{name}"
        with whole(path) as temporary:
            with fsspec.open(url, "rb") as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            if sha256(temporary) != self.manifest["files"][name]["sha256"]:
                raise InputError(f"{url} is damaged: its checksum is not the one that was packed; upload it again")

    def image(self, member: int) -> np.ndarray:
        """(N,) uint8, the JPEG of an image."""
        return self._read(member, IMAGE)

    def read_masks(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """(h, w) bool masks of hand and object, of the stored part of the image."""
        coded = decode(self._read(member_of(path.name), MASK), path)
        return (coded & HAND) != 0, (coded & OBJECT) != 0 if coded[0, 0] & OBJECT_KNOWN else None

    def _read(self, member: int, column: int) -> np.ndarray:
        shard, offset, count = self.members[member, [SHARD, column, column + 1]].tolist()
        if shard not in self._files:
            self._files[shard] = os.open(self._fetch(shard_file(shard)), os.O_RDONLY)
        # not mapped: the pages of all chunks would count as the memory of every worker
        data = os.pread(self._files[shard], count, offset)
        return np.frombuffer(data, dtype=np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        # open files and mapped arrays do not travel to other processes
        return {**self.__dict__, "_files": {}, "members": None, "regions": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def verify(self) -> int:
        """Compare every file with its checksum.

        Returns:
            How many files there are.

        Raises:
            FileNotFoundError: A file is missing.
            InputError: Files differ from what was packed.
        """
        damaged = [
            name for name, expected in self.manifest["files"].items() if sha256(self._fetch(name)) != expected["sha256"]
        ]
        if damaged:
            raise InputError(
                f"{self.folder}: {len(damaged)} files differ from what was packed: {', '.join(damaged[:5])}; copy them "
                "again, or pack the dataset again"
            )
        return len(self.manifest["files"])


def shard_file(shard: int) -> str:
    """Name of a chunk, relative to the packed dataset's root."""
    return f"images/{shard:05d}.tar"


def member_name(shard: int, member: int, suffix: str) -> str:
    """Name of an image (``jpg``) or its masks (``png``): the chunk's file, then the name in it."""
    return f"{shard_file(shard)}/{member:08d}.{suffix}"


def member_of(name: str) -> int:
    """The number of an image by its name."""
    return int(name[-12:-4])


class PackedDataset(HandDataset):
    """`HandDataset` whose images and masks come from a pack: the table's files are names in its chunks.

    Args:
        pack: Where they are.
        frames: Labels and geometry of the original frames.
        crop: Rule that puts the square around the hand; the one that was packed for.
        image_size: Side of the crops, pixels.
        augmentation: Random changes; within those that were packed for.
        rows: Positions of the samples in the table.

    Raises:
        InputError: Crops of this rule, or so changed, can reach beyond what was packed.
    """

    def __init__(
        self,
        pack: Pack,
        frames: FrameTable,
        crop: CropRule,
        image_size: int,
        augmentation: Augmentation | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        packed_for = pack.manifest["crop"]
        if crop != packed_for:
            raise InputError(f"{pack.folder} was packed for crop={packed_for}, not {crop}: pack the dataset for it")
        if augmentation is not None and not pack.extent.covers(crop_extent(augmentation)):
            raise InputError(
                f"{pack.folder} was packed for {pack.manifest['augmentation']}, and {augmentation} reaches further: "
                "pack the dataset with these changes"
            )
        self.pack = pack
        read_masks = pack.read_masks if frames.masks is not None else None
        super().__init__(pack.folder, frames, crop, image_size, augmentation, rows, read_masks)

    def _image(self, index: int, crop: Crop) -> np.ndarray:
        name = str(self.frames.images[index])
        member = member_of(name)
        image_size, transform = self._kept(member, crop)
        # as `Crop.image`, without a path for each sample
        return warp_to_crop(self.pack.image(member), name, image_size, transform, crop.size)

    def _masks(self, index: int, crop: Crop, covered: np.ndarray | None) -> dict[str, np.ndarray]:
        image_size, transform = self._kept(member_of(str(self.frames.images[index])), crop)
        return super()._masks(index, replace(crop, image_size=image_size, transform=transform), covered)

    def _kept(self, member: int, crop: Crop) -> tuple[tuple[int, int], np.ndarray]:
        """Size of the stored part of an image and the map (2, 3) from its pixels to the crop."""
        region = self.pack.regions[member].tolist()
        if shows_beyond(crop, region):
            raise InputError(
                f"{self.pack.folder}, image {member}: the crop reaches beyond what was packed, pixels {region}: pack "
                "the dataset for this crop and augmentation"
            )
        return part_of_image(crop, region)
