"""While testing, draws hypotheses of every image and measures them: accuracy, diversity, calibration."""

import numpy as np
import pytorch_lightning as pl
import torch
from rich.console import Console
from typing_extensions import override

from handlit.callbacks.trainer_parts import gathered, run_folder
from handlit.errors import check_number
from handlit.metrics.hypotheses import HypothesisTable, draw, measure
from handlit.metrics.measure import Measure
from handlit.metrics.registry import measures
from handlit.program import program
from handlit.scoring.hypotheses.run import HypothesisRun, save_run
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
        label: Name of the run in comparisons; the method's name by default. That of a calibrated one gets
            ``+calibrated``, and a table of its own, ``hypotheses_calibrated.npz``.
    """

    def __init__(self, num_hypotheses: int = 200, temperature: float = 1.0, label: str | None = None) -> None:
        check_number("num_hypotheses", num_hypotheses, least=0, whole=True)
        check_number("temperature", temperature, least=0)
        self.num_hypotheses = num_hypotheses
        self.temperature = temperature
        self.label = label
        self.table = HypothesisTable()
        self.keys: dict[int, str] = {}

    @override
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.table = HypothesisTable().to(pl_module.device)
        self.keys = {}

    @override
    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: HandPrediction,  # type: ignore[override]
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self.num_hypotheses:
            return
        with torch.no_grad():
            columns = measure(draw(outputs, batch, self.num_hypotheses, self.temperature))
        self.table.update(columns, batch)
        self.keys.update(zip(batch.index.tolist(), batch.key, strict=True))

    @override
    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Summarise, in every process alike; the first one prints and writes."""
        if not self.num_hypotheses:
            return
        columns = {name: values.cpu().numpy() for name, values in self.table.compute().items()}
        keys = {index: key for part in gathered(self.keys) for index, key in part.items()}
        settings = {
            "method": type(pl_module).__name__,
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "data": str(getattr(trainer.datamodule, "root", type(trainer.datamodule).__name__)),  # type: ignore[attr-defined]
            "hypotheses": self.num_hypotheses,
            "temperature": self.temperature,
        }
        label, path = self.label or type(pl_module).__name__, run_folder(trainer).hypothesis_table
        if getattr(pl_module, "calibration", None) is not None:
            settings["calibrated"] = "yes"
            label, path = f"{label}+calibrated", run_folder(trainer).calibrated_hypothesis_table
        names = np.array([keys[index] for index in columns["index"].tolist()])
        run = HypothesisRun(label, names, columns, settings)
        summary = Summary(run)
        for record in measures(Measure):
            if record.logged and "all" in summary[record.key]:
                value = summary[record.key]["all"].value
                pl_module.log(f"test/{record.key}", value, rank_zero_only=False, sync_dist=False)
        if trainer.is_global_zero:
            save_run(path, run)
            print_table(summary_table(summary), Console())
            print(f"{path}: every number of every image; compare runs with `{program()} compare RUN RUN`")
