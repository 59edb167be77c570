"""Checkpoints that survive: written whole or not at all, the last two kept, exact to go on from."""

import csv
import os
import pickle
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.loggers.csv_logs import _ExperimentWriter
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from handlit.errors import InputError

BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
_PENDING = "pending.ckpt"


class Preempted(SystemExit):
    """Ends a process that was told to stop and has written its checkpoint; the same command with --resume goes on.

    Args:
        first: Whether it is the first process. It speaks for all; a launcher that sees another one fail would end the
            first in the middle of what it still writes.
    """

    #: EX_TEMPFAIL of sysexits.h: try again later.
    EXIT_CODE = 75

    def __init__(self, first: bool) -> None:
        super().__init__(self.EXIT_CODE if first else 0)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, None if it is sound: every byte is checked against its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error) or "it ends too early"
    return None if member is None else f"checksum of {member} is wrong"


def newest_checkpoint(folder: Path) -> Path | None:
    """The last sound checkpoint of a run; damaged ones are passed over with a message.

    Args:
        folder: The run's ``checkpoints``.

    Returns:
        The file; None where there is no checkpoint at all.

    Raises:
        InputError: There are checkpoints and all are damaged.
    """
    damaged: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        reason = damage(path)
        if reason is None:
            for line in damaged:
                print(f"{line}; going on from {path}")
            return path
        damaged.append(f"{path} is damaged ({reason})")
    if damaged:
        raise InputError(f"{'; '.join(damaged)}: remove the folder to start anew")
    return None


