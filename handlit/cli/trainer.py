"""LightningCLI for handlit: run folders, shared settings linked once, checkpoints found without being named."""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from timm.layers import BatchNormAct2d

from handlit.callbacks import HypothesisEvaluation, RunProgress, ValidationPictures
from handlit.callbacks.running.checkpoints import BEST, LAST, LastCheckpoint, newest_checkpoint
from handlit.callbacks.running.run_record import contents
from handlit.cli.config_parser import ConfigParser
from handlit.data.loading.datamodule import HandDataModule
from handlit.errors import InputError
from handlit.models.backbones import Backbone
from handlit.program import program


class SaveRunConfig(SaveConfigCallback):
    """Saves the whole configuration as ``config.yaml`` in the run folder when training starts, and only then.

    Later commands read it: ``python main.py predict --config RUN/config.yaml``. Loggers have folders of their own (that
    of W&B is the same for all runs), so it is not left to them.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Save before training; refuse to write over an earlier run unless it is being resumed."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file; called in the first process."""
        path = Path(trainer.default_root_dir) / self.config_filename
        config = self.config.clone()
        resumed = config.resume or config.ckpt_path is not None
        if path.exists() and not resumed:
            raise InputError(
                f"{path.parent} already holds a run: choose another --run_dir, remove the folder, or go on with it by "
                "--resume"
            )
        # where this process began is not a setting of the run
        config.resume, config.ckpt_path = False, None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(config, path, skip_none=False, overwrite=resumed, multifile=False)


