"""Write a packed dataset: what crops can reach of every picture as JPEG, in chunks, and all labels as arrays.

Chunks are ordinary tar files in WebDataset's naming (``00000042.jpg``, ``00000042.png``), so other tools can read and
stream them; `handlit.data.packed` reads them by position. Each appears under its name only when it is whole, the
manifest with the checksums last of all.
"""

import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from filelock import FileLock, Timeout

from handlit.data.loading.cropping import View, check_mask
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.dataset import ErrorPolicy, HandDataset, MaskReader
from handlit.data.loading.reference_crops import REFERENCE_CROPS
from handlit.data.packing.reach import Reach, kept_region, reach_of
from handlit.data.packing.read import (
    FORMAT,
    HAND,
    MANIFEST,
    OBJECT,
    OBJECT_KNOWN,
    PROGRESS,
    member_name,
    sha256,
    shard_file,
)
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import decode, read_bytes
from handlit.formats.index import fingerprint, save_arrays
from handlit.formats.worker_pool import in_processes

log = logging.getLogger(__name__)

#: JPEG quality of the packed pictures.
QUALITY = 90
#: Pictures of a chunk: about 30 MB of HO-3D.
SHARD_PICTURES = 1000
#: Splits that may do without a frame; a submission and a published number need all of theirs.
_MAY_SKIP = ("train", "val")
_TAR_HEADER = 512


@dataclass(frozen=True)
class _Picture:
    """A picture to pack: its files, which part of it is kept, and whether it may be left out."""

    image: Path
    mask: Path | None
    region: tuple[int, int, int, int]
    image_size: tuple[int, int]
    may_skip: bool


@dataclass(frozen=True)
class _Shard:
    """The pictures of one chunk; ``first`` is the number of the first."""

    number: int
    first: int
    pictures: list[_Picture]


def pack(
    module: HandDataModule,
    out: Path,
    stages: Sequence[str] = ("fit", "predict", "test"),
    on_error: ErrorPolicy = "raise",
    max_errors: int = 100,
    workers: int | None = None,
    quality: int = QUALITY,
    shard_pictures: int = SHARD_PICTURES,
) -> None:
    """Pack the splits of a dataset for the crops and the augmentation of a data module.

    A run that was interrupted goes on when it is started again with the same arguments. The files do not depend on the
    number of workers.

    Args:
        module: Of the original dataset; its splits, crop rule and augmentation are packed for.
        out: Folder to write; new, empty, or that of an interrupted run.
        stages: Whose splits are packed.
        on_error: ``"skip"`` leaves out training and validation frames whose files are damaged.
        max_errors: With ``"skip"``, how many.
        workers: Processes; None for one a core.
        quality: Of the JPEGs.
        shard_pictures: Pictures of a chunk.

    Raises:
        InputError: The module's pictures cannot be packed, a file is damaged, the folder holds something else, or
            cannot be written.
    """
    sources = _splits(module, stages)
    reach = reach_of(module.augmentation)
    pictures, numbers = _pictures(sources, reach)
    options = {"format": FORMAT, "crop": module.crop, "reach": asdict(reach), "quality": quality}
    identity = _identity(sources, pictures, {**options, "shard_pictures": shard_pictures})
    try:
        progress = _begin(out, identity)
        if progress is None:
            log.warning("%s is packed already", out)
            return
        with FileLock(progress / "lock", timeout=0):
            _discard_halves(progress)
            read_masks = next(iter(sources.values())).read_masks
            starts = range(0, len(pictures), shard_pictures)
            shards = [_Shard(k, at, pictures[at : at + shard_pictures]) for k, at in enumerate(starts)]
            write = partial(_write_shard, out, read_masks, quality, on_error, max_errors)
            records = in_processes(write, shards, "packing", workers)
            skipped = [path for record in records for path in record["skipped"]]
            if len(skipped) > max_errors:
                raise InputError(f"{len(skipped)} pictures cannot be read, at most {max_errors} may: {skipped[0]}")
            members = np.array([row for record in records for row in record["members"]], dtype=np.int64)
            splits = _write_labels(progress, sources, numbers, pictures, members)
            manifest = {
                **options,
                "identity": identity,
                "augmentation": str(module.augmentation),
                "tips": module.tips,
                "protocol": module.protocol,
                "box_source": module.box_source,
                "splits": splits,
                "skipped": skipped,
            }
            _finish(out, progress, manifest, records)
    except Timeout as error:
        raise InputError(f"another process is packing into {out}: wait for it, or give another folder") from error
    except OSError as error:
        # what is read is told as InputError or FileNotFoundError with its path: this one is about writing
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(_cannot_write(out, error)) from error


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f"{path} cannot be written ({error}): what is whole stays; make room or choose another folder, and run the "
        "same command again to go on"
    )


def _splits(module: HandDataModule, stages: Sequence[str]) -> dict[str, HandDataset]:
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


