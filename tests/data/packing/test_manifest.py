"""What a manifest says is checked before it is used: one line, whatever a stranger or a damage has put there."""

import json
from pathlib import Path
from typing import Any

import pytest

from handlit.data.packing.manifest import read_manifest
from handlit.errors import InputError
from handlit.formats.packed import MANIFEST
from tests.data.packing.packed_data import write_pack

FILE = {"bytes": 1, "sha256": "0" * 64}


#: What is no number of samples.
_COUNTS: tuple[Any, ...] = (None, -1, "8", 1e300, [])


def _each(key: str, *values: Any) -> list[tuple[str, Any]]:
    return [(key, value) for value in values]


#: What one key becomes.
DAMAGES: list[tuple[str, Any]] = [
    *_each("identity", None, 3, "", "/etc", "../" * 11, "0" * 31, "0" * 33, "G" * 32, ["0" * 32]),
    *_each("crop", None, [], "other", "amvur_reference", {"plain": 1}),
    *_each("reach", None, 1, [], {}, {"sides": 1}, {"sides": "1", "pixels": 0}),
    *_each("reach", *({"sides": sides, "pixels": 0} for sides in (-1, None, True, [0.5]))),
    ("reach", {"sides": 1, "pixels": 0, "more": 1}),
    *_each("tips", None, "none", ["ho3d"]),
    *_each("protocol", 1, [], {}),
    *_each("augmentation", None, 1, ["a"]),
    *_each("box_source", None, 1, ["a"]),
    *_each("skipped", None, "a", 3),
    *_each("splits", None, [], "train", {"train": None}, {"../x": {"table": 0, "samples": 1}}),
    *_each("splits", *({"train": {"table": table, "samples": 8}} for table in (None, -1, "0", True, "../x", 7))),
    *_each("splits", *({"train": {"table": 0, "samples": samples}} for samples in _COUNTS)),
    *_each("files", None, [], "images", {}, {"labels/members.npy": FILE}),
    *_each("format", None, 2, "1", []),
]
#: Names that lead elsewhere, or are none of a pack's.
NAMES = (
    "labels/../../../x.txt",
    "labels/../x.npy",
    "/tmp/x",
    "images/../../00000.tar",
    "labels/table0/../../x.npy",
    "labels/table0/other.npy",
    "labels/table0/keys.npy\n",
    "labels\\members.npy",
    "images/00000.tar/x",
    "images/0.tar",
    "",
    "pack.json",
)
ENTRIES: tuple[Any, ...] = (
    None,
    [],
    3,
    {},
    {"bytes": 1},
    {"sha256": "0" * 64},
    *({"bytes": value, "sha256": "0" * 64} for value in (-1, 1.5, "1", True, None, 2**63, 10**30)),
    *({"bytes": 1, "sha256": value} for value in (None, "", "0" * 63, "Z" * 64, 5, ["0" * 64])),
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((write_pack(tmp_path_factory.mktemp("pack")) / MANIFEST).read_bytes())
    return content


def refused(content: bytes) -> str:
    """The message, which is one short line that names the file."""
    with pytest.raises(InputError) as caught:
        read_manifest(content, Path("there/pack.json"))
    message = str(caught.value)
    assert message.startswith("there/pack.json")
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_what_pack_wrote_is_read(manifest: dict[str, Any]) -> None:
    assert read_manifest(json.dumps(manifest).encode(), "pack.json") == manifest


@pytest.mark.parametrize(("key", "value"), DAMAGES)
def test_every_key_is_checked(key: str, value: Any, manifest: dict[str, Any]) -> None:
    refused(json.dumps({**manifest, key: value}).encode())
    if key != "files":
        refused(json.dumps({name: known for name, known in manifest.items() if name != key}).encode())


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_of_the_folder_are_refused(name: str, manifest: dict[str, Any]) -> None:
    assert "no pack has" in refused(json.dumps({**manifest, "files": {**manifest["files"], name: FILE}}).encode())


@pytest.mark.parametrize("entry", ENTRIES)
def test_files_without_sizes_and_checksums_are_refused(entry: Any, manifest: dict[str, Any]) -> None:
    files = {**manifest["files"], "images/00000.tar": entry}
    assert "bytes and sha256" in refused(json.dumps({**manifest, "files": files}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b"{",
        b"<!DOCTYPE html><html>sign in</html>",
        b"\xff\xfe{\0",
        b"[" * 100_000,
        b'{"format":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format": NaN}',
        b'{"format": 1e999}',
        b'{"format": ' + b"9" * 100_000 + b"}",
        b"\0" * 1000,
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    refused(content)


def test_nested_values_are_refused_by_their_type(manifest: dict[str, Any]) -> None:
    nested: list[Any] = []
    for _ in range(900):
        nested = [nested]
    assert "a list" in refused(json.dumps({**manifest, "tips": nested}).encode())
