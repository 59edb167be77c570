"""Loggers that fail cost a warning."""

import errno
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger

from handlit.callbacks import LoggerGuard, NonFiniteRecord, ResumableCSVLogger
from handlit.hand.asset import HandAsset
from handlit.methods import AMVUR
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from tests.methods.hands import SIZE, hand_samples, loader

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|val_dataloader|srun|eval mode|litlogger|LeafSpec)")


def network(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
    return AMVURNetwork(asset, tips, Backbone("resnet10t"), hidden=(32, 16, 8), layers=1, head_hidden=64, dropout=0.3)


def fit(folder: Path, method: AMVUR, samples: list[Any], loggers: Any = False, **settings: Any) -> None:
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=2,
        logger=loggers,
        callbacks=[NonFiniteRecord(), LoggerGuard()],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **settings},
    )
    trainer.fit(method, loader(samples, 2))


class Gone(Logger):
    """A server that has gone away."""

    name = "gone"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def _fail(self, name: str) -> None:
        self.asked.add(name)
        raise ConnectionError(f"{name}: no route to host")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self._fail("log_hyperparams")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._fail("log_metrics")

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        self._fail("log_graph")

    def save(self) -> None:
        self._fail("save")

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._fail("after_save_checkpoint")

    def finalize(self, status: str) -> None:
        self._fail("finalize")


def test_a_dead_logger_changes_nothing_but_the_log(tmp_path: Path) -> None:
    weights, gone = [], Gone()
    for loggers in (False, [gone, ResumableCSVLogger(str(tmp_path))]):
        torch.manual_seed(0)
        method = AMVUR(network, image_size=SIZE)
        if loggers:
            with pytest.warns(UserWarning, match="Gone failed, and the run continues .* no route to host"):
                fit(tmp_path, method, hand_samples(4), loggers, enable_checkpointing=True)
        else:
            fit(tmp_path, method, hand_samples(4))
        weights.append(method.state_dict())
    # which Lightning asks for where a method keeps its settings
    gone.log_hyperparams({"a": 1})
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert gone.asked == {"log_hyperparams", "log_metrics", "log_graph", "save", "after_save_checkpoint", "finalize"}
    # the other logger is not affected
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1 + 4


def test_a_full_disk_changes_nothing_but_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = ResumableCSVLogger(str(tmp_path))

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logger.experiment, "save", full)
    method = AMVUR(network, image_size=SIZE)
    with pytest.warns(UserWarning, match="ResumableCSVLogger failed, .* No space left on device"):
        fit(tmp_path, method, hand_samples(4), [logger])
    assert method.trainer.global_step == 4