def _pictures(sources: dict[str, HandDataset], reach: Reach) -> tuple[list[_Picture], dict[Path, int]]:
    """What is kept of every picture of the splits, in the order of their first use, and their numbers."""
    found: dict[Path, _Picture] = {}
    for split, dataset in sources.items():
        frames = dataset.frames
        for row in dataset.rows.tolist():
            image = dataset.root / str(frames.images[row])
            width, height = frames.image_sizes[row].tolist()
            object_box = None if frames.object_boxes is None else frames.object_boxes[row]
            view = View((width, height), frames.intrinsics[row], frames.boxes[row], object_box)
            try:
                region = kept_region(view, dataset.crop, reach)  # type: ignore[arg-type]
            except InputError as error:
                raise InputError(f"{image}: {error}") from error
            mask = None
            if dataset.read_masks is not None and frames.masks is not None and frames.masks[row]:
                mask = dataset.root / str(frames.masks[row])
            picture = _Picture(image, mask, region, (width, height), split in _MAY_SKIP)
            if image in found:
                picture = _united(found[image], picture)
            found[image] = picture
    return list(found.values()), {image: number for number, image in enumerate(found)}


def _united(first: _Picture, second: _Picture) -> _Picture:
    """One picture of two frames, or of one frame in two splits."""
    a, b = first.region, second.region
    region = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return replace(first, mask=first.mask or second.mask, region=region, may_skip=first.may_skip and second.may_skip)