class DurableCheckpoints(CheckpointIO):
    """Writes checkpoints beside their place and renames them when they are on the disk; refuses damaged ones.

    Checkpoints are read without running code that is in them (``weights_only``).
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a file whole or leave what was there.

        Raises:
            InputError: The disk is full, or the folder cannot be written.
        """
        place = Path(path)
        unfinished = place.with_name(place.name + ".unfinished")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(place)
        # torch turns a full disk into a RuntimeError of its own
        except (OSError, RuntimeError) as error:
            unfinished.unlink(missing_ok=True)
            raise InputError(
                f"the checkpoint {place} could not be written: {error}. Earlier checkpoints are as they were; make "
                "room or choose another --run_dir, and go on with --resume"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file.

        Raises:
            InputError: It is damaged, or no checkpoint.
        """
        place = Path(path)
        if not place.is_file():
            raise FileNotFoundError(f"there is no checkpoint {place}")
        reason = damage(place)
        if reason is not None:
            raise InputError(f"{place} is no checkpoint, or it is damaged: {reason}")
        try:
            checkpoint = torch.load(place, map_location=map_location or "cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(f"{place} holds more than weights and settings, and is not loaded: {error}") from error
        # a zip file, and not torch's
        except RuntimeError as error:
            raise InputError(f"{place} is no checkpoint: {error}") from error
        missing = {"state_dict", "pytorch-lightning_version"} - set(checkpoint if isinstance(checkpoint, dict) else ())
        if missing:
            raise InputError(f"{place} is no checkpoint of Lightning: it has no {' and no '.join(sorted(missing))}")
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file, if it is there."""
        Path(path).unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """Keeps the run's last two states, ``last.ckpt`` and ``previous.ckpt``, and the first one when told to stop.

    A state is written after each epoch, and within an epoch when `minutes` have gone by since the last one. On SIGTERM
    (a scheduler's preemption) it is written after the batch at work, and the process ends with exit code 75. Going on
    from it repeats nothing and leaves nothing out: a state takes its name when all that was logged up to it is on the
    disk. Within an epoch it is written only where no gradients are being accumulated and no validation is due, at the
    first such place after it was wanted.

    Args:
        minutes: Between two states within an epoch.
        steps: Batches between two states within an epoch, besides; None for by time alone.
        signal_steps: Several processes agree every so many batches on whether one of them was told to stop.
    """

    def __init__(self, minutes: float = 30.0, steps: int | None = None, signal_steps: int = 10) -> None:
        self.minutes = minutes
        self.steps = steps
        self.signal_steps = signal_steps
        self._told_to_stop = False
        self._stopping = False
        self._due = False
        #: whether a state holds all that has been trained
        self._written = False
        self._pending: Path | None = None
        self._last_time = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen for SIGTERM from the beginning."""
        if stage == "fit":
            self._listen()

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen again: Lightning has begun to."""
        self._listen()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a run whose folder has been moved know its best checkpoint, or a worse one would take its name."""
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state is not None and state["dirpath"] != callback.dirpath:
                _move(state, Path(str(callback.dirpath)))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for SIGTERM, and cut the logs back to where the run goes on.

        Raises:
            InputError: The processes go on from different states.
        """
        self._last_time = time.monotonic()
        self._listen()
        _same_start(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, ResumableCSVLogger) and trainer.is_global_zero:
                logger.rewind(trainer.global_step)

    def _listen(self) -> None:
        # in place of Lightning's, which talks to the other processes in the middle of whatever was interrupted
        signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._told_to_stop = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a state where one is due."""
        self._written = False
        self._due = self._due or (self.steps is not None and (batch_idx + 1) % self.steps == 0)
        if trainer.world_size == 1 or (batch_idx + 1) % self.signal_steps == 0:
            late = self.minutes * 60 < time.monotonic() - self._last_time
            self._stopping = _agreed(trainer, self._told_to_stop)
            self._due = _agreed(trainer, late) or self._due or self._stopping
        validation = trainer.val_check_batch
        due_validation = validation is not None and (batch_idx + 1) % validation == 0
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if self._due and not (trainer.is_last_batch or due_validation or accumulating):
            self._write(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Name the state that was written after the batch before; end if told to."""
        self._publish(trainer)
        if self._stopping and self._written:
            if trainer.is_global_zero:
                print(
                    f"told to stop: {self._folder(trainer) / LAST} is written; the same command with --resume goes on"
                )
            raise Preempted(first=trainer.is_global_zero)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a state after each epoch."""
        self._write(trainer)
        self._publish(trainer)
        self._stopping = _agreed(trainer, self._told_to_stop)

    def _write(self, trainer: pl.Trainer) -> None:
        self._due, self._written = False, True
        self._last_time = time.monotonic()
        self._pending = self._folder(trainer) / _PENDING
        trainer.save_checkpoint(self._pending)

    def _publish(self, trainer: pl.Trainer) -> None:
        pending, self._pending = self._pending, None
        if pending is None or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        last = pending.with_name(LAST)
        if last.exists():
            last.replace(pending.with_name(PREVIOUS))
        pending.replace(last)

    def _folder(self, trainer: pl.Trainer) -> Path:
        return Path(trainer.default_root_dir) / "checkpoints"


def _agreed(trainer: pl.Trainer, flag: bool) -> bool:
    """Whether any process says so."""
    return trainer.strategy.reduce_boolean_decision(flag, all=False)


def _same_start(trainer: pl.Trainer) -> None:
    """See to it that all processes have read the same checkpoint, or none."""
    if trainer.world_size == 1:
        return
    mine = (trainer.current_epoch, trainer.global_step)
    everyones: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(everyones, mine)
    if len(set(everyones)) > 1:
        starts = [f"process {rank} at epoch {epoch}, step {step}" for rank, (epoch, step) in enumerate(everyones)]
        raise InputError(
            f"the processes start differently ({'; '.join(starts)}): --run_dir must be one folder that all of them see"
        )


def _move(state: dict[str, Any], folder: Path) -> None:
    """Rewrite the paths of a `ModelCheckpoint`'s state."""

    def moved(path: str) -> str:
        return str(folder / Path(path).name) if path else path

    state["dirpath"] = str(folder)
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}


class _ContinuedWriter(ExperimentWriter):
    """Appends to an existing file, which the base class deletes."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class ResumableCSVLogger(CSVLogger):
    """``metrics.csv`` of a run; a run that goes on goes on in the same file.

    Args:
        save_dir: The run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """What writes the file."""
        if self._experiment is None:
            self._experiment = _ContinuedWriter(self.log_dir)
        return self._experiment

    def rewind(self, step: int) -> None:
        """Drop what was logged at this optimiser step or later, by a process that did not live to save its state."""
        path = Path(self.experiment.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or [])
            rows = [row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) < step]
        if not rows:
            path.unlink()
            self.experiment.metrics_keys = []
            return
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, header)
            writer.writeheader()
            writer.writerows(rows)
        unfinished.replace(path)
