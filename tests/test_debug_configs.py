"""The debugging configurations, run for real on a tiny network and tiny data."""

import csv
from pathlib import Path

import pytest

from handlit.cli import main

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    data = tmp_path_factory.mktemp("data")
    main(f"synth --out {data} --train 24 --evaluation 3 --preset easy --workers 0".split())
    return (
        f"--data.init_args.root {data} --data.init_args.image_size 32 --data.init_args.batch_size 4 "
        "--data.init_args.num_workers 0 --model.init_args.network.init_args.backbone.init_args.name test_resnet "
        "--trainer.enable_progress_bar false"
    ).split()


def debug(name: str, options: list[str]) -> None:
    experiment, config = CONFIGS / "experiment" / "quickstart.yaml", CONFIGS / "debug" / f"{name}.yaml"
    assert config.read_text().startswith(
        f"# python main.py fit --config configs/experiment/quickstart.yaml --config configs/debug/{name}.yaml\n"
    )
    main(["fit", "--config", str(experiment), "--config", str(config), *options])


@pytest.mark.filterwarnings("ignore")
def test_overfit_learns_its_batches_by_heart(small: list[str], tmp_path: Path) -> None:
    debug("overfit", [*small, "--run_dir", str(tmp_path)])
    with (tmp_path / "metrics.csv").open() as file:
        errors = [float(row["train/loss_vertices"]) for row in csv.DictReader(file) if row["train/loss_vertices"]]
    assert errors[-1] < 0.15 * errors[0]


@pytest.mark.filterwarnings("ignore")
def test_profile_tells_where_the_time_goes(small: list[str], tmp_path: Path) -> None:
    where = ["--run_dir", str(tmp_path), "--trainer.profiler.init_args.dirpath", str(tmp_path)]
    debug("profile", [*small, *where])
    (table,) = tmp_path.glob("fit-operations.txt")
    assert "conv" in table.read_text()
    assert "backward" in table.read_text()
    (trace,) = tmp_path.glob("*.pt.trace.json")
    assert trace.stat().st_size > 10_000
