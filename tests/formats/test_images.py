"""Decoding: what is damaged is refused by name, and a reduced size moves nothing."""

import os
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import pytest

from handlit.errors import InputError
from handlit.formats.images import decode, decode_sized, read_bytes, read_image, warp_to_crop
from handlit.geometry import crops


def picture(height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def encoded(ending: str, image: np.ndarray | None = None) -> bytes:
    return cv2.imencode(ending, picture() if image is None else image)[1].tobytes()


def as_array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    content = encoded(ending)
    path = tmp_path / f"cut{ending}"
    path.write_bytes(content[: int(share * (len(content) - 1))])
    with pytest.raises(InputError, match=rf"cut{ending} .* cannot be decoded"):
        read_image(path)
    path.write_bytes(content)
    assert read_image(path).shape == (120, 160, 3)


def test_every_missing_end_of_a_jpeg_is_noticed_without_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    # some versions of OpenCV decode a cut file and fill it with grey
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: np.zeros((1, 1, 3), np.uint8))
    content = encoded(".jpg")
    for missing in (1, 2, 3, 50, len(content) // 2):
        with pytest.raises(InputError, match="cut short"):
            decode(as_array(content[:-missing]), "x.jpg")


def test_bytes_behind_a_picture_do_no_harm() -> None:
    content = encoded(".jpg")
    np.testing.assert_array_equal(decode(as_array(content + bytes(5000)), "x"), decode(as_array(content), "x"))


def test_the_end_of_a_preview_in_the_header_does_not_count() -> None:
    preview, content = encoded(".jpg", picture(16, 16)), encoded(".jpg")
    header = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    with_preview = content[:2] + header + content[2:]
    assert decode(as_array(with_preview), "x").shape == (120, 160, 3)
    with pytest.raises(InputError, match="cut short"):
        decode(as_array(with_preview[:-100]), "x")


def progressive(scans: int, side: int = 64) -> bytes:
    """A JPEG whose last scan is there many times."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    content = cv2.imencode(".jpg", picture(side, side), options)[1].tobytes()
    last = content.rfind(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def test_a_jpeg_is_not_decoded_again_and_again() -> None:
    for content in (progressive(1), progressive(20), encoded(".jpg"), progressive(1, 2000), progressive(80)):
        assert decode(as_array(content), "x").ndim == 3
    for content in (progressive(140_000), progressive(60, 3000)):
        started = time.process_time()
        with pytest.raises(InputError, match=r"x \(\d+ bytes\) cannot be decoded: its pixels come in more scans"):
            decode(as_array(content), "x")
        assert time.process_time() - started < 2


def test_scans_in_what_is_no_pixel_do_not_count() -> None:
    # in a preview, in a comment, behind the end, and as bytes of the code
    filler = b"\xff\xda" * 10_000
    content, comment = encoded(".jpg"), b"\xff\xfe" + (20_002).to_bytes(2, "big")
    for odd in (content + filler * 100, content[:2] + (comment + filler) * 100 + content[2:], progressive(1) + filler):
        assert decode(as_array(odd), "x").shape[2] == 3


def test_what_is_no_picture_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg is missing"):
        read_bytes(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match=r"not a file: '.*pipe\.jpg'"):
        read_image(tmp_path / "pipe.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(InputError, match=r"text\.jpg \(13 bytes\) cannot be decoded"):
        read_image(tmp_path / "text.jpg")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png \(0 bytes\)"):
        decode(read_bytes(tmp_path / "empty.png"), tmp_path / "empty.png")


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    parts = [
        len(data).to_bytes(4, "big") + name + data + struct.pack(">I", crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_part_of_a_png_that_says_to_be_larger_than_the_file_takes_no_memory() -> None:
    content = png(20, 20, zlib.compress(bytes(20 * 61)))
    assert decode(as_array(content), "x").shape == (20, 20, 3)
    for size in (b"\x7f\xff\xff\xff", b"\0\0\1\0"):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InputError, match="cut short"):
            decode(as_array(content[:33] + size + b"tEXt" + content[33:]), "x")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(60_000, 60_000), "it says to have more than"),
        (b"P6\n60000 60000\n255\n", "it says to have more than"),
        (png(0, 0), "unpack it again"),
        (png(20, 20, b"no deflate"), "unpack it again"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "is a HEIC image.*convert it to JPEG or PNG"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<html>sign in</html>", "is a web page"),
        (b"PK\3\4" + bytes(30), "is a zip archive"),
    ],
)
@pytest.mark.parametrize("flags", [cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED, cv2.IMREAD_REDUCED_COLOR_4])
def test_whatever_the_decoder_raises_names_the_file(content: bytes, message: str, flags: int) -> None:
    with pytest.raises(InputError, match=rf"image x\.png.*{message}"):
        decode(as_array(content), "x.png", flags)


def test_nothing_but_eight_bit_colour_comes_from_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    palette_and_alpha = np.zeros((6, 8, 4), np.uint8)
    for image in (deep, palette_and_alpha, deep.astype(np.uint8)):
        assert decode(as_array(encoded(".png", image)), "x", cv2.IMREAD_COLOR).shape == (6, 8, 3)
    for odd in (deep, palette_and_alpha, np.zeros((0, 8, 3), np.uint8)):
        monkeypatch.setattr(cv2, "imdecode", lambda data, flags, odd=odd: odd)
        with pytest.raises(InputError, match="cannot be decoded"):
            decode(as_array(encoded(".png")), "x", cv2.IMREAD_COLOR)


def test_a_small_file_does_not_reserve_gigabytes(tmp_path: Path) -> None:
    """In a process of its own: OpenCV reads the limit when it is imported."""
    path = tmp_path / "x.png"
    path.write_bytes(png(30_000, 30_000, zlib.compress(bytes(10**6))))
    code = f"from pathlib import Path; from handlit.formats.images import read_image; read_image(Path({str(path)!r}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "InputError: image" in done.stderr
    assert "it says to have more than 67108864 pixels" in done.stderr


def test_all_bits_and_channels_are_kept_by_default() -> None:
    depth = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    np.testing.assert_array_equal(decode(as_array(encoded(".png", depth)), "x"), depth)


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_another_size_than_the_labels_is_refused(reduction: int) -> None:
    data = as_array(encoded(".jpg"))
    assert decode_sized(data, "x", (160, 120), reduction).shape == (120 // reduction, 160 // reduction, 3)
    with pytest.raises(InputError, match=r"x\.jpg is 160x120, but its labels are for 640x480"):
        decode_sized(data, "x.jpg", (640, 480), reduction)


@pytest.mark.parametrize("size", [40, 100, 250])
def test_reduced_decoding_moves_nothing(size: int) -> None:
    """A dot's centroid in the crop is where the transform puts it, at the whole, half and quarter size."""
    image = np.zeros((481, 639, 3), np.uint8)
    cv2.circle(image, (301 * 16, 203 * 16), 8 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    data = as_array(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes())
    transform = crops.crop_transform(np.array([290.0, 210.0]), 300.0, size)
    crop = warp_to_crop(data, "x", (639, 481), transform, size)[..., 0].astype(float)
    rows, columns = np.mgrid[:size, :size]
    centroid = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
    np.testing.assert_allclose(centroid, crops.apply(transform, np.array([301.0, 203.0])), atol=0.08)
