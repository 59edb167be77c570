"""Checkpoint files: whole or not at all, damage found, strangers refused; the log of a run that goes on."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from handlit.callbacks.running.checkpoints import (
    LAST,
    PREVIOUS,
    DurableCheckpoints,
    LastCheckpoint,
    ResumableCSVLogger,
    damage,
    newest_checkpoint,
)
from handlit.errors import InputError
from handlit.methods import AMVUR
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import method, trainer

STATE = {"state_dict": {"weight": torch.arange(5000.0)}, "epoch": 3, "pytorch-lightning_version": pl.__version__}


def write(path: Path, state: Any = STATE) -> Path:
    DurableCheckpoints().save_checkpoint(state, path)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / LAST)
    loaded = DurableCheckpoints().load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["weight"], STATE["state_dict"]["weight"])
    assert loaded["epoch"] == 3
    assert [file.name for file in path.parent.iterdir()] == [LAST]


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_every_flipped_or_missing_part_is_found(tmp_path: Path, place: float) -> None:
    path = write(tmp_path / LAST)
    assert damage(path) is None
    content = bytearray(path.read_bytes())
    position = int(len(content) * place)
    path.write_bytes(content[:position])
    assert damage(path)
    content[position] ^= 1
    path.write_bytes(content)
    assert damage(path)
    with pytest.raises(InputError, match="damaged"):
        DurableCheckpoints().load_checkpoint(path)


def test_a_full_disk_costs_nothing_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / LAST)

    def full(checkpoint: Any, file: Any) -> None:
        file.write(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        write(path, {"state_dict": {}})
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == [LAST]
    assert DurableCheckpoints().load_checkpoint(path)["epoch"] == 3


def test_the_newest_sound_one_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert newest_checkpoint(tmp_path) is None
    previous = write(tmp_path / PREVIOUS)
    assert newest_checkpoint(tmp_path) == previous
    last = write(tmp_path / LAST)
    assert newest_checkpoint(tmp_path) == last
    assert not capsys.readouterr().out
    last.write_bytes(last.read_bytes()[:-30])
    assert newest_checkpoint(tmp_path) == previous
    assert f"going on from {previous}" in capsys.readouterr().out
    previous.write_bytes(b"")
    with pytest.raises(InputError, match="start anew"):
        newest_checkpoint(tmp_path)


class Stranger:
    """Code that a checkpoint could bring along."""


@pytest.mark.parametrize("state", [{"state_dict": {}, "more": Stranger()}, {"epoch": 1}, [1, 2]])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "file.ckpt"
    torch.save(state, path)
    with pytest.raises(InputError, match=r"file\.ckpt"):
        DurableCheckpoints().load_checkpoint(path)
    path.write_text("state_dict")
    with pytest.raises(InputError, match="no checkpoint"):
        DurableCheckpoints().load_checkpoint(path)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"handlit": {"format": 99, "method": "AMVUR"}, "state_dict": {}}, "update handlit"),
        (
            {"handlit": {"format": 1, "method": "MHEntropy"}, "state_dict": {}},
            "of MHEntropy, the configuration of AMVUR",
        ),
        ({"state_dict": {"a": torch.ones(3), "c": torch.ones(2)}}, r"b is missing; c is not in.*; a is \(3,\), here"),
    ],
)
def test_checkpoints_of_other_methods_and_networks_are_refused(checkpoint: dict[str, Any], message: str) -> None:
    network = SimpleNamespace(state_dict=lambda: {"a": torch.ones(2), "b": torch.ones(1)})
    method = type("AMVUR", (), {"state_dict": staticmethod(network.state_dict)})()
    with pytest.raises(InputError, match=message):
        AMVUR.on_load_checkpoint(method, checkpoint)


def test_a_training_does_not_go_on_from_weights_alone(tmp_path: Path) -> None:
    module = method()
    weights = {"state_dict": module.state_dict(), "pytorch-lightning_version": pl.__version__}
    torch.save(weights, tmp_path / "weights.ckpt")
    with pytest.raises(InputError, match="weights alone"):
        trainer(tmp_path, max_epochs=1).fit(
            module, loader(hand_samples(2), 2), ckpt_path=tmp_path / "weights.ckpt", weights_only=True
        )


def fit(folder: Path, epochs: int, resume: Path | None = None, **settings: Any) -> pl.Trainer:
    best = pl.callbacks.ModelCheckpoint(folder, "best", monitor="val/mpjpe_mm", enable_version_counter=False)
    run = trainer(folder, max_epochs=epochs, callbacks=[best, LastCheckpoint()], plugins=[DurableCheckpoints()])
    run.fit(method(**settings), loader(hand_samples(4), 2), loader(hand_samples(2, seed=1), 2), ckpt_path=resume)
    return run


def test_a_run_in_a_moved_folder_knows_its_best_checkpoint(tmp_path: Path) -> None:
    before = fit(tmp_path / "here", 1).checkpoint_callback
    (tmp_path / "here").rename(tmp_path / "there")
    # it cannot get better without learning
    after = fit(tmp_path / "there", 2, tmp_path / "there" / "checkpoints" / LAST).checkpoint_callback
    assert after.best_model_path == str(tmp_path / "there" / "best.ckpt")
    assert after.best_model_score <= before.best_model_score


def test_a_run_does_not_go_on_beyond_its_learning_rate(tmp_path: Path) -> None:
    fit(tmp_path, 1, schedule="one_cycle")
    with pytest.raises(InputError, match=r"planned for 2 steps.* go on to 4"):
        fit(tmp_path, 2, tmp_path / "checkpoints" / LAST, schedule="one_cycle")


def test_a_log_is_cut_back_and_continued(tmp_path: Path) -> None:
    first = ResumableCSVLogger(str(tmp_path))
    for step in range(4):
        first.log_metrics({"loss": 0.1 * step}, step)
        first.log_metrics({"val": step}, step)
    first.save()
    whole = (tmp_path / "metrics.csv").read_text()

    again = ResumableCSVLogger(str(tmp_path))
    again.save()
    assert (tmp_path / "metrics.csv").read_text() == whole
    again.rewind(2)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == whole.splitlines()[:5]
    for step in (2, 3):
        again.log_metrics({"loss": 0.1 * step}, step)
        again.log_metrics({"val": step}, step)
    again.save()
    assert (tmp_path / "metrics.csv").read_text() == whole

    anew = ResumableCSVLogger(str(tmp_path))
    anew.rewind(0)
    assert not (tmp_path / "metrics.csv").exists()
