"""What a run was made with and what it made: environment and configuration, checkpoints and predictions."""

import os
import platform
import shlex
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from typing_extensions import override

from handlit.callbacks.output.submission import SubmissionCallback
from handlit.callbacks.running.logger_guard import tolerated
from handlit.callbacks.running.wandb_run import WandbRun
from handlit.callbacks.trainer_parts import run_folder
from handlit.errors import InputError
from handlit.files import write_bytes
from handlit.reading import read_json
from handlit.scoring.official.result_card import read_card
from handlit.version import code_version

_PACKAGES = ("numpy", "pytorch-lightning", "timm", "torchmetrics", "torchvision", "wandb")


class RunRecord(pl.Callback):
    """Writes ``environment.json`` into the run folder and gives the loggers what a run was made with and what it made.

    ``environment.json`` is a list with an entry for each start of the training: code version (with the git commit, and
    ``-dirty`` where files were changed), command, libraries, machine and GPUs. W&B and TensorBoard get the last entry
    and the configuration; W&B also keeps the best and the last checkpoint and ``pred.zip`` as artifacts.
    """

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # not earlier: only now is it known whether the training resumes
        if not trainer.is_global_zero:
            return
        run = run_folder(trainer)
        entry = environment(trainer)
        add_entry(run.environment, entry)
        config = run.config.read_text(encoding="utf-8") if run.config.is_file() else "{}"
        for logger in trainer.loggers:
            with tolerated(type(logger).__name__):
                if isinstance(logger, WandbRun):
                    made_with = {**yaml.safe_load(config), "environment": entry}
                    logger.experiment.config.update(made_with, allow_val_change=True)
                elif isinstance(logger, TensorBoardLogger):
                    for name, text in (("config", config), ("environment", _json(entry).decode())):
                        logger.experiment.add_text(name, f"```\n{text}\n```")

    @override
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            with tolerated(type(logger).__name__):
                if isinstance(logger, WandbRun) and stage == "fit" and logger.log_checkpoints:
                    _keep_checkpoints(logger, trainer)
                elif isinstance(logger, WandbRun) and stage == "predict":
                    _keep_submission(logger, trainer)


def environment(trainer: pl.Trainer) -> dict[str, Any]:
    """What a training runs with, from its code to its machine.

    Args:
        trainer: The trainer that starts.
    """
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "first_step": trainer.global_step,
        "code": code_version(),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        # with its build, unlike the package's number
        "torch": torch.__version__,
        **{name: version(name) for name in _PACKAGES},
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "processes": trainer.world_size,
    }


def add_entry(path: Path, entry: dict[str, Any]) -> None:
    """Append to a JSON list in a file.

    Raises:
        InputError: It is there and holds something else.
    """
    entries = read_json(path) if path.is_file() else []
    if not isinstance(entries, list):
        raise InputError(f"{path} holds no list of starts: remove it")
    write_bytes(path, _json([*entries, entry]))


def _json(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _keep_checkpoints(logger: WandbRun, trainer: pl.Trainer) -> None:
    best = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    for callback in best:
        score = {} if callback.best_model_score is None else {str(callback.monitor): float(callback.best_model_score)}
        _keep_checkpoint(logger, Path(callback.best_model_path), "best", score)
    # after the best one: W&B calls what comes last the latest
    _keep_checkpoint(logger, run_folder(trainer).last, "last", {})


def _keep_checkpoint(logger: WandbRun, path: Path, alias: str, score: dict[str, float]) -> None:
    if path.is_file():
        # mapped into memory, so that only the few numbers wanted are read
        saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        metadata = {"file": path.name, "epoch": saved["epoch"], "step": saved["global_step"], **score}
        logger.log_file(path, "model", "model.ckpt", [alias], metadata)


def _keep_submission(logger: WandbRun, trainer: pl.Trainer) -> None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SubmissionCallback) and callback.writer is not None and callback.writer.path.is_file():
            path = callback.writer.path
            checkpoint = Path(str(trainer.ckpt_path)).stem
            logger.log_file(path, "prediction", path.name, [checkpoint], asdict(read_card(path)))
