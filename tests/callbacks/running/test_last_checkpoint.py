"""The last states of a training: moved folders, and runs that were planned for fewer steps."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from handlit.callbacks import DurableCheckpoints, LastCheckpoint
from handlit.errors import InputError
from handlit.run_folder import RunFolder
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import method, trainer


def fit(folder: Path, epochs: int, resume: Path | None = None, **settings: Any) -> pl.Trainer:
    best = pl.callbacks.ModelCheckpoint(folder, "best", monitor="val/mpjpe_mm", enable_version_counter=False)
    run = trainer(folder, max_epochs=epochs, callbacks=[best, LastCheckpoint()], plugins=[DurableCheckpoints()])
    run.fit(method(**settings), loader(hand_samples(4), 2), loader(hand_samples(2, seed=1), 2), ckpt_path=resume)
    return run


def test_a_run_in_a_moved_folder_knows_its_best_checkpoint(tmp_path: Path) -> None:
    before: Any = fit(tmp_path / "here", 1).checkpoint_callback
    (tmp_path / "here").rename(tmp_path / "there")
    # it cannot get better without learning
    after: Any = fit(tmp_path / "there", 2, RunFolder(tmp_path / "there").last).checkpoint_callback
    assert after.best_model_path == str(tmp_path / "there" / "best.ckpt")
    assert after.best_model_score <= before.best_model_score


def test_a_run_is_not_resumed_beyond_its_learning_rate(tmp_path: Path) -> None:
    fit(tmp_path, 1, schedule="one_cycle")
    with pytest.raises(InputError, match=r"planned for 2 steps.* resumed for 4"):
        fit(tmp_path, 2, RunFolder(tmp_path).last, schedule="one_cycle")