def _identity(sources: dict[str, HandDataset], pictures: list[_Picture], options: dict[str, Any]) -> str:
    """What the packed files depend on."""
    digest = hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=16)
    root = next(iter(sources.values())).root
    files = [path for picture in pictures for path in (picture.image, picture.mask) if path is not None]
    digest.update(fingerprint(root, files).encode())
    digest.update(repr([picture.region for picture in pictures]).encode())
    for split, dataset in sources.items():
        digest.update(split.encode() + dataset.rows.tobytes())
        for name, column in dataset.frames.columns().items():
            digest.update(name.encode() + np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _begin(out: Path, identity: str) -> Path | None:
    """The folder of what is not finished yet; None where everything is."""
    progress = out / PROGRESS
    found = None
    if (out / MANIFEST).is_file():
        found = json.loads((out / MANIFEST).read_text())["identity"]
    elif (progress / "identity").is_file():
        found = (progress / "identity").read_text()
    elif out.is_dir() and any(path.name != PROGRESS for path in out.iterdir()):
        raise InputError(f"{out} holds other files: give a new or an empty folder")
    if found not in (None, identity):
        raise InputError(
            f"{out} holds a pack of other data or options (or the data has changed since): delete it, or give "
            "another folder"
        )
    if found and (out / MANIFEST).is_file():
        return None
    progress.mkdir(parents=True, exist_ok=True)
    (out / "images").mkdir(exist_ok=True)
    _write_whole(progress / "identity", identity.encode())
    return progress


def _discard_halves(progress: Path) -> None:
    """Delete what an interrupted run left unfinished."""
    for path in progress.glob("*.part"):
        path.unlink()
    shutil.rmtree(progress / "labels", ignore_errors=True)
    shutil.rmtree(progress.parent / "labels", ignore_errors=True)


def _part(path: Path) -> Path:
    """Where a file is written before it has its name: another one for each process, as one may outlive its parent."""
    return path.with_name(f"{path.name}-{os.getpid()}.part")


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name when it is whole and on the disk."""
    part = _part(path)
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _write_shard(
    out: Path, read_masks: MaskReader | None, quality: int, on_error: ErrorPolicy, max_errors: int, shard: _Shard
) -> dict[str, Any]:
    """Write one chunk if it is not there yet.

    Returns:
        ``sha256`` and ``bytes`` of the file; ``members``, a row for each picture; ``skipped`` files.
    """
    target = out / shard_file(shard.number)
    record_path = out / PROGRESS / f"{shard.number:05d}.json"
    if record_path.is_file():
        # the record is written after its chunk
        record: dict[str, Any] = json.loads(record_path.read_text())
        if target.is_file() and target.stat().st_size == record["bytes"]:
            return record
    part = _part(out / PROGRESS / target.name)
    members: list[list[int]] = []
    skipped: list[str] = []
    try:
        with part.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for number, picture in enumerate(shard.pictures, start=shard.first):
                    try:
                        image, mask = _encode(picture, read_masks, quality)
                    except (InputError, FileNotFoundError) as error:
                        if on_error == "raise" or not picture.may_skip:
                            raise
                        skipped.append(f"{picture.image}: {error}")
                        if len(skipped) > max_errors:
                            raise InputError(
                                f"{len(skipped)} pictures cannot be read, at most {max_errors} may: {error}"
                            ) from error
                        image, mask = b"", b""
                    places = [_add(tar, f"{number:08d}.{suffix}", data) for suffix, data in _files(image, mask)]
                    members.append([shard.number, *places[0], *places[1]])
            file.flush()
            os.fsync(file.fileno())
        record = {"sha256": sha256(part), "bytes": part.stat().st_size, "members": members, "skipped": skipped}
        part.replace(target)
        _write_whole(record_path, json.dumps(record).encode())
    except (InputError, FileNotFoundError):
        raise
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(_cannot_write(target, error)) from error
    return record


def _files(image: bytes, mask: bytes) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    return ("jpg", image), ("png", mask)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> tuple[int, int]:
    """Append a file; its position and size, (0, 0) for none."""
    if not data:
        return 0, 0
    header = tarfile.TarInfo(name)
    header.size = len(data)
    start = tar.offset + _TAR_HEADER
    tar.addfile(header, io.BytesIO(data))
    return start, len(data)


def _encode(picture: _Picture, read_masks: MaskReader | None, quality: int) -> tuple[bytes, bytes]:
    """The kept part of a picture as JPEG and of its masks as PNG;"""
    x0, y0, x1, y1 = picture.region
    image = decode(read_bytes(picture.image), picture.image, cv2.IMREAD_COLOR)
    if image.shape[1::-1] != picture.image_size:
        raise InputError(
            f"image {picture.image} is {image.shape[1]}x{image.shape[0]}, but its labels are for "
            f"{picture.image_size[0]}x{picture.image_size[1]}: was the dataset resized?"
        )
    jpeg = cv2.imencode(".jpg", image[y0:y1, x0:x1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    if picture.mask is None or read_masks is None:
        return jpeg, b""
    hand, held = read_masks(picture.mask)
    check_mask(hand, picture.image_size, picture.mask)
    coded = hand.astype(np.uint8) * HAND
    if held is not None:
        check_mask(held, picture.image_size, picture.mask)
        if held.shape != hand.shape:
            raise InputError(f"mask {picture.mask}: hand {hand.shape} and object {held.shape} differ in size")
        coded |= held.astype(np.uint8) * OBJECT | OBJECT_KNOWN
    step = picture.image_size[0] // hand.shape[1]
    if step * hand.shape[1] != picture.image_size[0] or any(edge % step for edge in picture.region):
        raise InputError(
            f"mask {picture.mask}: its pixels do not divide the image's {picture.image_size[0]}x"
            f"{picture.image_size[1]} into blocks that a kept part begins and ends with: pack without masks"
        )
    kept = coded[y0 // step : y1 // step, x0 // step : x1 // step]
    return jpeg, cv2.imencode(".png", kept)[1].tobytes()


def _write_labels(
    progress: Path,
    sources: dict[str, HandDataset],
    numbers: dict[Path, int],
    pictures: list[_Picture],
    members: np.ndarray,
) -> dict[str, Any]:
    """Write the labels of all splits; the tables' files become names in the chunks.

    Returns:
        For each split its table and number of samples.
    """
    folder = progress / "labels"
    folder.mkdir()
    regions = np.array([picture.region for picture in pictures], dtype=np.int32)
    save_arrays(folder, {"members": members, "regions": regions})
    tables: list[FrameTable] = []
    splits = {}
    for split, dataset in sources.items():
        places = [k for k, table in enumerate(tables) if table is dataset.frames]
        if not places:
            places = [len(tables)]
            tables.append(dataset.frames)
            table_folder = folder / f"table{places[0]}"
            table_folder.mkdir()
            save_arrays(table_folder, _renamed(dataset, numbers, members).columns())
        kept = [members[numbers[dataset.root / str(dataset.frames.images[row])], 2] > 0 for row in dataset.rows]
        rows = dataset.rows[np.array(kept, dtype=bool)]
        save_arrays(folder, {split: rows})
        splits[split] = {"table": places[0], "samples": len(rows)}
    return splits


def _renamed(dataset: HandDataset, numbers: dict[Path, int], members: np.ndarray) -> FrameTable:
    """The table with the names of the packed pictures and masks."""
    images, masks = [], []
    for image in dataset.frames.images:
        # a table can have rows that no split uses
        number = numbers.get(dataset.root / str(image))
        shard = 0 if number is None else int(members[number, 0])
        images.append("" if number is None else member_name(shard, number, "jpg"))
        masks.append("" if number is None or not members[number, 4] else member_name(shard, number, "png"))
    has_masks = dataset.read_masks is not None and any(masks)
    return replace(dataset.frames, images=np.array(images), masks=np.array(masks) if has_masks else None, depths=None)


def _finish(out: Path, progress: Path, manifest: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Give the labels their name, then the manifest."""
    files = {
        shard_file(number): {name: record[name] for name in ("bytes", "sha256")}
        for number, record in enumerate(records)
    }
    for path in sorted((progress / "labels").rglob("*.npy")):
        name = path.relative_to(progress).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (progress / "labels").replace(out / "labels")
    _write_whole(progress / MANIFEST, json.dumps({**manifest, "files": files}, indent=1).encode())
    (progress / MANIFEST).replace(out / MANIFEST)
    shutil.rmtree(progress)
