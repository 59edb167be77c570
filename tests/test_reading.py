"""Files from strangers: named by what they are, texts read whatever tool wrote them."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from handlit import reading
from handlit.errors import InputError
from handlit.reading import decode_text, parse_json, read_bytes, read_json, read_text, shown, wrong_kind


def saved(save: Callable[..., object], *content: object, **named: object) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *content, **named)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (saved(np.savez, a=np.zeros(3)), "an npz archive"),
        (saved(np.save, np.zeros(3)), "a single NumPy array"),
        (saved(lambda file: torch.save({}, file)), "a PyTorch checkpoint"),
        (b"PK\3\4" + bytes(40), "a zip archive.*unpack"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image.*convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypavif", "an AVIF image"),
        (b"\0\0\0\x18ftypisom", "a video"),
        (b"RIFF\x12\0\0\0WEBPVP8 ", "a WebP image"),
        (b"GIF89a", "a GIF image"),
        (b"%PDF-1.7", "a PDF"),
        (b"\n<!DOCTYPE html><html>", "a web page.*sign in"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer.*git lfs pull"),
        (b"\x1f\x8b\x08", "a gzip archive.*unpack"),
        ("[1]".encode("utf-16"), "UTF-16 text.*UTF-8"),
        ("[1, 2]".encode("utf-16-le"), "UTF-16 text"),
        (bytes(1000), "nothing but zeros"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "a side file of macOS"),
    ],
)
def test_what_a_file_is(content: bytes, name: str) -> None:
    error = wrong_kind(content, "x.pkl", "a MANO pickle")
    assert isinstance(error, InputError)
    assert re.match(rf"x\.pkl is {name}", str(error))
    assert "expected a MANO pickle" in str(error)


def test_what_says_nothing_and_what_fits() -> None:
    for content in (b"", b"a", b"hello", b"[1, 2]", b"\x01\x02\x03"):
        assert wrong_kind(content, "x", "a pickle") is None
    assert wrong_kind(b"\x89PNG\r\n", "x", "an image", ("a PNG image",)) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_of_every_tool(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "text"
    path.write_bytes("ä\r\nb".encode(encoding))
    assert read_text(path) == "ä\r\nb"
    path.write_bytes('{"ä": [1]}\r\n'.encode(encoding))
    assert read_json(path) == {"ä": [1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc\xff", "x, byte 3: a list in UTF-8 is expected there"),
        ("ab".encode("utf-16-le"), "x is UTF-16 text, expected a list"),
        (b"\xff\xfea", "x is UTF-16 text"),
    ],
)
def test_no_text(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_text(content, "x", "a list")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"[1, 2", "it ends in the middle"),
        (b"[1,, 2]", "x is not valid JSON: unexpected character"),
        (b"[" * 100_000 + b"]" * 100_000, "x is not valid JSON: .*recursion|depth"),
        (b"<html>", "x is a web page, expected labels"),
        (b"\x80\x02]", "x is a Python pickle, expected labels"),
        (saved(np.save, np.zeros(3)), "x is a single NumPy array"),
    ],
)
def test_no_json(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_json(content, "x", "labels")


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"1234")
    assert read_bytes(path, 4, "a list") == b"1234"
    monkeypatch.setattr(reading, "MAX_TEXT", 3)
    monkeypatch.setattr(reading, "MAX_LIST", 3)
    for read in (read_text, read_json):
        with pytest.raises(InputError, match=r"text has more than .* too much for a list"):
            read(path, "a list")
    path.write_text(json.dumps(1))
    assert read_json(path) == 1


@pytest.mark.parametrize("value", [b"[]", b"[1.5,2.5]", b'{"a":1}', b'"a"', b"1e1"])
def test_values_that_would_fill_the_memory_are_not_parsed(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"[" + b",".join([value] * 1000) + b"]"
    assert len(parse_json(content, "x")) == 1000
    monkeypatch.setattr(reading, "MAX_VALUES", 50_000)
    with pytest.raises(InputError, match=r"x needs about \d+ MB, too much for labels: give the right file"):
        parse_json(content, "x", "labels")
    assert len(parse_json(b"[" + b"0.1234567890123456789," * 500 + b"1]", "x")) == 501


def test_values_are_shown_on_one_line() -> None:
    assert shown("a\nb\x1b[31m") == "a?b?[31m"
    assert shown("x" * 100, 5) == "xxxxx..."
