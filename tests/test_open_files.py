"""Commands of thousands of batches live with few open files: nobody keeps the shared memory of a loader's workers."""

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader
from typing_extensions import override

from handlit.callbacks import HypothesisEvaluation, PredictedScale
from handlit.types import HandBatch, collate
from tests.callbacks.output.test_hypothesis_export import mean_hand
from tests.methods.hands import hand_samples
from tests.processes import ranks

#: Open files that a process is allowed here; 1024 are usual.
LIMIT = 256
BATCHES = 120


class OpenFiles(pl.Callback):
    """Counts this process's open files after each batch."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    @override
    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self._count()

    @override
    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self._count()

    @override
    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        self._count()

    @override
    def on_predict_batch_end(self, *_: Any, **__: Any) -> None:
        self._count()

    def _count(self) -> None:
        self.counts.append(len(os.listdir("/proc/self/fd")))


def every_command(rank: int, folder: Path) -> None:
    """Fit with validation, validate, test and predict with few open files allowed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    samples: Any = hand_samples(BATCHES)
    # to forked workers the samples need not be sent
    workers: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": "fork"}
    loader: DataLoader[HandBatch] = DataLoader(samples, collate_fn=collate, **workers)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    for command in ("fit", "validate", "test", "predict"):
        watch = OpenFiles()
        callbacks = [HypothesisEvaluation(num_hypotheses=1), PredictedScale(), watch]
        trainer = pl.Trainer(
            accelerator="cpu", devices=1, max_epochs=1, default_root_dir=folder, callbacks=callbacks, **quiet
        )
        if command == "fit":
            trainer.fit(mean_hand(), loader, loader)
        else:
            getattr(trainer, command)(mean_hand(), loader)
        assert len(watch.counts) >= BATCHES, command
        # a batch that is being fetched has two dozen of them
        early, late = (part.min() for part in np.array_split(watch.counts, 2))
        assert late < early + BATCHES / 3, f"{command}: {early} open files grew to {late}"


def test_open_files_do_not_grow_with_batches(tmp_path: Path) -> None:
    ranks(every_command, (tmp_path,), 1)
