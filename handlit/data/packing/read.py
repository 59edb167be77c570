"""A packed dataset (`handlit.data.packing.write`): chunks of images cut to what crops can reach, labels as arrays.

A packed dataset is the original one with other image files: labels, crop squares and augmentation are computed from
the original frames' numbers by the same code, so its batches are the original's but for the rounding of one more JPEG.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.cropping import Crop
from handlit.data.loading.dataset import HandDataset
from handlit.data.packing.extent import CropExtent, crop_extent, part_of_image, shows_beyond
from handlit.data.packing.labels import (
    IMAGE,
    MASK,
    SHARD,
    check_members,
    check_rows,
    member_digest,
    open_checked,
    open_columns,
)
from handlit.data.packing.manifest import (
    DIGESTS,
    MAX_MANIFEST_BYTES,
    MEMBERS,
    REGIONS,
    read_manifest,
    rows_file,
    shard_file,
)
from handlit.data.packing.open_file import OpenFile
from handlit.data.packing.remote import LONG_PATIENCE, PATIENCE, RemoteFolder
from handlit.errors import InputError
from handlit.files import sha256, whole
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import decode, warp_to_crop
from handlit.formats.index import user_cache
from handlit.formats.packed import MANIFEST
from handlit.geometry.crops import CropRule
from handlit.program import program
from handlit.reading import read_bytes, shown

log = logging.getLogger(__name__)

#: Folder of what is not finished yet.
PROGRESS = ".packing"
#: Bits of the packed masks; some datasets do not segment the object.
HAND, OBJECT, OBJECT_KNOWN = 1, 2, 4
#: Of a remote pack that is kept without being asked for more, GB.
MAX_GB = 200.0


class Pack:
    """The files of a packed dataset, in a folder or behind a URL.

    Remote files are downloaded when they are first needed, each once per machine, checked, and kept. Of a pack that is
    larger than what may be kept, the images of the last chunks are fetched one by one whenever they are needed.

    Args:
        root: Folder, or a URL: ``https://``, or what fsspec knows (``s3://``, ``gs://``, ...; these two need its
            driver, ``s3fs`` or ``gcsfs``).
        cache: Folder for what is downloaded; None for the user's cache.
        allow_http: Also fetch from ``http://``, where anybody in between can change what arrives.
        max_gb: How much of a remote pack may be kept; its labels must fit.
        endpoint: Address of the server that keeps ``s3://``; None for Amazon's, or what ``AWS_ENDPOINT_URL`` names.

    Raises:
        FileNotFoundError: There is no packed dataset, or a file of it is missing.
        InputError: It was not finished, was written in another format, cannot be fetched, or a file is not what was
            written.
    """

    def __init__(
        self,
        root: str,
        cache: str | None = None,
        allow_http: bool = False,
        max_gb: float = MAX_GB,
        endpoint: str | None = None,
    ) -> None:
        if endpoint is not None and "://" not in root:
            raise InputError(f"{root} is a folder: an endpoint is the server of s3://")
        self.remote = RemoteFolder(root, allow_http, endpoint) if "://" in root else None
        #: The root as messages show it.
        self.root = root if self.remote is None else self.remote.shown
        self.folder = Path(root)
        self.manifest = read_manifest(content := self._read_manifest(), f"{self.root}/{MANIFEST}")
        self._content = hashlib.sha256(content).hexdigest()
        files = self.manifest["files"]
        if self.remote is None:
            for name in files:
                self._check_size(name)
        else:
            self._kept = self._chosen_to_keep(max_gb)
            # of the files, not of what the pack says of itself: two packs never share what is downloaded
            listed = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
            base = user_cache() / "packed" if cache is None else Path(cache)
            self.folder = base / f"{self.manifest['identity']}-{listed}"
            for name in files:
                if name.startswith("labels/"):
                    self._fetch(name)
        self._map()
        self._files: dict[int, OpenFile] = {}

    def _chosen_to_keep(self, max_gb: float) -> frozenset[str]:
        """Names of the files that are kept: all, or the labels and what chunks fit. All processes choose alike."""
        files = self.manifest["files"]
        total, size = (sum(files[name]["bytes"] for name in names) for names in (files, _labels(files)))
        if total <= max_gb * 1e9:
            return frozenset(files)
        if DIGESTS not in files or not size <= max_gb * 1e9:
            what = "its labels alone" if DIGESTS in files else "an earlier version packed it, so all of it"
            needed = size if DIGESTS in files else total
            raise InputError(
                f"{self.root}: {what} would be downloaded, {needed / 1e9:.3g} GB, more than max_gb={max_gb:g} allows"
            )
        kept = set(_labels(files))
        for name in sorted(files.keys() - kept):
            if (size := size + files[name]["bytes"]) > max_gb * 1e9:
                break
            kept.add(name)
        log.warning(
            "%s has %.3g GB, max_gb=%g: the images of %d of its files are fetched one by one whenever they are needed",
            self.root,
            total / 1e9,
            max_gb,
            len(files) - len(kept),
        )
        return frozenset(kept)

    @property
    def extent(self) -> CropExtent:
        """How far crops may reach."""
        return CropExtent(**self.manifest["reach"])

    def table(self, number: int) -> FrameTable:
        """One of the tables of labels, mapped.

        Raises:
            InputError: Its files are damaged.
        """
        prefix = f"labels/table{number}/"
        names = [name[len(prefix) : -len(".npy")] for name in self.manifest["files"] if name.startswith(prefix)]
        return FrameTable(**open_columns(self.folder / prefix, names))

    def split(self, name: str) -> tuple[FrameTable, np.ndarray]:
        """The table of a split, and the positions (N,) of its samples in it.

        Raises:
            InputError: There is no such split, or its files are damaged.
        """
        splits = self.manifest["splits"]
        if name not in splits:
            raise InputError(f"{self.root} holds the splits {', '.join(splits)}, not {name}: pack the dataset with it")
        frames, path = self.table(splits[name]["table"]), self.folder / rows_file(name)
        rows = open_checked(path, "iu", (splits[name]["samples"],))
        check_rows(rows, frames.columns(), path)
        return frames, rows

    def _map(self) -> None:
        # plain views of the mapped files: rows of np.memmap take ten times as long
        self.members = np.asarray(open_checked(self.folder / MEMBERS, "i", (None, 5)))
        self.regions = np.asarray(open_checked(self.folder / REGIONS, "i", (len(self.members), 4)))
        check_members(self.members, self.regions, self.manifest["files"], self.folder / MEMBERS)
        self.digests = None
        if DIGESTS in self.manifest["files"]:
            self.digests = np.asarray(open_checked(self.folder / DIGESTS, "u", (len(self.members), 2)))

    def _read_manifest(self) -> bytes:
        path = f"{self.root}/{MANIFEST}"
        try:
            if self.remote is None:
                return read_bytes(Path(self.root) / MANIFEST, MAX_MANIFEST_BYTES, "a manifest")
            return b"".join(self.remote.blocks(MANIFEST, MAX_MANIFEST_BYTES, comes_back=False))
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = f"packing it was not finished: run `{program()} pack` again with the same options"
            if not (self.folder / PROGRESS).is_dir():
                hint = f"expected the folder that `{program()} pack ROOT --out DIR` wrote"
            raise FileNotFoundError(f"{path} is missing: {hint}") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error})") from error

    def _check_unchanged(self) -> None:
        """Refuse to go on with another pack's files."""
        if hashlib.sha256(self._read_manifest()).hexdigest() != self._content:
            raise InputError(
                f"{self.root} changed while it was read: another pack lies there now; start the run again with it"
            )

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.is_file():
                    self._download(self.remote, name, path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error}): make room, or give another cache") from error
        return path

    def _download(self, remote: RemoteFolder, name: str, path: Path) -> None:
        expected, digest = self.manifest["files"][name], hashlib.sha256()
        if expected["bytes"] > (free := shutil.disk_usage(path.parent).free):
            raise InputError(f"{path} needs {expected['bytes']} bytes, the disk has {free}: make room, or give a cache")
        with whole(path) as temporary:
            with temporary.open("wb") as target:
                patience = PATIENCE if name.startswith("labels/") else LONG_PATIENCE
                for block in remote.blocks(name, expected["bytes"], patience):
                    digest.update(block)
                    target.write(block)
            if digest.hexdigest() != expected["sha256"]:
                self._check_unchanged()
                raise InputError(
                    f"{remote.shown}/{name} is damaged: its checksum is not the one that was packed; upload it again"
                )

    def image(self, member: int) -> np.ndarray:
        """(N,) uint8, the JPEG of an image."""
        return self._read(member, IMAGE)

    def read_masks(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """(h, w) bool masks of hand and object, of the stored part of the image."""
        coded = decode(self._read(self.member_of(path.name), MASK), path)
        if coded.ndim != 2 or coded.dtype != np.uint8:
            raise InputError(f"{path} is no mask of a packed dataset: pack the dataset again")
        return (coded & HAND) != 0, (coded & OBJECT) != 0 if coded[0, 0] & OBJECT_KNOWN else None

    def _read(self, member: int, column: int) -> np.ndarray:
        shard, offset, count = self.members[member, [SHARD, column, column + 1]].tolist()
        name = shard_file(shard)
        if self.remote is not None and name not in self._kept:
            data = self.remote.part(name, offset, count, LONG_PATIENCE)
            if count and member_digest(data) != int(self.digests[member, int(column > IMAGE)]):  # type: ignore[index]
                self._check_unchanged()
                raise InputError(
                    f"{self.root}/{name} is damaged: image {member} is not the one that was packed; upload it again"
                )
            return np.frombuffer(data, dtype=np.uint8)
        if shard not in self._files:
            self._files[shard] = self._open(name)
        # not mapped: the pages of all chunks would count as the memory of every worker
        return np.frombuffer(self._files[shard].read(offset, count), dtype=np.uint8)

    def _open(self, name: str) -> OpenFile:
        file = OpenFile(self._fetch(name), self.manifest["files"][name]["bytes"])
        # a chunk of another pack may have as many bytes
        if self.remote is None:
            self._check_unchanged()
        return file

    def member_of(self, name: str) -> int:
        """The number of an image by its name.

        Raises:
            InputError: There is no such image.
        """
        digits = name[-12:-4]
        if not digits.isdecimal() or int(digits) >= len(self.members):
            raise InputError(f"{self.folder} has no image '{shown(name)}': pack the dataset again")
        return int(digits)

    def __getstate__(self) -> dict[str, Any]:
        # open files and mapped arrays do not travel to other processes
        return {**self.__dict__, "_files": {}, "members": None, "regions": None, "digests": None}

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
        files = self.manifest["files"]
        damaged = [name for name, expected in files.items() if self._checksum(name) != expected["sha256"]]
        if damaged:
            raise InputError(
                f"{self.folder}: {len(damaged)} files differ from what was packed: {', '.join(damaged[:5])}; copy them "
                "again, or pack the dataset again"
            )
        return len(files)

    def _checksum(self, name: str) -> str:
        if self.remote is None or name in self._kept:
            return sha256(self._fetch(name))
        digest = hashlib.sha256()
        for block in self.remote.blocks(name, self.manifest["files"][name]["bytes"], LONG_PATIENCE):
            digest.update(block)
        return digest.hexdigest()


def _labels(files: Mapping[str, Any]) -> list[str]:
    return [name for name in files if name.startswith("labels/")]


def member_name(shard: int, member: int, suffix: str) -> str:
    """Name of an image (``jpg``) or its masks (``png``): the chunk's file, then the name in it."""
    return f"{shard_file(shard)}/{member:08d}.{suffix}"


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
        member = self.pack.member_of(name)
        image_size, transform = self._kept(member, crop)
        # as `Crop.image`, without a path for each sample
        return warp_to_crop(self.pack.image(member), name, image_size, transform, crop.size)

    def _masks(self, index: int, crop: Crop, covered: np.ndarray | None) -> dict[str, np.ndarray]:
        image_size, transform = self._kept(self.pack.member_of(str(self.frames.images[index])), crop)
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
