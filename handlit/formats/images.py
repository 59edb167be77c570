"""Decode image files, and bring a part of an image to a crop in one warp."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from handlit.errors import InputError
from handlit.files import open_regular
from handlit.geometry import crops
from handlit.reading import wrong_kind

# what its decoders say goes into our messages
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

#: Decodes a dataset's segmentation file to the masks of hand and object, (h, w) bool, at the file's own resolution;
#: None in place of an object that the dataset does not segment.
MaskReader = Callable[[Path], tuple[np.ndarray, np.ndarray | None]]
#: Decodes a dataset's depth image to (H, W) metres, 0 where nothing was measured.
DepthReader = Callable[[Path], np.ndarray]

#: Bytes; raw 16-bit RGB of the largest image that OpenCV is allowed to decode.
MAX_BYTES = 6 << 26
#: Scans of a JPEG, and pixels that they decode in all: a progressive one has about ten.
MAX_SCANS, MAX_SCANNED = 100, 1 << 29
#: Parts of a PNG; one of 400 MB has 50,000 of them.
MAX_CHUNKS = 1_000_000
#: A marker of a JPEG; within pixels' code 0xff is followed by 0, or by the marks of restarts, which hold nothing.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
#: What OpenCV decodes, as `wrong_kind` names it.
_KINDS = tuple(f"a {kind} image" for kind in ("PNG", "JPEG", "GIF", "WebP", "TIFF or raw"))

#: OpenCV's flags for decoding at a part of the size; a JPEG is then decoded at that size in the first place.
_REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}


def read_bytes(path: Path | str) -> np.ndarray:
    """The content of an image file.

    Returns:
        (N,) uint8, as `decode` takes it.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is larger than `MAX_BYTES`.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise InputError(f"image {path} has more than {MAX_BYTES >> 20} MB: it is no image")
            return np.frombuffer(file.read(), dtype=np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"image {path} is missing: is the dataset's folder complete?") from error


def decode(data: np.ndarray, name: Path | str, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """Decode the content of an image file as OpenCV does (colour is **BGR**), but refuse one that is cut short.

    OpenCV's versions differ there: some fill what is missing with grey and say nothing.

    Args:
        data: (N,) uint8, content of a JPEG or PNG file.
        name: Of the file, for messages.
        flags: OpenCV's ``IMREAD_...``; by default all channels with all their bits, as masks and depth images need.

    Returns:
        (H, W) or (H, W, channels); (H, W, 3) uint8 for the flags ``IMREAD_COLOR``.

    Raises:
        InputError: The file is empty, cut short, not an image or too large, or a JPEG of too many scans.
    """
    title = f"image {name} ({len(data)} bytes) cannot be decoded"
    if len(data) == 0:
        raise InputError(f"{title}: it is empty, download or unpack it again")
    if not _is_whole(data):
        raise InputError(f"{title}: it is cut short, unpack it again")
    if _takes_long(data):
        raise InputError(f"{title}: its pixels come in more scans than any camera or program writes, save it anew")
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:
        limit = os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]
        if "IO_MAX_IMAGE" in str(error):
            raise InputError(f"{title}: it says to have more than {limit} pixels") from error
        image = None
    if image is None or image.size == 0:
        kind = wrong_kind(data[:512].tobytes(), f"image {name}", "a JPEG or PNG image", _KINDS)
        raise kind or InputError(f"{title}: download or unpack it again")
    if flags in _REDUCED.values() and (image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8):
        raise InputError(f"{title} to 8-bit colour: convert it to JPEG or PNG")
    return image


def _is_whole(data: np.ndarray) -> bool:
    """Whether the end mark of a JPEG or PNG is there; True for what is neither, which the decoder judges."""
    head, tail = data[:4].tobytes(), data[-2:].tobytes()
    if head == b"\x89PNG":
        return _has_all_chunks(data.tobytes())
    # some cameras append to an image: then its end mark is inside
    return head[:2] != b"\xff\xd8" or tail.endswith(b"\xff\xd9") or _has_end_mark(data.tobytes())


