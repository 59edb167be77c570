"""The sdist and the wheel made of it hold everything: installed outside a checkout, the main job runs from a wheel."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import handlit

ROOT = Path(__file__).parents[1]
#: What lies at the top of a checkout in use and belongs to nobody but its user.
_NOT_SHIPPED = ("runs", "outputs", "quickstart", "wandb", "lightning_logs", "data", "assets", "build", "dist", "site")
Command = Callable[..., str]


def python(*words: str | Path, folder: Path, **variables: str) -> str:
    """Run Python with these words in a folder; what it printed."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as building leaves files in the tree."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("sdist")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
        elif not path.name.startswith(".") and path.name not in _NOT_SHIPPED and path.suffix != ".egg-info":
            shutil.copytree(path, tree / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    python("-c", f"from setuptools.build_meta import build_sdist; build_sdist({str(out)!r})", folder=tree)
    return out / f"handlit-{handlit.__version__}.tar.gz"


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", out, sdist)
    python("-m", "pip", *build, folder=out)
    return out / f"handlit-{handlit.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Runs the installed command in an empty folder, with the packages of the test environment and no checkout."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    install = ("install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target", site, wheel)
    python("-m", "pip", *install, folder=folder)
    variables = {"PYTHONPATH": str(site), "HOME": str(folder), "WANDB_MODE": "offline", "COLUMNS": "120"}
    where = python("-c", "import handlit; print(handlit.__file__)", folder=folder, **variables)
    assert Path(where.strip()).is_relative_to(site)
    return lambda words: python(site / "bin" / "handlit", *words.split(), folder=folder, **variables)


def test_the_sdist_holds_what_building_and_testing_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {
        "Makefile",
        "main.py",
        "mkdocs.yml",
        "requirements-dev.txt",
        "constraints.txt",
        "CITATION.cff",
        "CHANGELOG.md",
    }
    tree = {
        path.relative_to(ROOT).as_posix()
        for folder in ("configs", "docs", "examples", "handlit", "scripts", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert not (top | tree) - names


def test_the_wheel_holds_the_package_and_its_configurations_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    configs = {f"handlit/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "handlit").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert "handlit/configs/base.yaml" in configs
    assert names == configs | package


def test_the_main_job_runs_from_a_wheel_in_an_empty_folder(command: Command) -> None:
    assert command("--version") == f"handlit {handlit.__version__}\n"
    assert command("score --help").startswith("usage: handlit score ")
    command("synth --out data --train 24 --evaluation 2 --preset easy --workers 0")
    command(
        "fit --config experiment/quickstart --data.init_args.root data --data.init_args.image_size 32 "
        "--data.init_args.batch_size 4 --data.init_args.num_workers 0 --run_dir run --trainer.max_epochs 1 "
        "--trainer.limit_train_batches 2 --trainer.enable_progress_bar false "
        "--model.init_args.network.init_args.backbone.init_args.name test_resnet"
    )
    # base.yaml's callback, best weights and all
    assert "run/pred.zip" in command("predict --config run/config.yaml --trainer.enable_progress_bar false")
    assert "report.html" in command("score run/pred.zip data --out scores")
