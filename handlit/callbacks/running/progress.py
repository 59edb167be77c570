"""Progress of a command: a line for each epoch, and Lightning's bar on a terminal."""

import time
from datetime import timedelta
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import STEP_OUTPUT
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn
from torch import Tensor
from typing_extensions import override

from handlit.types import HandBatch


class Pace:
    """Images per second while the clock runs."""

    def __init__(self) -> None:
        self.images = 0
        self._before = 0.0
        self._since: float | None = time.monotonic()

    def stop(self) -> None:
        """Halt the clock."""
        self._before, self._since = self.seconds, None

    def resume(self) -> None:
        """Let the clock run again."""
        self._before, self._since = self.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time for which the clock has run."""
        return self._before + (0.0 if self._since is None else time.monotonic() - self._since)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        return f"{self.rate:.1f} images/s"


class RunProgress(RichProgressBar):
    """Lightning's bar on a terminal, and lines; ``--trainer.enable_progress_bar false`` leaves both out.

    After each epoch one line: its mean loss, the monitored validation metric with its best, images per second of all
    processes, duration, time left of the whole training. On a terminal the bar shows loss and pace meanwhile; they are
    read as often as losses are logged (``trainer.log_every_n_steps``): reading makes the processor wait for the GPU.

    Args:
        console: Settings of the `rich.console.Console` that shows the bar; the standard output's by default.
    """

    def __init__(self, console: dict[str, Any] | None = None) -> None:
        super().__init__(refresh_rate=4, console_kwargs=console)
        self._terminal = Console(**(console or {})).is_terminal
        self._pace = Pace()
        self._started = 0.0
        self._done = 0
        self._batches = 0
        self._losses: Tensor | None = None
        self._shown: dict[str, int | str | float | dict[str, float]] = {}

    @property
    @override
    def is_enabled(self) -> bool:
        return self._terminal and super().is_enabled

    @override
    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        columns: list[ProgressColumn] = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                # everything fits a line of 80 characters
                column.bar_width = 12
        # the last column counts batches per second
        return columns[:-1]

    @override
    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            # the lines stay, the bars do not
            self.progress.live.transient = True

    @override
    def _get_train_description(self, current_epoch: int) -> str:
        return self._epoch(self.trainer)

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        return self._shown

    # training

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started, self._done = time.monotonic(), 0

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._init_progress(trainer)
        super().on_train_epoch_start(trainer, pl_module)
        self._pace, self._losses, self._batches, self._shown = Pace(), None, 0, {}

    @override
    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: HandBatch,
        batch_idx: int,
    ) -> None:
        self._done += 1
        self._batches += 1
        self._pace.images += len(batch) * trainer.world_size
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None:
            self._losses = loss.detach() if self._losses is None else self._losses + loss.detach()
        steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.is_enabled and ((batch_idx + 1) % steps == 0 or trainer.is_last_batch):
            self._shown = {**self._mean_loss(), "images/s": f"{self._pace.rate:.1f}"}
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        # whatever is printed between two epochs has the terminal to itself
        self._stop_progress()
        self._pace.stop()
        if not self._enabled:
            return
        figures = [f"{name} {value}" for name, value in self._figures(trainer).items()]
        left = self._time_left(trainer)
        words = [*figures, str(self._pace), _duration(self._pace.seconds), *([f"{left} left"] if left else [])]
        print(f"{self._epoch(trainer)}: {', '.join(words)}", flush=True)

    def _epoch(self, trainer: Trainer) -> str:
        number = f"epoch {trainer.current_epoch + 1}"
        return number if trainer.max_epochs in (None, -1) else f"{number}/{trainer.max_epochs}"

    def _mean_loss(self) -> dict[str, str]:
        return {} if self._losses is None else {"loss": f"{self._losses.item() / self._batches:.4g}"}

    def _figures(self, trainer: Trainer) -> dict[str, str]:
        """Mean loss of the epoch, and the monitored metric with the best one where that was another epoch's."""
        figures = self._mean_loss()
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor in trainer.callback_metrics:
                value, best = trainer.callback_metrics[str(callback.monitor)].item(), callback.best_model_score
                # the checkpoint callback has not seen this epoch yet
                sign = 1 if callback.mode == "min" else -1
                earlier = "" if best is None or sign * value <= sign * best.item() else f" {best.item():.2f}"
                figures[str(callback.monitor)] = f"{value:.2f} (best{earlier})"
        return figures

    def _time_left(self, trainer: Trainer) -> str:
        """Of the whole training, at the pace since this process began it, validation included."""
        batches, epochs, steps = trainer.num_training_batches, trainer.max_epochs, trainer.max_steps
        totals = [] if epochs in (None, -1) else [epochs * batches]
        totals += [steps * trainer.accumulate_grad_batches] if steps > 0 else []
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if not self._done or not totals or min(totals) == float("inf"):
            return ""
        return _duration(max(min(totals) - done, 0) * (time.monotonic() - self._started) / self._done)

    # validation within a training stops its clock; the commands validate, test and predict have one of their own

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._pace.stop()

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            self._count(trainer, batch, batch_idx)
        super().on_validation_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn != TrainerFn.FITTING:
            self._end("validate")
        elif not trainer.sanity_checking:
            self._pace.resume()

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count(trainer, batch, batch_idx)
        super().on_test_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_end(trainer, pl_module)
        self._end("test")

    @override
    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count(trainer, batch, batch_idx)
        super().on_predict_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_end(trainer, pl_module)
        self._end("predict")

    def _count(self, trainer: Trainer, batch: HandBatch, batch_idx: int) -> None:
        """Count a batch of validate, test or predict; the first one starts the clock."""
        if batch_idx == 0:
            self._pace = Pace()
        self._pace.images += len(batch) * trainer.world_size

    def _end(self, command: str) -> None:
        self._pace.stop()
        if self._enabled:
            print(f"{command}: {self._pace.images} images, {_duration(self._pace.seconds)}, {self._pace}", flush=True)


def _duration(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))}"