def _has_all_chunks(png: bytes) -> bool:
    """Whether every part of a PNG up to the last lies in the file: a decoder takes memory for what a part says."""
    position = 8
    for _ in range(MAX_CHUNKS):
        if position + 12 > len(png):
            return False
        if png[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(png[position : position + 4], "big")
    return False


def _has_end_mark(jpeg: bytes) -> bool:
    """Whether the end mark follows the pixels; that of a preview in the header does not count."""
    position = 2
    while jpeg[position : position + 1] == b"\xff":
        if jpeg[position + 1 : position + 2] == b"\xda":
            # within the pixels' code every 0xff is followed by something else
            return jpeg.find(b"\xff\xd9", position) >= 0
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return False


def _takes_long(data: np.ndarray) -> bool:
    """Whether a JPEG has too many scans: each takes the decoder's time, however short it is in the file."""
    jpeg = data.tobytes() if data[:2].tobytes() == b"\xff\xd8" else b""
    if jpeg.count(b"\xff\xda") < 2:
        return False
    position, pixels, scans = 2, 0, 0
    while (found := _MARKER.search(jpeg, position)) and (code := jpeg[found.end() - 1]) != 0xD9:
        scans += code == 0xDA
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            sides = jpeg[found.end() + 3 : found.end() + 7]
            pixels = max(pixels, int.from_bytes(sides[:2], "big") * int.from_bytes(sides[2:], "big"))
        if scans > MAX_SCANS or scans * pixels > MAX_SCANNED:
            # memory for all pixels is needed where there are several
            return scans > 1
        position = found.end() + max(2, int.from_bytes(jpeg[found.end() : found.end() + 2], "big"))
    return False


def read_image(path: Path) -> np.ndarray:
    """Decode an image file to RGB.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is not an image or is damaged.
    """
    image = decode(read_bytes(path), path, cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def decode_sized(data: np.ndarray, name: Path | str, image_size: tuple[int, int], reduction: int = 1) -> np.ndarray:
    """Decode an image whose size is known, at that size or a part of it.

    Args:
        data: (N,) uint8, content of the file.
        name: Of the file, for messages.
        image_size: Width and height that the labels are for, pixels.
        reduction: 1, 2 or 4; sides are rounded up.

    Returns:
        (H, W, 3) uint8 **BGR**.

    Raises:
        InputError: The file is damaged or of another size.
    """
    image = decode(data, name, _REDUCED[reduction])
    height, width = (-(-side // reduction) for side in image_size[::-1])
    if image.shape[:2] != (height, width):
        # a reduced size would be rounded: name the real one
        found = decode(data, name, cv2.IMREAD_COLOR).shape
        raise InputError(
            f"image {name} is {found[1]}x{found[0]}, but its labels are for {image_size[0]}x{image_size[1]}: "
            "was the dataset resized?"
        )
    return image


def warp_to_crop(
    data: np.ndarray, name: Path | str, image_size: tuple[int, int], transform: np.ndarray, size: int
) -> np.ndarray:
    """Decode an image and warp a part of it to a square crop (bilinear, black outside the image).

    Where the crop has at most a half or a quarter of the source's resolution the file is decoded at that size:
    faster, and an average over pixels is a better reduction than skipping some.

    Args:
        data: (N,) uint8, content of the file.
        name: Of the file, for messages.
        image_size: Width and height of the source image, pixels.
        transform: (2, 3) map from source pixels to crop pixels.
        size: Side of the crop, pixels.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        InputError: The file is damaged or of another size.
    """
    (a, b, _), (c, d, _) = transform.tolist()
    shrinkage = abs(a * d - b * c)
    reduction = 1 if shrinkage > 1 / 4 else 2 if shrinkage > 1 / 16 else 4
    if reduction > 1:
        transform = crops.compose(transform, enlargement(reduction, reduction))
    image = decode_sized(data, name, image_size, reduction)
    crop = cv2.warpAffine(image, transform, (size, size), flags=cv2.INTER_LINEAR)
    return cv2.cvtColor(crop, cv2.COLOR_BGR2RGB, dst=crop)


def enlargement(x: float, y: float) -> np.ndarray:
    """(2, 3) map from the pixels of a reduced image to those of the whole one, ``x`` and ``y`` times its size.

    Pixel i of an image of half the size covers the pixels 2i and 2i + 1, so its centre is at 2i + 0.5.
    """
    return np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2]])
