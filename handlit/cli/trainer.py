"""LightningCLI for handlit: run folders, shared settings linked once, checkpoints found without being named."""

import json
import os
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import ModelSummary, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from typing_extensions import override

from handlit.calibration.file import Origin, read_calibration
from handlit.callbacks import HypothesisEvaluation, LastCheckpoint, ModelSize, RunProgress, ValidationPictures
from handlit.callbacks.running.checkpoint_files import (
    DurableCheckpoints,
    best_checkpoint,
    check_file,
    failed_restoring,
    newest_checkpoint,
    read_checkpoint,
)
from handlit.callbacks.running.run_lock import run_lock
from handlit.cli.config_parser import ConfigParser, plain_path
from handlit.cli.configs import stated_run_dir
from handlit.cli.trusted_classes import only_trusted_classes
from handlit.data.loading.datamodule import HandDataModule
from handlit.errors import InputError, check_number, one_line
from handlit.files import check_writable, whole, write_text
from handlit.methods.compatibility import check_checkpoint
from handlit.methods.method import HandMethod
from handlit.models.backbones import check_synchronised_normalisation
from handlit.program import program
from handlit.run_folder import RunFolder

#: Settings that are stated once and reach data and method, and what for.
SHARED_SETTINGS = {
    "mano_path": "the hand model that --mano_path chooses",
    "image_size": "the side of the data's crops",
    "tips": "the vertices that are finger tips in the data's labels",
}

#: Commands that a calibration is used by.
CALIBRATED = ("test", "predict")

#: On CPUs, where every device is a process.
MAX_CPU_PROCESSES = max(8, os.cpu_count() or 1)


