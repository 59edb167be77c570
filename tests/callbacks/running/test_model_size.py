"""One line says how large a network is."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from handlit.callbacks import ModelSize
from handlit.callbacks.running.model_size import describe
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import method, trainer


class Small(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(400, 500), nn.Linear(10, 4)


def test_all_and_trained_parameters_are_counted() -> None:
    module = Small()
    assert describe(module) == "Small: 0.20 M parameters, all of them trained"
    module.first.requires_grad_(False)
    assert describe(module) == "Small: 0.20 M parameters, 44 of them trained"


def test_a_training_says_it_once_and_nothing_about_operations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, enable_model_summary=True, callbacks=[ModelSize()])
    run.fit(method(), loader(hand_samples(2), 2))
    printed = capsys.readouterr().out
    assert printed.count(" parameters, ") == 1
    assert "FLOPs" not in printed
