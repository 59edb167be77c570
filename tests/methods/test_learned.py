"""The optimiser and the learning-rate schedules of methods that are trained by gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from typing_extensions import override

from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import method, trainer


@pytest.mark.parametrize("schedule", ["step", "one_cycle"])
def test_schedules(tmp_path: Path, schedule: str) -> None:
    module = method(learning_rate=1e-3, schedule=schedule, milestones=(2,), warmup=0.5)
    rates: list[float] = []

    class Note(pl.Callback):
        @override
        def on_train_batch_start(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
        ) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    run = trainer(tmp_path, max_epochs=3, enable_checkpointing=False, callbacks=[Note()])
    run.fit(module, loader(hand_samples(4), 2))
    if schedule == "step":
        np.testing.assert_allclose(rates, [1e-3] * 4 + [1e-4] * 2)
    else:
        assert rates[0] < 1e-4
        assert rates[-1] < 1e-4
        np.testing.assert_allclose(max(rates), 1e-3, rtol=0.3)