class SaveRunConfig(SaveConfigCallback):
    """Saves the whole configuration as ``config.yaml`` in the run folder when training starts, and only then.

    Later commands read it: ``python main.py predict --config RUN/config.yaml``. Loggers have folders of their own (that
    of W&B is the same for all runs), so it is not left to them.
    """

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    @override
    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file, in the first process.

        Raises:
            InputError: The folder holds a run that is not being resumed.
        """
        run = RunFolder(trainer.default_root_dir)
        config = self.config.clone()
        if run.config.exists() and not (config.resume or config.ckpt_path is not None):
            raise InputError(
                f"{run.path} already holds a run: choose another --run_dir, remove the folder, or resume it by --resume"
            )
        # where this process began is not a setting of the run, and its folder is one setting
        config.resume, config.ckpt_path = False, None
        for callback in config.trainer.callbacks or []:
            if callback.class_path.endswith(".ModelCheckpoint") and _is_of(callback.init_args.dirpath, [run.path]):
                callback.init_args.dirpath = None
        with whole(run.config) as temporary:
            self.parser.save(config, temporary, skip_none=False, overwrite=True, multifile=False)


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
        # an abbreviated setting is more likely a typo than meant
        options = {"default_config_files": [str(base_config)], "allow_abbrev": False}
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
            parser_kwargs={"prog": program(), arguments[0]: options},
            args=list(arguments),
        )

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning asks the object, too
        # the one that is run: its parser takes a while to make
        return {name: skipped for name, skipped in super().subcommands().items() if name in self.parser_kwargs}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_dir",
            type=os.path.expandvars,
            default="runs/default",
            help="folder for everything that a run writes; $NAME stands for an environment variable",
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="fit: resume from the run's last checkpoint; start where there is none",
        )
        parser.add_argument(
            "--calibrated",
            action="store_true",
            help="test, predict: with the spread that `calibrate` found for the run",
        )
        parser.add_argument("--mano_path", type=str | None, help="MANO file or folder; the stand-in hand without it")
        parser.add_lightning_class_args(HypothesisEvaluation, "hypotheses")
        parser.add_lightning_class_args(LastCheckpoint, "checkpoints")
        parser.add_lightning_class_args(ValidationPictures, "media")
        # as a path: a text such as "null" or "#1" would be read as YAML, and mean the working folder
        parser.link_arguments("run_dir", "trainer.default_root_dir", compute_fn=Path)
        parser.link_arguments("mano_path", "data.init_args.mano_path")
        parser.link_arguments("mano_path", "model.init_args.mano_path")
        parser.link_arguments("data.init_args.image_size", "model.init_args.image_size")
        parser.link_arguments("data", "model.init_args.tips", compute_fn=_tips, apply_on="instantiate")

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        # the base class warns when the arguments came from the command line
        trusted = nullcontext() if args[0] == "fit" else only_trusted_classes(args[0])
        with trusted:
            self.config = parser.parse_args(args)
        settings = self.config[str(self.config.subcommand)]
        if settings.calibrated and args[0] not in CALIBRATED:
            raise InputError(f"--calibrated is for {' and '.join(CALIBRATED)}: {args[0]} has no use for it")
        if not isinstance(settings.seed_everything, bool):
            check_number("seed_everything", settings.seed_everything, least=0, most=2**32 - 1, whole=True)
        if settings.trainer.gradient_clip_val is not None:
            check_number("trainer.gradient_clip_val", settings.trainer.gradient_clip_val, least=0)
        # Lightning divides by both
        for name in ("val_check_interval", "check_val_every_n_epoch"):
            if (interval := settings.trainer[name]) == 0:
                check_number(f"trainer.{name}", interval, above=0)

    @override
    def _parse_ckpt_path(self) -> None:
        """Let the configuration alone choose the method; the base class imports the class that a checkpoint names."""

    @override
    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make the trainer, with handlit's progress bar and summary where Lightning would take its own.

        Raises:
            InputError: It cannot be made as asked, for example because this machine does not have the devices.
        """
        settings = self.config[str(self.subcommand)].trainer
        self.trainer_defaults["callbacks"] = [
            default()
            for default, base, enabled in (
                (RunProgress, ProgressBar, settings.enable_progress_bar),
                (ModelSize, ModelSummary, settings.enable_model_summary),
            )
            if enabled is not False and not _has_callback(settings.callbacks, base)
        ]
        try:
            trainer: pl.Trainer = super().instantiate_trainer(**kwargs)
            if isinstance(trainer.accelerator, CPUAccelerator):
                # each of them is a process
                check_number("trainer.devices", trainer.num_devices, most=MAX_CPU_PROCESSES)
        except (MisconfigurationException, TypeError, ValueError) as error:
            raise InputError(
                f"{error} (trainer.accelerator={settings.accelerator}, trainer.devices={settings.devices}, "
                f"trainer.strategy={settings.strategy}; this machine has {torch.cuda.device_count()} CUDA devices and "
                f"{os.cpu_count()} CPU cores)"
            ) from error
        # here and in no configuration, which could leave it out: it runs no code from checkpoints
        trainer.strategy.checkpoint_io = DurableCheckpoints()
        return trainer

    @override
    def before_instantiate_classes(self) -> None:
        """Choose logger and checkpoint for the command, and check that data, method and run folder suit it."""
        config: Namespace = self.config[str(self.subcommand)]
        run = RunFolder(plain_path(config.run_dir))
        check_writable(run.path)
        _check_shared_settings("data", config.data, ("mano_path", "image_size"))
        _check_shared_settings("model", config.model, SHARED_SETTINGS)
        config.trainer.logger = _loggers(config.trainer.logger, run, training=self.subcommand == "fit")
        # for strategies that read checkpoints themselves
        config.weights_only = True
        if config.ckpt_path is not None:
            check_file(Path(config.ckpt_path))
        if self.subcommand == "fit":
            # left open, the logger would decide where checkpoints go
            stated = [path for file in config.config or [] if (path := stated_run_dir(Path(str(file)))) is not None]
            for callback in config.trainer.callbacks or []:
                if callback.class_path.endswith(".ModelCheckpoint") and _is_of(callback.init_args.dirpath, stated):
                    callback.init_args.dirpath = str(run.checkpoints)
            return
        if self.subcommand == "predict":
            # predictions go to files batch by batch; keeping them would fill the memory
            config.return_predictions = False
        if config.ckpt_path is None:
            config.ckpt_path = str(best_checkpoint(run))
            check_file(Path(config.ckpt_path))

    def origin(self) -> Origin:
        """What a calibration of this command's method is of."""
        settings = self.config[str(self.subcommand)]
        checkpoint = self.config_init[str(self.subcommand)].ckpt_path
        return Origin(type(self.model).__name__, Path(checkpoint), settings.model.as_dict())

    def calibration_file(self) -> Path:
        """Where that calibration lies: in the run of the checkpoint."""
        return RunFolder.of_checkpoint(self.origin().checkpoint).calibration

    def calibrate(self) -> None:
        """Give the method its calibration where that is asked for.

        Raises:
            FileNotFoundError: There is none.
            InputError: It is damaged, or of other weights or settings.
        """
        if self.config[str(self.subcommand)].calibrated:
            self.model.calibration = read_calibration(self.calibration_file(), self.origin())

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        run = RunFolder(self.trainer.default_root_dir)
        # validation writes nothing; of several processes the first holds the lock for all
        locked = subcommand != "validate" and self.trainer.is_global_zero
        with run_lock(run, subcommand) if locked else nullcontext():
            self.calibrate()
            try:
                super()._run_subcommand(subcommand)
            except (InputError, MisconfigurationException, torch.OutOfMemoryError):
                raise
            except Exception as error:
                checkpoint = self.config_init[subcommand].ckpt_path
                if checkpoint is None or not failed_restoring(error):
                    raise
                raise InputError(
                    f"the state in {checkpoint} cannot be restored, because it is damaged or of another version: "
                    f"{type(error).__name__}: {one_line(error)}"
                ) from error

    def before_fit(self) -> None:
        """Choose the checkpoint to resume from, and refuse what ``sync_batchnorm`` would spoil.

        Raises:
            InputError: All checkpoints are damaged, the network's normalisation cannot be synchronised, or there is no
                GPU.
        """
        if self.config.fit.resume:
            # not before the lock is held: whoever held it may have written another one
            checkpoint = newest_checkpoint(RunFolder(self.trainer.default_root_dir))
            self.config_init.fit.ckpt_path = None if checkpoint is None else str(checkpoint)
        if not self.config[str(self.subcommand)].trainer.sync_batchnorm:
            return
        check_synchronised_normalisation(self.model)
        if isinstance(self.trainer.accelerator, CPUAccelerator):
            raise InputError("trainer.sync_batchnorm needs GPUs: leave it out on a CPU")

    def after_fit(self) -> None:
        """Say where everything of the run is."""
        if self.trainer.is_global_zero:
            print("\n".join(RunFolder(self.trainer.default_root_dir).contents()))

    def after_test(self) -> None:
        """Keep the numbers of the last test in the run folder."""
        if self.trainer.is_global_zero:
            numbers = {name: value.item() for name, value in self.trainer.callback_metrics.items()}
            run = RunFolder(self.trainer.default_root_dir)
            path = run.calibrated_test_numbers if self.config.test.calibrated else run.test_numbers
            write_text(path, json.dumps(numbers, indent=1))
            print(f"numbers of the test: {path}")