class HandlitCLI(LightningCLI):
    """``fit``, ``validate``, ``test`` and ``predict`` of any method on any dataset.

    ``--run_dir`` is where everything of a run is written. ``--mano_path`` chooses the hand model of the data and of
    the method at once, ``data.image_size`` reaches the method, and so does the dataset's finger-tip convention.
    """

    @classmethod
    def run(cls, arguments: Sequence[str], base_config: Path) -> "HandlitCLI":
        """Parse and run one command.

        Args:
            arguments: Command and options.
            base_config: File that every configuration starts from.
        """
        parser_kwargs = {
            # an abbreviated setting is more likely a typo than meant
            name: {"default_config_files": [str(base_config)], "allow_abbrev": False}
            for name in cls.subcommands()
        }
        return cls(
            pl.LightningModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,
            # a checkpoint holds weights only; its run's config.yaml holds the settings, so that flags always count
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            parser_class=ConfigParser,
            parser_kwargs={"prog": program(), **parser_kwargs},
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Settings that are stated once and reach several parts."""
        parser.add_argument(
            "--run_dir",
            type=os.path.expandvars,
            default="runs/default",
            help="folder for everything that a run writes; $NAME stands for an environment variable",
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="fit: go on from the run's last checkpoint; start where there is none",
        )
        parser.add_argument("--mano_path", type=str | None, help="MANO file or folder; the stand-in hand without it")
        parser.add_lightning_class_args(HypothesisEvaluation, "hypotheses")
        parser.add_lightning_class_args(LastCheckpoint, "checkpoints")
        parser.add_lightning_class_args(ValidationPictures, "media")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("mano_path", "data.init_args.mano_path")
        parser.link_arguments("mano_path", "model.init_args.mano_path")
        parser.link_arguments("data.init_args.image_size", "model.init_args.image_size")
        parser.link_arguments("data", "model.init_args.tips", compute_fn=_tips, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what `main` was given; the base class warns when that came from the command line."""
        self.config = parser.parse_args(args)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make the trainer.

        Raises:
            InputError: It cannot be made as asked, for example because this machine does not have the devices.
        """
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, TypeError) as error:
            settings = self.config[str(self.subcommand)].trainer
            raise InputError(
                f"{error} (trainer.accelerator={settings.accelerator}, trainer.devices={settings.devices}, "
                f"trainer.strategy={settings.strategy}; this machine has {torch.cuda.device_count()} CUDA devices and "
                f"{os.cpu_count()} CPU cores)"
            ) from error
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        # the bar that Lightning takes where nobody chose one
        for place, callback in enumerate(callbacks):
            if type(callback) is RichProgressBar:
                callbacks[place] = RunProgress()
        return trainer

    def before_instantiate_classes(self) -> None:
        """Choose logger and checkpoint for the command, and see whether the run folder can be written."""
        config: Namespace = self.config[str(self.subcommand)]
        run_dir = Path(config.run_dir)
        check_writable(run_dir)
        config.trainer.logger = _loggers(config.trainer.logger, run_dir, training=self.subcommand == "fit")
        if self.subcommand == "fit":
            for callback in config.trainer.callbacks or []:
                # left open, the logger would decide where checkpoints go
                if callback.class_path.endswith(".ModelCheckpoint") and callback.init_args.dirpath is None:
                    callback.init_args.dirpath = str(run_dir / "checkpoints")
            if config.resume:
                checkpoint = newest_checkpoint(run_dir / "checkpoints")
                config.ckpt_path = None if checkpoint is None else str(checkpoint)
            return
        if self.subcommand == "predict":
            # predictions go to files batch by batch; keeping them would fill the memory
            config.return_predictions = False
        if config.ckpt_path is None:
            config.ckpt_path = str(find_checkpoint(run_dir))

    def before_fit(self) -> None:
        """Refuse what ``sync_batchnorm`` would spoil.

        Raises:
            InputError: torch's conversion would drop activations that timm keeps inside its normalisation layers, or
                what keeps recomputed layers from counting a batch twice; or there is no GPU.
        """
        if not self.config[str(self.subcommand)].trainer.sync_batchnorm:
            return
        if any(isinstance(module, BatchNormAct2d) for module in self.model.modules()):
            raise InputError(
                "trainer.sync_batchnorm would drop the activations inside this backbone's normalisation layers: take a "
                "ResNet or HRNet, or leave it out"
            )
        if any(isinstance(module, Backbone) and module.recomputed for module in self.model.modules()):
            raise InputError(
                "trainer.sync_batchnorm counts a batch twice where activations are computed again: leave out one of it "
                "and the backbone's activation_checkpointing"
            )
        if isinstance(self.trainer.accelerator, CPUAccelerator):
            raise InputError("trainer.sync_batchnorm needs GPUs: leave it out on a CPU")

    def after_fit(self) -> None:
        """Say where everything of the run is."""
        if self.trainer.is_global_zero:
            print("\n".join(contents(Path(self.trainer.default_root_dir))))

    def after_test(self) -> None:
        """Keep the numbers of the last test as ``test.json`` in the run folder."""
        if self.trainer.is_global_zero:
            numbers = {name: value.item() for name, value in self.trainer.callback_metrics.items()}
            path = Path(self.trainer.default_root_dir) / "test.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(numbers, indent=1), encoding="utf-8")
            print(f"numbers of the test: {path}")


def check_writable(folder: Path) -> None:
    """Refuse a folder that can be neither written nor made, without making it."""
    path = folder.absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"run_dir={folder} cannot be a folder: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"run_dir={folder} cannot be written: there is no permission to write into {there}")


def _loggers(given: Any, run_dir: Path, training: bool) -> list[Namespace]:
    """The loggers that were asked for, writing into the run folder, and one for metrics.csv where a method trains."""
    asked = given if isinstance(given, list) else [given] if isinstance(given, Namespace) else []
    csv = Namespace(class_path="handlit.callbacks.ResumableCSVLogger", init_args=Namespace())
    # metrics.csv is the training's
    loggers = [csv] if training else []
    loggers += [logger for logger in asked if not logger.class_path.endswith("CSVLogger")]
    for logger in loggers:
        if logger.class_path.endswith(".TensorBoardLogger") and find_spec("tensorboard") is None:
            raise InputError("TensorBoard is not installed: pip install tensorboard, or leave its logger out")
        logger.init_args.save_dir = str(run_dir)
    return loggers


def _tips(data: HandDataModule) -> str:
    return data.tips


def find_checkpoint(run_dir: Path) -> Path:
    """The checkpoint of a run with the best validation metric, or its last one if there is no best.

    Raises:
        FileNotFoundError: The run has no checkpoint.
    """
    for name in (BEST, LAST):
        path = run_dir / "checkpoints" / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no checkpoint in {run_dir / 'checkpoints'}: name one with --ckpt_path, or give the --config of a finished run"
    )
