"""Keeps the last two states of a training, and writes one when the process receives SIGTERM."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import STEP_OUTPUT
from torch import Tensor
from typing_extensions import override

from handlit.callbacks.running.csv_logger import ResumableCSVLogger
from handlit.callbacks.trainer_parts import gathered, run_folder
from handlit.errors import InputError, check_number
from handlit.types import HandBatch


class Preempted(SystemExit):
    """Ends a process that has received SIGTERM and written its checkpoint; the same command with --resume continues.

    Args:
        first: Whether it is the first process. It speaks for all; a launcher that sees another one fail would end the
            first in the middle of what it still writes.
    """

    #: EX_TEMPFAIL of sysexits.h: try again later.
    EXIT_CODE = 75

    def __init__(self, first: bool) -> None:
        super().__init__(self.EXIT_CODE if first else 0)


class LastCheckpoint(Checkpoint):
    """Keeps the run's last two states, ``last.ckpt`` and ``previous.ckpt``, and writes one on SIGTERM.

    A state is written after each epoch, and within an epoch when `minutes` have gone by since the last one. On SIGTERM
    (a scheduler's preemption) it is written after the current batch, and the process ends with exit code 75. A run that
    resumes from it repeats nothing and leaves nothing out: a state takes its name when all that was logged up to it is
    on the disk. Within an epoch it is written only where no gradients are being accumulated and no validation is due,
    at the first such batch after it became due.

    Args:
        minutes: Between two states within an epoch.
        steps: Batches between two states within an epoch, besides; None for by time alone.
        signal_steps: Number of batches after which several processes agree, again and again, on whether one of them has
            received SIGTERM.
    """

    def __init__(self, minutes: float = 30.0, steps: int | None = None, signal_steps: int = 10) -> None:
        check_number("minutes", minutes, least=0)
        check_number("signal_steps", signal_steps, least=1, whole=True)
        if steps is not None:
            check_number("steps", steps, least=1, whole=True)
        self.minutes = minutes
        self.steps = steps
        self.signal_steps = signal_steps
        self._terminated = False
        self._stopping = False
        self._due = False
        #: whether a state holds all that has been trained
        self._written = False
        self._pending: Path | None = None
        self._last_time = 0.0
        #: how many optimisers' and schedules' states were in the checkpoint that the run resumes from
        self._restored: tuple[int, int] | None = None

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._listen()

    @override
    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has installed its own handler meanwhile
        self._listen()

    @override
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a run whose folder has been moved know its best checkpoint, or a worse one would take its name."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._restored = len(checkpoint.get("optimizer_states", ())), len(checkpoint.get("lr_schedulers", ()))
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state is not None and state["dirpath"] != callback.dirpath:
                _move(state, Path(str(callback.dirpath)))

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for SIGTERM, and cut the logs back to where the run resumes.

        Raises:
            InputError: The processes resume from different states, or from one of other optimisers.
        """
        if self._restored is not None:
            _check_optimizers(trainer, self._restored)
        self._last_time = time.monotonic()
        self._listen()
        _check_same_start(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, ResumableCSVLogger) and trainer.is_global_zero:
                logger.rewind(trainer.global_step)

    def _listen(self) -> None:
        # in place of Lightning's, which talks to the other processes in the middle of whatever was interrupted
        signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True

    @override
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: HandBatch,
        batch_idx: int,
    ) -> None:
        self._written = False
        self._due = self._due or (self.steps is not None and (batch_idx + 1) % self.steps == 0)
        if trainer.world_size == 1 or (batch_idx + 1) % self.signal_steps == 0:
            late = self.minutes * 60 < time.monotonic() - self._last_time
            self._stopping = _any_process(trainer, self._terminated)
            self._due = _any_process(trainer, late) or self._due or self._stopping
        validation = trainer.val_check_batch
        due_validation = validation is not None and (batch_idx + 1) % validation == 0
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if self._due and not (trainer.is_last_batch or due_validation or accumulating):
            self._write(trainer)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: HandBatch, batch_idx: int
    ) -> None:
        """Name the state that was written after the batch before; end after SIGTERM.

        Raises:
            Preempted: A process has received SIGTERM, and its state is written.
        """
        self._publish(trainer)
        if self._stopping and self._written:
            if trainer.is_global_zero:
                print(f"SIGTERM: {run_folder(trainer).last} is written; the same command with --resume continues")
            raise Preempted(first=trainer.is_global_zero)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)
        self._publish(trainer)
        self._stopping = _any_process(trainer, self._terminated)

    def _write(self, trainer: pl.Trainer) -> None:
        self._due, self._written = False, True
        self._last_time = time.monotonic()
        self._pending = run_folder(trainer).pending
        trainer.save_checkpoint(self._pending)

    def _publish(self, trainer: pl.Trainer) -> None:
        pending, self._pending = self._pending, None
        if pending is None or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        run = run_folder(trainer)
        if run.last.exists():
            run.last.replace(run.previous)
        pending.replace(run.last)


def _any_process(trainer: pl.Trainer, flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return trainer.strategy.reduce_boolean_decision(flag, all=False)


def _check_same_start(trainer: pl.Trainer) -> None:
    """Refuse processes that have read different checkpoints, or of which only some have read one."""
    starts = gathered((trainer.current_epoch, trainer.global_step))
    if len(set(starts)) > 1:
        words = [f"process {rank} at epoch {epoch}, step {step}" for rank, (epoch, step) in enumerate(starts)]
        raise InputError(
            f"the processes start differently ({'; '.join(words)}): --run_dir must be one folder that all of them see"
        )


def _check_optimizers(trainer: pl.Trainer, restored: tuple[int, int]) -> None:
    """Refuse restored optimisers that are not this run's: torch's kernels write beyond averages of other sizes."""
    here = len(trainer.optimizers), len(trainer.lr_scheduler_configs)
    if restored != here:
        raise InputError(
            f"the checkpoint holds the states of {restored[0]} optimisers and {restored[1]} learning-rate schedules, "
            f"the method has {here[0]} and {here[1]}: resume with the configuration of its run"
        )
    for optimizer in trainer.optimizers:
        wrong = [
            name
            for group in optimizer.param_groups
            for name, default in optimizer.defaults.items()
            if isinstance(default, float) and not isinstance(group.get(name), float | int | Tensor)
        ]
        for parameter, state in optimizer.state.items():
            wrong += [name for name, value in state.items() if not _fits(name, value, parameter)]
        if wrong:
            raise InputError(f"the checkpoint's state of the optimiser is damaged: its {wrong[0]} fits no weights")


def _fits(name: str, value: Any, parameter: Tensor) -> bool:
    if name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer"):
        return value is None or (isinstance(value, Tensor) and value.shape == parameter.shape)
    return name != "step" or not isinstance(value, Tensor) or value.numel() == 1


def _move(state: dict[str, Any], folder: Path) -> None:
    """Rewrite the paths of a `ModelCheckpoint`'s state."""

    def moved(path: str) -> str:
        return str(folder / Path(path).name) if path else path

    state["dirpath"] = str(folder)
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
