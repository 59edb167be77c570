"""Arrays of labels are checked before they are used: one line for whatever a stranger or a damage has put there."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlit.data.packed import PackedData
from handlit.data.packing.labels import check_members, check_rows
from handlit.data.packing.manifest import shard_file
from handlit.data.verification import verify
from handlit.errors import InputError
from handlit.files import sha256
from handlit.formats.packed import MANIFEST
from tests.data.packing.packed_data import write_pack


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("pack"))


def header(text: str, size: int = 200) -> bytes:
    """An array file whose header says what a text says."""
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + len(line).to_bytes(2, "little") + line + bytes(size)


class Trap:
    """Unpickling it ends the process."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("import os; os._exit(99)",)


def refused(packed: Path, folder: Path, name: str, content: bytes) -> str:
    """The message about a pack with another file, whose manifest says that it is so."""
    copy = Path(shutil.copytree(packed, folder / "copy"))
    (copy / name).write_bytes(content)
    manifest = json.loads((copy / MANIFEST).read_bytes())
    manifest["files"][name] = {"bytes": len(content), "sha256": sha256(copy / name)}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError) as caught:
        list(loaded(copy))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def loaded(folder: Path) -> Any:
    module = PackedData(str(folder), image_size=48, batch_size=4, num_workers=0)
    module.setup("fit")
    return module.val_dataloader()


@pytest.mark.parametrize("name", ["members", "regions", "val", "table0/keys", "table0/joints_cam", "table0/masks"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"PK\3\4" + bytes(100),
        b"\x93NUMPY",
        pickle.dumps(Trap()),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (-1, 5)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 5)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000, 5)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': 5}"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 3, 3)}", 1000),
        header("{'descr': '|V8', 'fortran_order': False, 'shape': (3,)}"),
        header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,)}"),
        header("(" * 110),
        header("__import__('os')._exit(99)"),
    ],
)
def test_other_arrays_are_refused(name: str, content: bytes, packed: Path, tmp_path: Path) -> None:
    assert f"{name}.npy" in refused(packed, tmp_path, f"labels/{name}.npy", content)


@pytest.mark.parametrize(
    ("column", "value"),
    [(column, value) for column in (0, 1, 2, 4) for value in (-1, 2**40, 2**63 - 1, -(2**63))] + [(0, 3), (3, 2**40)],
)
def test_images_outside_of_their_chunk_are_refused(column: int, value: int, packed: Path, tmp_path: Path) -> None:
    members = np.load(packed / "labels" / "members.npy")
    members[:, column] = value
    assert "chunk" in refused(packed, tmp_path, "labels/members.npy", changed(members))


def test_verification_reports_what_is_refused(packed: Path, tmp_path: Path) -> None:
    message = refused(packed, tmp_path, "labels/val.npy", changed(np.array([0, 1, 99])))
    problems = verify(tmp_path / "copy", workers=0).problems
    assert [(finding.name, finding.message) for finding in problems] == [("damaged pack", message)]


@pytest.mark.parametrize("value", [-1, 2**31 - 1])
def test_parts_that_no_image_has_are_refused(value: int, packed: Path, tmp_path: Path) -> None:
    regions = np.load(packed / "labels" / "regions.npy")
    regions[2, 1] = value
    refused(packed, tmp_path, "labels/regions.npy", changed(regions))


@pytest.mark.parametrize("value", [-1, 12, 2**62])
def test_rows_outside_of_the_table_are_refused(value: int, packed: Path, tmp_path: Path) -> None:
    refused(packed, tmp_path, "labels/val.npy", changed(np.array([0, 1, value])))


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_sizes", 0), ("image_sizes", -1), ("image_sizes", 2**40), ("boxes", np.nan), ("intrinsics", np.inf)],
)
def test_frames_that_cannot_be_cropped_are_named(name: str, value: float, packed: Path, tmp_path: Path) -> None:
    column = np.load(packed / "labels" / "table0" / f"{name}.npy")
    column[1] = value
    assert "frame/1" in refused(packed, tmp_path, f"labels/table0/{name}.npy", changed(column))


@pytest.mark.parametrize("name", ["", "x", "images/00000.tar/00000099.jpg", "images/00000.tar/-0000001.jpg"])
def test_images_that_are_not_there_are_named(name: str, packed: Path, tmp_path: Path) -> None:
    images = np.load(packed / "labels" / "table0" / "images.npy")
    images[:] = name
    assert "no image" in refused(packed, tmp_path, "labels/table0/images.npy", changed(images))


def test_a_mask_in_colour_is_refused(packed: Path, tmp_path: Path) -> None:
    members = np.load(packed / "labels" / "members.npy")
    members[:, 3:] = members[:, 1:3]
    assert "no mask" in refused(packed, tmp_path, "labels/members.npy", changed(members))


def changed(array: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_split_may_have_no_rows() -> None:
    columns = {
        "keys": np.array(["a"]),
        "image_sizes": np.array([[4, 4]]),
        "intrinsics": np.eye(3)[None],
        "boxes": np.zeros((1, 4)),
    }
    check_rows(np.array([], dtype=np.int64), columns, Path("pack"))
    with pytest.raises(InputError, match="names rows that its table of 1 frames does not have"):
        check_rows(np.array([1]), columns, Path("pack"))


def test_the_largest_image_has_65536_pixels_a_side() -> None:
    side = 65_536
    columns = {
        "keys": np.array(["a"]),
        "image_sizes": np.array([[side, side]]),
        "intrinsics": np.eye(3)[None],
        "boxes": np.ones((1, 4)),
    }
    rows, where = np.zeros(1, dtype=np.int64), Path("val.npy")
    check_rows(rows, columns, where)
    with pytest.raises(InputError, match="frame 'a' has no image size"):
        check_rows(rows, columns | {"image_sizes": np.array([[side, side + 1]])}, where)
    members, files = np.array([[0, 0, 10, 0, 0]]), {shard_file(0): {"bytes": 10}}
    check_members(members, np.array([[0, 0, side, side]]), files, where)
    with pytest.raises(InputError, match="image 0 does not lie in a chunk"):
        check_members(members, np.array([[0, 0, side, side + 1]]), files, where)
