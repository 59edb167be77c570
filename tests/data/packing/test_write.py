"""Packing resumes after anything that ends it, and its files depend on the dataset and the options alone."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from handlit.cli.pack import pack as command
from handlit.data.packed import PackedData
from handlit.data.packing import shards
from handlit.data.packing.read import Pack
from handlit.data.packing.write import pack
from handlit.errors import InputError
from handlit.files import sha256
from handlit.formats.packed import MANIFEST
from tests.data.packing.packed_data import Small, write_small

STAGES = ("fit", "predict")
#: A run that takes a while over each image, or may not write files larger than a limit.
SLOW = """
import sys, time, resource
from pathlib import Path
from handlit.data.packing import shards
from handlit.data.packing.write import pack
from tests.data.packing.packed_data import Small
encode = shards.encode
def slow(*arguments):
    time.sleep(float(sys.argv[3]))
    return encode(*arguments)
shards.encode = slow
if len(sys.argv) > 4:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
pack(Small(Path(sys.argv[1])), Path(sys.argv[2]), ("fit", "predict"), workers=0, shard_images=5)
"""
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("source") / "original")


def run(root: Path, out: Path, workers: int = 0, **options: object) -> None:
    pack(Small(root), out, STAGES, workers=workers, shard_images=5, **options)  # type: ignore[arg-type]


def checksums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_workers_do_not_matter_and_a_finished_pack_stays(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "one")
    run(root, tmp_path / "two", workers=2)
    first = checksums(tmp_path / "one")
    assert first == checksums(tmp_path / "two")
    assert len([name for name in first if name.endswith(".tar")]) == 3
    changed = (tmp_path / "one" / MANIFEST).stat().st_mtime_ns
    run(root, tmp_path / "one")
    assert (tmp_path / "one" / MANIFEST).stat().st_mtime_ns == changed


def test_killed_run_resumes(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "whole")
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SLOW, root, out, "0.1"], cwd=REPOSITORY)
    deadline = time.monotonic() + 300
    # the second chunk is being written
    while not list(out.glob(".packing/.00001.*.part.tar")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / MANIFEST).exists()
    assert [path.name for path in (out / "images").iterdir()] == ["00000.tar"]
    with pytest.raises(FileNotFoundError, match="was not finished"):
        Pack(str(out))
    written = (out / "images" / "00000.tar").stat().st_mtime_ns
    run(root, out)
    assert (out / "images" / "00000.tar").stat().st_mtime_ns == written
    assert checksums(out) == checksums(tmp_path / "whole")


def test_full_disk_is_reported_and_the_run_resumes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, add, calls = tmp_path / "full", shards.add, []

    def full(*arguments: object) -> tuple[int, int]:
        calls.append(arguments)
        if len(calls) > 14:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shards, "add", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left.*run the same command again"):
        run(root, out)
    assert [path.name for path in (out / "images").iterdir()] == ["00000.tar"]
    assert not list(out.rglob("*.part*"))
    monkeypatch.setattr(shards, "add", add)
    run(root, out)
    run(root, tmp_path / "whole")
    assert checksums(out) == checksums(tmp_path / "whole")


def test_a_limit_of_the_system_is_reported(root: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", SLOW, str(root), str(tmp_path / "out"), "0", "4096"]
    done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "InputError" in done.stderr
    assert "File too large" in done.stderr
    assert not list((tmp_path / "out").rglob("*.tar"))


def test_output_that_cannot_be_written_is_reported(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(root, tmp_path / "file" / "out")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(InputError, match="Read-only file system"):
        run(root, tmp_path / "out")


def test_a_read_only_source_is_only_read(root: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [root, *root.iterdir()]}
    run(root, tmp_path / "out")
    assert before == {path: path.stat().st_mtime_ns for path in [root, *root.iterdir()]}


def test_another_dataset_or_option_does_not_go_into_the_same_folder(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(root, out)
    with pytest.raises(InputError, match="other data or options"):
        run(root, out, quality=50)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds other files"):
        run(root, tmp_path / "mine")


def test_unreadable_image_ends_the_run_or_is_left_out(tmp_path: Path) -> None:
    root = write_small(tmp_path / "broken")
    damaged = root / "7.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(InputError, match=r"7\.png .*cut short"):
        run(root, tmp_path / "raise")
    with pytest.raises(InputError, match="at most 0 may"):
        run(root, tmp_path / "bound", on_error="skip", max_errors=0)
    run(root, tmp_path / "skip", on_error="skip")
    module = PackedData(str(tmp_path / "skip"), image_size=48)
    module.setup("fit")
    train: Any = module.datasets["train"]
    keys = [train[k].key for k in range(len(train))]
    assert keys == [f"frame/{k}" for k in (3, 4, 5, 6, 8, 9, 10)]
    assert len(module.pack.manifest["skipped"]) == 1
    # a submission needs every frame
    (root / "11.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"11\.png"):
        run(root, tmp_path / "evaluation", on_error="skip")


def test_modules_that_cannot_be_packed(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cuts whole pixels"):
        pack(Small(root, None, "amvur_reference"), tmp_path / "out", STAGES)


def test_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str], root: Path) -> None:
    with pytest.raises(InputError, match="ROOT and --out DIR"):
        command([])
    with pytest.raises(InputError, match="--out DIR is missing"):
        command([str(tmp_path)])
    with pytest.raises(InputError, match="no dataset that is known"):
        command([str(tmp_path), "--out", str(tmp_path / "out")])
    run(root, tmp_path / "packed")
    command(["--verify", str(tmp_path / "packed")])
    assert "as they were packed" in capsys.readouterr().out
