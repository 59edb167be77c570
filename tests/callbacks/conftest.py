"""A tiny training with a W&B logger, its prediction, and what they left."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import wandb

from handlit.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass
class LoggedRun:
    """A run folder, and the W&B files of its commands in order."""

    folder: Path
    data: Path
    wandb_files: list[Path]


def fit_arguments(data: Path, folder: Path, *more: str) -> list[str]:
    """A training of two epochs of one or two steps."""
    small = (
        f"--data.init_args.root {data} --data.init_args.image_size 32 --data.init_args.batch_size 4 "
        "--data.init_args.num_workers 0 --trainer.max_epochs 2 --trainer.log_every_n_steps 1 "
        f"--trainer.enable_progress_bar false --trainer.enable_model_summary false --run_dir {folder}"
    )
    return ["fit", "--config", str(CONFIGS / "experiment" / "quickstart_mean_hand.yaml"), *more, *small.split()]


def clear_wandb(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """No key, no settings of the user's."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_GROUP", "WANDB_PROJECT", "WANDB_NAME", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    main(f"synth --out {folder} --train 24 --evaluation 5 --preset easy --workers 0".split())
    return folder


@pytest.fixture(scope="session")
def logged_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> LoggedRun:
    folder = tmp_path_factory.mktemp("runs") / "mean"
    with pytest.MonkeyPatch.context() as monkeypatch:
        clear_wandb(monkeypatch, folder.parent)
        main(fit_arguments(data, folder, "--config", str(CONFIGS / "trainer" / "wandb.yaml")))
        (trained,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        main(["predict", "--config", str(folder / "config.yaml")])
        # ends W&B's process, which may still be writing
        wandb.teardown()
        (predicted,) = set(folder.glob("wandb/offline-run-*/run-*.wandb")) - {trained}
    return LoggedRun(folder, data, [trained, predicted])
