"""How a command goes, for whoever watches: a line an epoch, and a bar on a terminal."""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from pytorch_lightning.trainer.states import TrainerFn
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text
from torch import Tensor


class Pace:
    """Images a second while the clock runs."""

    def __init__(self) -> None:
        self.images = 0
        self._before = 0.0
        self._since: float | None = time.monotonic()

    def stop(self) -> None:
        """Halt the clock."""
        self._before, self._since = self.seconds, None

    def go_on(self) -> None:
        """Let the clock run again."""
        self._before, self._since = self.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """On the clock."""
        return self._before + (0.0 if self._since is None else time.monotonic() - self._since)

    def __str__(self) -> str:
        return f"{self.images / max(self.seconds, 1e-9):.1f} images/s"


class _Bars(Progress):
    """Bars above a line of figures."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn, from top to bottom."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures, style="dim", overflow="ellipsis", no_wrap=True)


class RunProgress(ProgressBar):
    """Takes the place of Lightning's progress bar; ``--trainer.enable_progress_bar false`` leaves it out.

    After each epoch one line: its mean loss, the monitored validation metric with its best, images a second of all
    processes, duration, time left of the whole training. On a terminal a bar shows the same while it goes. Losses are
    read as often as they are logged (``trainer.log_every_n_steps``): reading makes the processor wait for the GPU.

    Args:
        console: Where it is shown; the standard output by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console()
        self._enabled = True
        self._bars: _Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._pace = Pace()
        self._started = 0.0
        self._done = 0
        self._batches = 0
        self._losses: Tensor | None = None

    def disable(self) -> None:
        """Show nothing; Lightning calls it in all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show everything."""
        self._enabled = True

    # training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the whole training."""
        self._started, self._done = time.monotonic(), 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the epoch's figures anew."""
        self._pace, self._losses, self._batches = Pace(), None, 0
        # an epoch that goes on where it was stopped does not begin at 0
        at = trainer.fit_loop.epoch_loop.batch_progress.current.completed if trainer.fit_loop.restarting else 0
        self._show("train", self._epoch(trainer), self.total_train_batches, at)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; read the figures now and then."""
        self._done += 1
        self._batches += 1
        self._pace.images += len(batch) * trainer.world_size
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None:
            self._losses = loss.detach() if self._losses is None else self._losses + loss.detach()
        steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self._bars is None:
            return
        if (batch_idx + 1) % steps == 0 or trainer.is_last_batch:
            self._bars.figures = ", ".join(self._figures(trainer))
            self._bars.update(self._tasks["train"], pace=str(self._pace), left=self._time_left(trainer))
        self._bars.update(self._tasks["train"], completed=batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch went."""
        self._pace.stop()
        if not self._enabled:
            return
        seconds = f"{timedelta(seconds=round(self._pace.seconds))}"
        left = self._time_left(trainer)
        words = [*self._figures(trainer), str(self._pace), seconds, *([left] if left else [])]
        print(f"{self._epoch(trainer)}: {', '.join(words)}", flush=True)

    def _epoch(self, trainer: pl.Trainer) -> str:
        number = f"epoch {trainer.current_epoch + 1}"
        return number if trainer.max_epochs in (None, -1) else f"{number}/{trainer.max_epochs}"

    def _figures(self, trainer: pl.Trainer) -> list[str]:
        """Loss and validation metric in words."""
        words = [] if self._losses is None else [f"loss {self._losses.item() / self._batches:.4g}"]
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor in trainer.callback_metrics:
                value, best = trainer.callback_metrics[str(callback.monitor)].item(), callback.best_model_score
                # a checkpoint takes notice of an epoch after this does
                sign = 1 if callback.mode == "min" else -1
                earlier = "" if best is None or sign * value <= sign * best.item() else f" {best.item():.2f}"
                words.append(f"{callback.monitor} {value:.2f} (best{earlier})")
        return words

    def _time_left(self, trainer: pl.Trainer) -> str:
        """Of the whole training, at the pace since this process began it, validation included."""
        an_epoch, epochs, steps = trainer.num_training_batches, trainer.max_epochs, trainer.max_steps
        totals = [] if epochs in (None, -1) else [epochs * an_epoch]
        totals += [steps * trainer.accumulate_grad_batches] if steps > 0 else []
        gone = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if not self._done or not totals or min(totals) == float("inf"):
            return ""
        left = max(min(totals) - gone, 0) * (time.monotonic() - self._started) / self._done
        return f"{timedelta(seconds=round(left))} left"

    # validation within a training, and the commands validate, test and predict

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training's clock, or begin the command."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._begin(trainer, "validate")
        elif not trainer.sanity_checking:
            self._pace.stop()
            self._show("validation", "validation", sum(trainer.num_val_batches))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._count(trainer, batch)
        elif self._bars is not None and not trainer.sanity_checking:
            self._bars.advance(self._tasks["validation"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the training's clock run again, or end the command."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._end("validate")
        elif not trainer.sanity_checking:
            if self._bars is not None:
                self._bars.remove_task(self._tasks.pop("validation"))
            self._pace.go_on()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the command."""
        self._begin(trainer, "test")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        self._count(trainer, batch)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the command."""
        self._end("test")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the command."""
        self._begin(trainer, "predict")

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        self._count(trainer, batch)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the command."""
        self._end("predict")

    def _begin(self, trainer: pl.Trainer, command: str) -> None:
        self._pace, self._done = Pace(), 0
        self._show("command", command, self._evaluation_batches(trainer))

    def _count(self, trainer: pl.Trainer, batch: Any) -> None:
        self._done += 1
        self._pace.images += len(batch) * trainer.world_size
        if self._bars is not None:
            seconds = (self._evaluation_batches(trainer) - self._done) * self._pace.seconds / self._done
            left = f"{timedelta(seconds=round(max(seconds, 0)))} left" if seconds != float("inf") else ""
            self._bars.update(self._tasks["command"], completed=self._done, pace=str(self._pace), left=left)

    def _end(self, command: str) -> None:
        self._pace.stop()
        self._close()
        if self._enabled:
            seconds = timedelta(seconds=round(self._pace.seconds))
            print(f"{command}: {self._pace.images} images, {seconds}, {self._pace}", flush=True)

    def _evaluation_batches(self, trainer: pl.Trainer) -> float:
        if trainer.state.fn == TrainerFn.PREDICTING:
            return sum(trainer.num_predict_batches)
        return sum(trainer.num_test_batches if trainer.state.fn == TrainerFn.TESTING else trainer.num_val_batches)

    # the terminal

    def _show(self, name: str, title: str, total: float, completed: int = 0) -> None:
        """Begin a bar."""
        if not self._enabled or not self._console.is_terminal:
            return
        if self._bars is None:
            self._bars = _Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}"),
                TextColumn("{task.fields[left]}"),
                console=self._console,
                refresh_per_second=4,
                # the lines of the epochs stay
                transient=True,
            )
            self._bars.start()
        known = None if total == float("inf") else total
        if name in self._tasks:
            self._bars.reset(self._tasks[name], total=known, completed=completed, description=title)
        else:
            self._tasks[name] = self._bars.add_task(title, total=known, completed=completed, pace="", left="")

    def _close(self) -> None:
        """Leave the terminal as the bars found it."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the terminal back."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the terminal back, so that the message can be read."""
        self._close()
