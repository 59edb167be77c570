"""One chunk of a packed dataset: the kept parts of its images as JPEG and of their masks as PNG, in a tar file."""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handlit.data.loading.cropping import check_mask
from handlit.data.loading.dataset import ErrorPolicy
from handlit.data.packing.labels import member_digest
from handlit.data.packing.manifest import shard_file
from handlit.data.packing.plan import PackedImage
from handlit.data.packing.read import HAND, OBJECT, OBJECT_KNOWN, PROGRESS
from handlit.errors import InputError
from handlit.files import sha256, whole, write_text
from handlit.formats.images import MaskReader, decode, read_bytes
from handlit.reading import read_json

#: JPEG quality of the packed images.
QUALITY = 90
_TAR_HEADER = 512


@dataclass(frozen=True)
class Shard:
    """The images of one chunk; ``first`` is the number of the first."""

    number: int
    first: int
    images: list[PackedImage]


@dataclass(frozen=True)
class ShardWriter:
    """Writes chunks; a picklable function of one `Shard`, for worker processes.

    Attributes:
        out: Folder of the pack.
        read_masks: Decodes the masks, if there are any.
        quality: Of the JPEGs.
        on_error: ``"skip"`` leaves out images that may be missing and cannot be read.
        max_errors: With ``"skip"``, how many.
    """

    out: Path
    read_masks: MaskReader | None
    quality: int
    on_error: ErrorPolicy
    max_errors: int

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write one chunk unless it is there already.

        Returns:
            ``sha256`` and ``bytes`` of the file; ``members`` and ``digests``, a row for each image; ``skipped`` files.

        Raises:
            InputError: An image cannot be read, or the chunk not written.
        """
        target = self.out / shard_file(shard.number)
        unfinished = self.out / PROGRESS / target.name
        record_path = self.out / PROGRESS / f"{shard.number:05d}.json"
        if record_path.is_file():
            # the record is written after its chunk
            record: dict[str, Any] = read_json(record_path)
            # an earlier version kept no checksums of images
            is_complete = target.is_file() and target.stat().st_size == record["bytes"]
            if is_complete and "digests" in record:
                return record
        try:
            with whole(unfinished) as temporary:
                with tarfile.open(temporary, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                    contents = self._fill(tar, shard)
                record = {"sha256": sha256(temporary), "bytes": temporary.stat().st_size}
            unfinished.replace(target)
            record |= contents
            write_text(record_path, json.dumps(record))
        except (InputError, FileNotFoundError):
            raise
        except OSError as error:
            raise InputError(cannot_write(target, error)) from error
        return record

    def _fill(self, tar: tarfile.TarFile, shard: Shard) -> dict[str, list[Any]]:
        """Add the images of a chunk; the rows of its members, their checksums, and what was skipped."""
        members: list[list[int]] = []
        digests: list[list[int]] = []
        skipped: list[str] = []
        for number, image in enumerate(shard.images, start=shard.first):
            try:
                jpeg, png = encode(image, self.read_masks, self.quality)
            except (InputError, FileNotFoundError) as error:
                if self.on_error == "raise" or not image.may_skip:
                    raise
                skipped.append(f"{image.path}: {error}")
                check_skipped(skipped, self.max_errors)
                jpeg, png = b"", b""
            members.append([shard.number, *add(tar, f"{number:08d}.jpg", jpeg), *add(tar, f"{number:08d}.png", png)])
            digests.append([member_digest(jpeg), member_digest(png)])
        return {"members": members, "digests": digests, "skipped": skipped}


def check_skipped(skipped: list[str], max_errors: int) -> None:
    """Refuse to skip more images than were allowed.

    Raises:
        InputError: They are more; the message names the last one and what is wrong with it.
    """
    if len(skipped) > max_errors:
        raise InputError(f"{len(skipped)} images cannot be read, at most {max_errors} may: {skipped[-1]}")


def cannot_write(path: Path, error: OSError) -> str:
    """What to say where a pack cannot be written."""
    return (
        f"{path} cannot be written ({error}): what is whole stays; make room or choose another folder, and run the "
        "same command again to resume"
    )


def add(tar: tarfile.TarFile, name: str, data: bytes) -> tuple[int, int]:
    """Append a file; its position and size, (0, 0) for no data."""
    if not data:
        return 0, 0
    header = tarfile.TarInfo(name)
    header.size = len(data)
    start = tar.offset + _TAR_HEADER
    tar.addfile(header, io.BytesIO(data))
    return start, len(data)


def encode(image: PackedImage, read_masks: MaskReader | None, quality: int) -> tuple[bytes, bytes]:
    """The kept part of an image as JPEG, and of its masks as PNG; no bytes where it has no mask.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: A file is damaged, or has another size than the labels say.
    """
    x0, y0, x1, y1 = image.region
    pixels = decode(read_bytes(image.path), image.path, cv2.IMREAD_COLOR)
    if pixels.shape[1::-1] != image.image_size:
        raise InputError(
            f"image {image.path} is {pixels.shape[1]}x{pixels.shape[0]}, but its labels are for "
            f"{image.image_size[0]}x{image.image_size[1]}: was the dataset resized?"
        )
    jpeg = cv2.imencode(".jpg", pixels[y0:y1, x0:x1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    if image.mask is None or read_masks is None:
        return jpeg, b""
    hand, held = read_masks(image.mask)
    check_mask(hand, image.image_size, image.mask)
    coded = hand.astype(np.uint8) * HAND
    if held is not None:
        check_mask(held, image.image_size, image.mask)
        if held.shape != hand.shape:
            raise InputError(f"mask {image.mask}: hand {hand.shape} and object {held.shape} differ in size")
        coded |= held.astype(np.uint8) * OBJECT | OBJECT_KNOWN
    step = image.image_size[0] // hand.shape[1]
    if step * hand.shape[1] != image.image_size[0] or any(edge % step for edge in image.region):
        raise InputError(
            f"mask {image.mask}: its pixels do not divide the image's {image.image_size[0]}x"
            f"{image.image_size[1]} into blocks that a kept part begins and ends with: pack without masks"
        )
    kept = coded[y0 // step : y1 // step, x0 // step : x1 // step]
    return jpeg, cv2.imencode(".png", kept)[1].tobytes()
