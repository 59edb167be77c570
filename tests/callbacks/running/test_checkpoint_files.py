"""Checkpoint files: whole or not at all, damage found, strangers refused."""

import errno
import zipfile
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from handlit.callbacks.running.checkpoint_files import (
    DurableCheckpoints,
    best_checkpoint,
    damage,
    newest_checkpoint,
    read_checkpoint,
)
from handlit.errors import InputError
from handlit.run_folder import RunFolder

LAST = "last.ckpt"
STATE: dict[str, Any] = {
    "state_dict": {"weight": torch.arange(5000.0)},
    "epoch": 3,
    "pytorch-lightning_version": pl.__version__,
}


def write(path: Path, state: Any = STATE) -> Path:
    DurableCheckpoints().save_checkpoint(state, path)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / LAST)
    loaded = DurableCheckpoints().load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["weight"], STATE["state_dict"]["weight"])
    assert loaded["epoch"] == 3
    assert [file.name for file in path.parent.iterdir()] == [LAST]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_flipped_or_missing_part_is_found(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / LAST)
    assert damage(path) is None
    content = bytearray(path.read_bytes())
    position = int(len(content) * share)
    short, flipped = tmp_path / "short.ckpt", tmp_path / "flipped.ckpt"
    short.write_bytes(content[:position])
    assert damage(short)
    content[position] ^= 1
    flipped.write_bytes(content)
    assert damage(flipped)
    with pytest.raises(InputError, match="damaged"):
        DurableCheckpoints().load_checkpoint(flipped)


def test_a_resumed_run_checks_its_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, checked = RunFolder(tmp_path), []
    write(run.last)
    check = zipfile.ZipFile.testzip

    def counting(archive: zipfile.ZipFile) -> str | None:
        checked.append(archive.filename)
        return check(archive)

    monkeypatch.setattr(zipfile.ZipFile, "testzip", counting)
    path = newest_checkpoint(run)
    assert path == run.last
    DurableCheckpoints().load_checkpoint(path)
    assert checked == [str(path)]
    write(path, {**STATE, "epoch": 4})
    assert DurableCheckpoints().load_checkpoint(path)["epoch"] == 4
    assert len(checked) == 2


def test_a_full_disk_costs_nothing_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / LAST)

    def full(checkpoint: Any, file: Any) -> None:
        file.write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        write(path, {"state_dict": {}})
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == [LAST]
    assert DurableCheckpoints().load_checkpoint(path)["epoch"] == 3


def test_the_newest_sound_one_is_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunFolder(tmp_path)
    assert newest_checkpoint(run) is None
    write(run.previous)
    assert newest_checkpoint(run) == run.previous
    write(run.last)
    assert newest_checkpoint(run) == run.last
    assert not caplog.text
    run.last.write_bytes(run.last.read_bytes()[:-30])
    assert newest_checkpoint(run) == run.previous
    assert f"resuming from {run.previous}" in caplog.text
    run.previous.write_bytes(b"")
    with pytest.raises(InputError, match="start anew"):
        newest_checkpoint(run)


def test_the_best_weights_are_evaluated_else_the_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="--ckpt_path"):
        best_checkpoint(run)
    write(run.last)
    assert best_checkpoint(run) == run.last
    write(run.best)
    assert best_checkpoint(run) == run.best


class Stranger:
    """Code that a checkpoint could bring along."""


def nested(levels: int) -> list[Any]:
    """Small in memory, and endless for whoever walks through it."""
    part: list[Any] = [1]
    for _ in range(levels):
        part = [part, part]
    return part


WRONG: dict[str, tuple[Any, str]] = {
    "code": ({**STATE, "more": Stranger()}, "Stranger, which could run code"),
    "no weights": ({"epoch": 1, "pytorch-lightning_version": "2"}, "it has no state_dict"),
    "no version": ({"state_dict": {}}, "it has no pytorch-lightning_version"),
    "a list": ([1, 2], "is no checkpoint of Lightning"),
    "weights that are a list": ({**STATE, "state_dict": [1]}, "state_dict cannot be"),
    "weights that are texts": ({**STATE, "state_dict": {"weight": "x"}}, "more than dense tensors"),
    "weights without a name": ({**STATE, "state_dict": {1: torch.ones(1)}}, "more than dense tensors"),
    "sparse weights": ({**STATE, "state_dict": {"weight": torch.eye(2).to_sparse()}}, "more than dense tensors"),
    "weights of nowhere": ({**STATE, "state_dict": {"weight": torch.ones(2, device="meta")}}, "more than dense"),
    "an epoch that is a text": ({**STATE, "epoch": "three"}, "epoch cannot be"),
    "a negative step": ({**STATE, "global_step": -1}, "global_step cannot be"),
    "progress that is a text": ({**STATE, "loops": {"fit_loop": {"total": "x"}}}, "loops cannot be"),
    "progress without end": ({**STATE, "loops": {"fit_loop": nested(60)}}, "loops cannot be"),
    "callbacks that are a list": ({**STATE, "callbacks": []}, "callbacks cannot be"),
    "optimisers by name": ({**STATE, "optimizer_states": {}}, "optimizer_states cannot be"),
    "a method that is a list": ({**STATE, "handlit": nested(60)}, "handlit cannot be"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.ckpt"
    state, message = WRONG[name]
    torch.save(state, path)
    with pytest.raises(InputError, match=message) as error:
        DurableCheckpoints().load_checkpoint(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    for content in (b"", b"state_dict", b"PK\x03\x04", bytes(10_000)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no checkpoint"):
            read_checkpoint(path)
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="no checkpoint"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 28))
    with pytest.raises(InputError, match="is a packed archive"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(InputError, match="is not loaded"):
        read_checkpoint(path)
    with pytest.raises(InputError, match="is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "nowhere.ckpt")
