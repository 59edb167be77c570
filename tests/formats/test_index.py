"""Indices: built once, whole or not at all, and built again when the files change."""

import json
import logging
import multiprocessing
import os
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from handlit.formats.frame_table import FrameTable
from handlit.formats.index import cached_arrays, cached_frames, fingerprint
from tests.processes import server


class Builder:
    """Builds arrays and counts how often."""

    def __init__(self, value: int = 7) -> None:
        self.calls = 0
        self.value = value

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return {"numbers": np.full(100, self.value), "names": np.array(["a", "bc"])}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANDLIT_CACHE", str(tmp_path / "user"))
    folder = tmp_path / "data"
    (folder / "meta").mkdir(parents=True)
    (folder / "list.txt").write_text("a\nb\n")
    (folder / "meta" / "a.pkl").write_bytes(b"1")
    return folder


def identity(root: Path, settings: str = "") -> str:
    return fingerprint(root, [root / "list.txt"], [root / "meta"], settings)


def test_built_once_and_mapped(root: Path) -> None:
    build = Builder()
    for _ in range(3):
        arrays = cached_arrays("train", root, identity(root), build)
        assert isinstance(arrays["numbers"], np.memmap)
        np.testing.assert_array_equal(arrays["numbers"], 7)
        assert arrays["names"].tolist() == ["a", "bc"]
    assert build.calls == 1
    assert [path.name for path in (root / ".handlit").iterdir()] == [f"train-{identity(root)}"]


def test_the_fingerprint_follows_every_change(root: Path) -> None:
    seen = [identity(root), identity(root, "other settings")]
    (root / "list.txt").write_text("a\nb\nc\n")
    seen.append(identity(root))
    (root / "meta" / "b.pkl").write_bytes(b"1")
    seen.append(identity(root))
    os.utime(root / "meta" / "b.pkl", ns=(1, 1))
    seen.append(identity(root))
    (root / "meta" / "b.pkl").rename(root / "meta" / "c.pkl")
    seen.append(identity(root))
    (root / "list.txt").unlink()
    seen.append(identity(root))
    assert len(set(seen)) == len(seen)
    assert identity(root) == seen[-1]


def test_a_moved_dataset_keeps_its_index(root: Path) -> None:
    build = Builder()
    cached_arrays("train", root, identity(root), build)
    moved = root.rename(root.with_name("moved"))
    cached_arrays("train", moved, identity(moved), build)
    assert build.calls == 1


def test_a_changed_tree_replaces_the_index(root: Path) -> None:
    cached_arrays("train", root, identity(root), Builder(1))
    (root / "list.txt").write_text("a\n")
    arrays = cached_arrays("train", root, identity(root), Builder(2))
    assert arrays["numbers"][0] == 2
    assert len(list((root / ".handlit").iterdir())) == 1


def test_indices_of_other_names_stay(root: Path) -> None:
    cached_arrays("train", root, identity(root), Builder(1))
    cached_arrays("train-visible", root, identity(root), Builder(2))
    cached_arrays("train", root, identity(root, "new"), Builder(3))
    kept = Builder()
    assert cached_arrays("train-visible", root, identity(root), kept)["numbers"][0] == 2
    assert kept.calls == 0


@pytest.mark.parametrize("damage", ["truncate", "no list", "nonsense", "a list", "a column less", "no array"])
def test_a_damaged_index_is_built_again(root: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cached_arrays("train", root, identity(root), Builder(1))
    (folder,) = (root / ".handlit").iterdir()
    if damage == "truncate":
        (folder / "numbers.npy").write_bytes((folder / "numbers.npy").read_bytes()[:-8])
    elif damage == "no list":
        (folder / "index.json").unlink()
    elif damage == "a column less":
        (folder / "names.npy").unlink()
    elif damage == "no array":
        (folder / "numbers.npy").write_bytes(b"\x93NUMPY\x01\0\x08\0" + b"(" * 8)
    else:
        (folder / "index.json").write_text("{" if damage == "nonsense" else "[]")
    with caplog.at_level(logging.WARNING):
        arrays = cached_arrays("train", root, identity(root), Builder(2))
    assert arrays["numbers"][-1] == 2
    assert str(folder) in caplog.text
    assert isinstance(arrays["numbers"], np.memmap)


def test_a_read_only_dataset_uses_the_users_cache(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, root / ".handlit")
    build = Builder()
    for _ in range(2):
        arrays = cached_arrays("train", root, identity(root), build)
        assert isinstance(arrays["numbers"], np.memmap)
    assert build.calls == 1
    assert not (root / ".handlit").exists()
    assert Path(os.environ["HANDLIT_CACHE"]).is_dir()
    assert "cannot be kept" in caplog.text


def test_without_any_writable_folder_the_arrays_stay_in_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, root / ".handlit", Path(os.environ["HANDLIT_CACHE"]))
    np.testing.assert_array_equal(cached_arrays("train", root, identity(root), Builder())["numbers"], 7)


