"""LightningCLI for handlit: run folders, shared settings linked once, checkpoints found without being named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger

from handlit.data.base import HandDataModule
from handlit.types import InputError


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
        resumed = bool(self.config.get("ckpt_path"))
        if path.exists() and not resumed:
            raise InputError(
                f"{path.parent} already holds a run: choose another --run_dir, remove the folder, or resume it with "
                f"--ckpt_path {path.parent / 'checkpoints' / 'last.ckpt'}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, path, skip_none=False, overwrite=resumed, multifile=False)


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
            parser_kwargs=parser_kwargs,
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Settings that are stated once and reach several parts."""
        parser.add_argument("--run_dir", default="runs/default", help="folder for everything that a run writes")
        parser.add_argument("--mano_path", type=str | None, help="MANO file or folder; the stand-in hand without it")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("mano_path", "data.init_args.mano_path")
        parser.link_arguments("mano_path", "model.init_args.mano_path")
        parser.link_arguments("data.init_args.image_size", "model.init_args.image_size")
        parser.link_arguments("data", "model.init_args.tips", compute_fn=_tips, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse what `main` was given; the base class warns when that came from the command line."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Choose logger and checkpoint for the command."""
        config: Namespace = self.config[str(self.subcommand)]
        run_dir = Path(config.run_dir)
        csv = f"{CSVLogger.__module__}.{CSVLogger.__qualname__}"
        if self.subcommand == "fit":
            if config.trainer.logger in (None, True):
                init_args = Namespace(save_dir=str(run_dir), name="", version="")
                config.trainer.logger = Namespace(class_path=csv, init_args=init_args)
            for callback in config.trainer.callbacks or []:
                # left open, the logger would decide where checkpoints go
                if callback.class_path.endswith(".ModelCheckpoint") and callback.init_args.dirpath is None:
                    callback.init_args.dirpath = str(run_dir / "checkpoints")
            return
        # a new CSVLogger would delete the training's metrics.csv
        if config.trainer.logger in (None, True) or getattr(config.trainer.logger, "class_path", None) == csv:
            config.trainer.logger = False
        if self.subcommand == "predict":
            # predictions go to files batch by batch; keeping them would fill the memory
            config.return_predictions = False
        if config.ckpt_path is None:
            config.ckpt_path = str(find_checkpoint(run_dir))


def _tips(data: HandDataModule) -> str:
    return data.tips


def find_checkpoint(run_dir: Path) -> Path:
    """The checkpoint of a run with the best validation metric, or its last one if there is no best.

    Raises:
        FileNotFoundError: The run has no checkpoint.
    """
    for name in ("best.ckpt", "last.ckpt"):
        path = run_dir / "checkpoints" / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no checkpoint in {run_dir / 'checkpoints'}: name one with --ckpt_path, or give the --config of a finished run"
    )
