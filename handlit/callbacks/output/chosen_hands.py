"""Which hands of a dataset are shown."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from handlit.callbacks.trainer_parts import num_predicted
from handlit.errors import check_number
from handlit.types import HandBatch, HandPrediction, PredictedBatch


def spread_evenly(count: int, size: int) -> list[int]:
    """Up to `count` positions of a dataset, evenly from its first to its last sample.

    Args:
        count: Number of positions; all of them where the dataset is smaller.
        size: Of the dataset.
    """
    return np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()


class ChosenHands(Callback, ABC):
    """Base of the callbacks that show some hands of what is predicted.

    Args:
        count: Hands, spread evenly over the dataset.
        least: The smallest count that makes sense.
        out: Folder; the subclass's own one in the run folder by default.

    Attributes:
        chosen: Positions of the hands in the dataset, known when predicting starts.
    """

    def __init__(self, count: int, least: int, out: str | None) -> None:
        check_number(f"count of {type(self).__name__}", count, least=least, whole=True)
        self.count = count
        self.out = None if out is None else Path(out)
        self.chosen: set[int] = set()

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.chosen = set(spread_evenly(self.count, num_predicted(trainer)))

    def chosen_rows(self, batch: HandBatch) -> list[int]:
        """Positions in a batch of the hands that are shown."""
        return [row for row, index in enumerate(batch.index.tolist()) if index in self.chosen]

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: PredictedBatch,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        rows = self.chosen_rows(batch)
        if rows:
            self.show(trainer, pl_module, outputs.prediction, batch, rows)

    @abstractmethod
    def show(
        self, trainer: Trainer, method: LightningModule, prediction: HandPrediction, batch: HandBatch, rows: list[int]
    ) -> None:
        """Show the chosen hands of a batch that has some.

        Args:
            trainer: The trainer that predicts.
            method: What predicted.
            prediction: Of the whole batch.
            batch: The batch.
            rows: Positions of the chosen hands in it.
        """
