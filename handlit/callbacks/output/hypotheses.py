"""While testing, draws hypotheses of every image and measures them: accuracy, diversity, calibration."""

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch.distributed
from rich.console import Console

from handlit.metrics.hypotheses import HypothesisTable, draw, measure
from handlit.metrics.measure import Measure
from handlit.metrics.registry import measures
from handlit.program import program
from handlit.scoring.hypotheses.run import FILE_NAME, HypothesisRun, save_run
from handlit.scoring.hypotheses.summary import Summary, summary_table
from handlit.scoring.table import print_table
from handlit.types import HandBatch, HandPrediction


class HypothesisEvaluation(pl.Callback):
    """Measures every method alike, from what it draws.

    Prints a table, logs ``test/...`` numbers and writes ``hypotheses.npz`` into the run folder, which
    ``handlit compare`` reads.

    Args:
        num_hypotheses: Drawn for each image; 0 leaves the evaluation out.
        temperature: Factor on the spread of what is drawn. MHEntropy's published numbers are of 0.8; calibration is a
            question about 1.
        label: Name of the run in comparisons; the method's name by default.
    """

    def __init__(self, num_hypotheses: int = 200, temperature: float = 1.0, label: str | None = None) -> None:
        self.num_hypotheses = num_hypotheses
        self.temperature = temperature
        self.label = label
        self.table = HypothesisTable()
        self.keys: dict[int, str] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self.table = HypothesisTable().to(pl_module.device)
        self.keys = {}

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and measure."""
        if not self.num_hypotheses:
            return
        prediction: HandPrediction = outputs
        with torch.no_grad():
            columns = measure(draw(prediction, batch, self.num_hypotheses, self.temperature))
        self.table.update(columns, batch)
        self.keys.update(zip(batch.index.tolist(), batch.key, strict=True))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sum up, on every process alike; the first one prints and writes."""
        if not self.num_hypotheses:
            return
        columns = {name: values.cpu().numpy() for name, values in self.table.compute().items()}
        keys = _of_all_processes(self.keys)
        settings = {
            "method": type(pl_module).__name__,
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "data": str(getattr(trainer.datamodule, "root", type(trainer.datamodule).__name__)),  # type: ignore[attr-defined]
            "hypotheses": self.num_hypotheses,
            "temperature": self.temperature,
        }
        names = np.array([keys[index] for index in columns["index"].tolist()])
        run = HypothesisRun(self.label or type(pl_module).__name__, names, columns, settings)
        summary = Summary(run)
        for record in measures(Measure):
            if record.logged and "all" in summary[record.key]:
                value = summary[record.key]["all"].value
                pl_module.log(f"test/{record.key}", value, rank_zero_only=False, sync_dist=False)
        if trainer.is_global_zero:
            path = Path(trainer.default_root_dir) / FILE_NAME
            save_run(path, run)
            print_table(summary_table(summary), Console())
            print(f"{path}: every number of every image; compare runs with `{program()} compare RUN RUN`")


def _of_all_processes(keys: dict[int, str]) -> dict[int, str]:
    """The names that all processes have collected."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return keys
    parts: list[dict[int, str]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, keys)
    return {index: key for part in parts for index, key in part.items()}