def test_a_full_disk_leaves_nothing_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    np.testing.assert_array_equal(cached_arrays("train", root, identity(root), Builder())["numbers"], 7)
    assert list((root / ".handlit").iterdir()) == []


def test_what_a_killed_process_was_building_is_removed(root: Path) -> None:
    (root / ".handlit").mkdir()
    host = re.sub(r"\W", "-", socket.gethostname())
    mine, left = (root / ".handlit" / f".train-0.{host}-{process}.part" for process in (os.getpid(), 2**22 + 1))
    mine.mkdir()
    left.mkdir()
    (left / "numbers.npy").write_text("half")
    cached_arrays("val", root, identity(root), Builder())
    assert mine.exists()
    assert not left.exists()


def _build_slowly(root: Path, value: int, results: "multiprocessing.Queue[int]") -> None:
    def build() -> dict[str, np.ndarray]:
        time.sleep(0.5)
        return {"numbers": np.full(10, value)}

    results.put(int(cached_arrays("train", root, identity(root), build)["numbers"][0]))


def test_two_processes_that_build_at_once_end_with_one_index(root: Path) -> None:
    context = server()
    results: multiprocessing.Queue[int] = context.Queue()
    processes = [context.Process(target=_build_slowly, args=(root, value, results)) for value in (1, 2)]
    for process in processes:
        process.start()
    values = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert len(values) == 1
    assert len(list((root / ".handlit").iterdir())) == 1


def refuse(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Make folders impossible to create, as on a read-only disk: whoever runs the tests may write anywhere."""
    make = Path.mkdir

    def mkdir(self: Path, *args: object, **kwargs: object) -> None:
        if any(folder == self or folder in self.parents for folder in folders):
            raise PermissionError(13, "Permission denied", str(self))
        make(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", mkdir)


def small_table(count: int = 3) -> FrameTable:
    return FrameTable(
        keys=np.array([f"a/{k}" for k in range(count)]),
        images=np.array([f"a/{k}.png" for k in range(count)]),
        image_sizes=np.tile([8, 6], (count, 1)),
        intrinsics=np.tile(np.eye(3), (count, 1, 1)),
        boxes=np.ones((count, 4)),
    )


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("nonsense", np.zeros(3)),
        ("boxes", None),
        ("boxes", np.ones((2, 4))),
        ("boxes", np.full((3, 4), "1")),
        ("keys", np.array("a/0")),
        ("intrinsics", np.zeros((3, 3, 3))),
        ("images", np.array(["a/0.png", "a/1.png", "/etc/hostname"])),
        ("images", np.array(["a/0.png", "a/1.png", "../2.png"])),
    ],
)
def test_an_index_of_a_stranger_is_built_again(
    root: Path, name: str, array: np.ndarray | None, caplog: pytest.LogCaptureFixture
) -> None:
    cached_frames("train", root, identity(root), small_table)
    (folder,) = (root / ".handlit").iterdir()
    (folder / f"{name}.npy").unlink(missing_ok=True)
    if array is not None:
        np.save(folder / f"{name}.npy", array)
    listed = {"identity": identity(root), "arrays": sorted(path.stem for path in folder.glob("*.npy"))}
    (folder / "index.json").write_text(json.dumps(listed))
    frames = cached_frames("train", root, identity(root), small_table)
    for column, values in small_table().columns().items():
        np.testing.assert_array_equal(frames.columns()[column], values)
    assert "is damaged" in caplog.text


def test_a_pipe_in_place_of_an_index_is_not_waited_for(root: Path) -> None:
    cached_arrays("train", root, identity(root), Builder(1))
    (folder,) = (root / ".handlit").iterdir()
    (folder / "index.json").unlink()
    os.mkfifo(folder / "index.json")
    assert cached_arrays("train", root, identity(root), Builder(2))["numbers"][0] == 2
