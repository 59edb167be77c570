"""Write a packed dataset: what crops can reach of every image as JPEG, in chunks, and all labels as arrays.

Chunks are ordinary tar files in the naming of WebDataset (``00000042.jpg``, ``00000042.png``), so that other tools can
read and stream them; `handlit.data.packing.read` reads them by position. Each appears under its name only when it is
whole, the manifest with the checksums last of all.

References:
    WebDataset's format: https://github.com/webdataset/webdataset
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.dataset import ErrorPolicy, HandDataset
from handlit.data.packing.extent import crop_extent
from handlit.data.packing.manifest import FORMAT, read_manifest, shard_file
from handlit.data.packing.plan import PackedImage, images_to_pack, pack_identity, splits_to_pack
from handlit.data.packing.read import PROGRESS, member_name
from handlit.data.packing.shards import QUALITY, Shard, ShardWriter, cannot_write, check_skipped
from handlit.errors import InputError, check_choice, check_number
from handlit.files import sha256, write_text
from handlit.formats.frame_table import FrameTable
from handlit.formats.index import save_arrays
from handlit.formats.packed import MANIFEST
from handlit.formats.worker_pool import in_processes

log = logging.getLogger(__name__)

#: Images of a chunk: about 30 MB of HO-3D.
SHARD_IMAGES = 1000


def pack(
    module: HandDataModule,
    out: Path,
    stages: Sequence[str] = ("fit", "predict", "test"),
    on_error: ErrorPolicy = "raise",
    max_errors: int = 100,
    workers: int | None = None,
    quality: int = QUALITY,
    shard_images: int = SHARD_IMAGES,
) -> None:
    """Pack the splits of a dataset for the crops and the augmentation of a data module.

    A run that was interrupted resumes when it is started again with the same arguments. The files do not depend on the
    number of workers.

    Args:
        module: Of the original dataset; its splits, crop rule and augmentation are packed for.
        out: Folder to write; new, empty, or that of an interrupted run.
        stages: Whose splits are packed.
        on_error: ``"skip"`` leaves out training and validation frames whose files are damaged.
        max_errors: With ``"skip"``, how many.
        workers: Processes; None for one a core.
        quality: Of the JPEGs.
        shard_images: Images of a chunk.

    Raises:
        InputError: The module's images cannot be packed, a file is damaged, the folder holds something else, or
            cannot be written.
    """
    check_choice("on_error", on_error, ErrorPolicy)
    check_number("max_errors", max_errors, least=0, whole=True)
    check_number("quality", quality, least=1, most=100, whole=True)
    sources = splits_to_pack(module, stages)
    extent = crop_extent(module.augmentation)
    images, numbers = images_to_pack(sources, extent)
    options = {"format": FORMAT, "crop": module.crop, "reach": asdict(extent), "quality": quality}
    identity = pack_identity(sources, images, {**options, "shard_images": shard_images})
    try:
        progress = _begin(out, identity)
        if progress is None:
            log.warning("%s is packed already", out)
            return
        with FileLock(progress / "lock", timeout=0):
            _discard_unfinished(out)
            writer = ShardWriter(out, next(iter(sources.values())).read_masks, quality, on_error, max_errors)
            records = in_processes(writer, _in_shards(images, shard_images), "packing", workers)
            skipped = [path for record in records for path in record["skipped"]]
            check_skipped(skipped, max_errors)
            splits = _write_labels(progress, sources, numbers, images, records)
            of_run = {"identity": identity, **_settings(module), "splits": splits, "skipped": skipped}
            _finish(out, progress, {**options, **of_run}, records)
    except Timeout as error:
        raise InputError(f"another process is packing into {out}: wait for it, or give another folder") from error
    except FileNotFoundError:
        # of the dataset, named by whoever reads it
        raise
    except OSError as error:
        raise InputError(cannot_write(out, error)) from error


def _in_shards(images: list[PackedImage], size: int) -> list[Shard]:
    return [
        Shard(number, first, images[first : first + size]) for number, first in enumerate(range(0, len(images), size))
    ]


def _settings(module: HandDataModule) -> dict[str, Any]:
    """What the manifest says of the module that was packed for."""
    return {
        "augmentation": str(module.augmentation),
        "tips": module.tips,
        "protocol": module.protocol,
        "box_source": module.box_source,
    }


def _begin(out: Path, identity: str) -> Path | None:
    """The folder of what is not finished yet; None where everything is."""
    progress = out / PROGRESS
    packed = None
    if (out / MANIFEST).is_file():
        packed = read_manifest((out / MANIFEST).read_bytes(), out / MANIFEST)["identity"]
    elif (progress / "identity").is_file():
        packed = (progress / "identity").read_text()
    elif out.is_dir() and any(path.name != PROGRESS for path in out.iterdir()):
        raise InputError(f"{out} holds other files: give a new or an empty folder")
    if packed not in (None, identity):
        raise InputError(
            f"{out} holds a pack of other data or options (or the data has changed since): delete it, or give "
            "another folder"
        )
    if packed and (out / MANIFEST).is_file():
        return None
    progress.mkdir(parents=True, exist_ok=True)
    (out / "images").mkdir(exist_ok=True)
    write_text(progress / "identity", identity)
    return progress


def _discard_unfinished(out: Path) -> None:
    """Delete what an interrupted run left unfinished."""
    for path in (out / PROGRESS).glob("*.tar"):
        path.unlink()
    shutil.rmtree(out / PROGRESS / "labels", ignore_errors=True)
    shutil.rmtree(out / "labels", ignore_errors=True)


def _write_labels(
    progress: Path,
    sources: dict[str, HandDataset],
    numbers: dict[Path, int],
    images: list[PackedImage],
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write the labels of all splits; the tables' files become names in the chunks.

    Returns:
        For each split its table and number of samples.
    """
    folder = progress / "labels"
    folder.mkdir()
    members = np.array([row for record in records for row in record["members"]], dtype=np.int64)
    regions = np.array([image.region for image in images], dtype=np.int32)
    digests = np.array([row for record in records for row in record["digests"]], dtype=np.uint64)
    save_arrays(folder, {"members": members, "regions": regions, "digests": digests})
    tables: list[FrameTable] = []
    splits = {}
    for split, dataset in sources.items():
        number = next((k for k, table in enumerate(tables) if table is dataset.frames), len(tables))
        if number == len(tables):
            tables.append(dataset.frames)
            table_folder = folder / f"table{number}"
            table_folder.mkdir()
            save_arrays(table_folder, _renamed(dataset, numbers, members).columns())
        kept = [members[numbers[dataset.root / str(dataset.frames.images[row])], 2] > 0 for row in dataset.rows]
        rows = dataset.rows[np.array(kept, dtype=bool)]
        save_arrays(folder, {split: rows})
        splits[split] = {"table": number, "samples": len(rows)}
    return splits


def _renamed(dataset: HandDataset, numbers: dict[Path, int], members: np.ndarray) -> FrameTable:
    """The table with the names of the packed images and masks."""
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
    """Give the labels their name, then write the manifest."""
    files = {
        shard_file(number): {name: record[name] for name in ("bytes", "sha256")}
        for number, record in enumerate(records)
    }
    for path in sorted((progress / "labels").rglob("*.npy")):
        name = path.relative_to(progress).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (progress / "labels").replace(out / "labels")
    write_text(out / MANIFEST, json.dumps({**manifest, "files": files}, indent=1))
    shutil.rmtree(progress)