class LoadingCLI(HandlitCLI):
    """Makes the method and the data module of a command: no trainer and no seed, and nothing is written."""

    @override
    def _set_seed(self) -> None:
        """Nothing."""

    @override
    def before_instantiate_classes(self) -> None:
        """Choose the checkpoint."""
        config: Namespace = self.config[str(self.subcommand)]
        config.trainer.logger, config.trainer.callbacks = False, None
        if config.ckpt_path is None:
            config.ckpt_path = str(best_checkpoint(RunFolder(plain_path(config.run_dir))))

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """None."""

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""

    def trained_method(self) -> HandMethod[Any]:
        """The method with its weights.

        Raises:
            InputError: The checkpoint is damaged, or of another method or network.
        """
        method: HandMethod[Any] = self.model
        checkpoint = read_checkpoint(Path(self.config_init[str(self.subcommand)].ckpt_path))
        check_checkpoint(checkpoint, type(method).__name__, method.state_dict(), resumes=False)
        method.load_state_dict(checkpoint["state_dict"])
        self.calibrate()
        return method


def _is_of(checkpoints: str | None, runs: Sequence[Path]) -> bool:
    """Whether a folder of checkpoints is left open, or that of one of these runs."""
    return checkpoints is None or Path(checkpoints).resolve() in [
        RunFolder(path).checkpoints.resolve() for path in runs
    ]


def _check_shared_settings(part: str, config: Namespace, names: Collection[str]) -> None:
    """Refuse a data module or a method whose constructor lacks a shared setting: the link to it would do nothing."""
    accepted = vars(config.init_args) if "init_args" in config else {}
    fixed: Collection[str] = getattr(locate(config.class_path), "fixed_settings", ())
    missing = [name for name in names if name not in accepted and name not in fixed]
    if missing:
        words = "; ".join(f"`{name}`, {SHARED_SETTINGS[name]}" for name in missing)
        raise InputError(
            f"{config.class_path}, the class of {part}, cannot be told {words}: add "
            f"{' and '.join(f'`{name}`' for name in missing)} to the arguments of its __init__"
            + (", or name it in `fixed_settings` if the method fixes it" if part == "model" else "")
        )


def _has_callback(callbacks: list[Namespace] | None, base: type) -> bool:
    classes = [locate(callback.class_path) for callback in callbacks or []]
    return any(isinstance(found, type) and issubclass(found, base) for found in classes)


def _loggers(configured: Any, run: RunFolder, training: bool) -> list[Namespace]:
    """The loggers that were asked for, writing into the run folder, and one for metrics.csv where a method trains."""
    asked = configured if isinstance(configured, list) else [configured] if isinstance(configured, Namespace) else []
    csv = Namespace(class_path="handlit.callbacks.ResumableCSVLogger", init_args=Namespace())
    # metrics.csv is the training's
    loggers = [csv] if training else []
    loggers += [logger for logger in asked if not logger.class_path.endswith("CSVLogger")]
    for logger in loggers:
        if logger.class_path.endswith(".TensorBoardLogger") and find_spec("tensorboard") is None:
            raise InputError("TensorBoard is not installed: pip install tensorboard, or leave its logger out")
        logger.init_args.save_dir = str(run.path)
    return loggers


def _tips(data: HandDataModule) -> str:
    return data.tips
