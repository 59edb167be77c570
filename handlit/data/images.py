"""Decode an image file and bring a part of it to a crop, in one warp."""

from pathlib import Path

import cv2
import numpy as np

from handlit.geometry import crops
from handlit.types import InputError


def read_image(path: Path, half: bool = False) -> np.ndarray:
    """Decode an image to RGB.

    Args:
        path: JPEG or PNG file.
        half: Decode at half the size (each side rounded up). A JPEG is then decoded about twice as fast.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is not an image or is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"image {path} is missing: is the dataset's folder complete?")
    image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"image {path} ({path.stat().st_size} bytes) cannot be decoded: download or unpack it again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_crop(path: Path, transform: np.ndarray, size: int) -> np.ndarray:
    """Decode an image and warp a part of it to a square crop (bilinear, black outside the image).

    Where the crop has at most half the source's resolution the file is decoded at half size: faster, and the
    average over four pixels is a better reduction than skipping three of them.

    Args:
        path: Image file.
        transform: (2, 3) map from source pixels to crop pixels.
        size: Side of the crop, pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    half = abs(np.linalg.det(transform[:, :2])) <= 0.25
    if half:
        # pixel i of the half-size image covers the source pixels 2i and 2i + 1, so its centre is at 2i + 0.5
        to_source = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
        transform = crops.compose(transform, to_source)
    return cv2.warpAffine(read_image(path, half), transform, (size, size), flags=cv2.INTER_LINEAR)
