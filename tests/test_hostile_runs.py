"""Run folders that were copied, moved or made by strangers, and odd names of folders."""

import functools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from handlit.callbacks.running.run_lock import run_lock
from handlit.cli import main
from handlit.run_folder import RunFolder
from tests.callbacks.running.test_run_lock import holder
from tests.test_cli import CONFIGS, refused

NAME = "#1 lr=0.2, [a] {b}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A trained run in a folder of an odd name."""
    folder = tmp_path_factory.mktemp("runs")
    main(f"synth --out {folder / 'data'} --train 24 --evaluation 2 --preset easy --workers 0".split())
    settings = {"root": folder / "data", "image_size": 32, "batch_size": 4, "num_workers": 0}
    options = [f"--data.init_args.{name}={value}" for name, value in settings.items()]
    experiment = str(CONFIGS / "experiment" / "quickstart_mean_hand.yaml")
    quiet = ["--trainer.enable_progress_bar=false", f"--run_dir={NAME}"]
    before = os.getcwd()
    os.chdir(folder)
    try:
        main(["fit", "--config", experiment, *options, *quiet])
    finally:
        os.chdir(before)
    return RunFolder(folder / NAME)


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of it at the place that its configuration names."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.path, tmp_path / NAME)
    return RunFolder(tmp_path / NAME)


def test_a_folder_of_any_name_is_used(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert yaml.safe_load(run.config.read_text())["run_dir"] == NAME
    main(["predict", "--config", f"{NAME}/config.yaml"])
    assert json.loads(run.submission.with_suffix(".card.json").read_text())["checkpoint"] is not None
    assert "lies elsewhere" not in capsys.readouterr().out
    main(["test", "--config", f"{NAME}/config.yaml", "--hypotheses.num_hypotheses", "2"])
    for options in ([NAME], [f"mine={NAME}"], [str(run.hypothesis_table)]):
        main(["compare", *options, "--out", f"{NAME}/page.html"])
    assert "</i>mine</th>" not in (run.path / "page.html").read_text()
    assert "No such" not in capsys.readouterr().err
    main(["test", "--config", f"{NAME}/config.yaml", "--ckpt_path", f"{NAME}/checkpoints/last.ckpt"])
    assert "checkpoints/last.ckpt" in "".join(capsys.readouterr().out.split())
    assert "reads as a setting" in refused(["test", "--config", f"{NAME}/config.yaml", "--ckpt_path", "a: b"], capsys)
    assert refused(["compare", "runs/lr=0.3"], capsys).startswith("error: runs/lr=0.3")


@pytest.mark.parametrize("moved", [False, True])
def test_a_copied_or_moved_run_uses_its_own_folder(
    run: RunFolder, moved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunFolder(run.path.with_name("other"))
    (shutil.move if moved else shutil.copytree)(run.path, other.path)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    main(["predict", "--config", "other/config.yaml"])
    assert f"other/config.yaml says run_dir {NAME}, but lies elsewhere: its own folder, other, is" in (
        capsys.readouterr().out
    )
    assert other.submission.is_file()
    # training it on leaves the original alone, its best weights too
    last = other.last.read_bytes()
    main(["fit", "--config", "other/config.yaml", "--resume", "--trainer.max_epochs", "2"])
    assert other.last.read_bytes() != last
    assert yaml.safe_load(other.config.read_text())["trainer"]["callbacks"][0]["init_args"]["dirpath"] is None
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    # a folder that is named is meant
    main(["predict", "--config", "other/config.yaml", "--run_dir", "new", "--ckpt_path", str(other.best)])
    assert RunFolder("new").submission.is_file()


def mark(path: str) -> Any:
    """What code in a checkpoint would do when it is loaded."""
    return functools.partial(open, path, "w")


@pytest.mark.parametrize("command", ["predict", "test", "validate"])
def test_the_code_of_a_stranger_does_not_run(
    run: RunFolder, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(run.config.read_text())
    config["trainer"]["plugins"] = [{"class_path": "lightning_fabric.plugins.io.TorchCheckpointIO"}]
    config["weights_only"] = False
    run.config.write_text(yaml.safe_dump(config))
    checkpoint = torch.load(run.best, weights_only=True)
    torch.save({**checkpoint, "more": mark("marker")}, run.best)
    message = refused([command, "--config", f"{NAME}/config.yaml"], capsys)
    assert message.splitlines()[-1].endswith("is not loaded: it holds functools.partial, which could run code")
    # nor is a class imported that the checkpoint names
    (tmp_path / "evil_module.py").write_text("open('marker', 'w')\nclass Method: pass\n")
    torch.save({**checkpoint, "hyper_parameters": {"_class_path": "evil_module.Method"}}, run.best)
    main([command, "--config", f"{NAME}/config.yaml", "--ckpt_path", str(run.best)])
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"loops": {}}, "cannot be restored, because it is damaged or of another version: KeyError: '"),
        ({"callbacks": {"ModelCheckpoint": 3}}, ""),
        ({"pytorch-lightning_version": "banana"}, "InvalidVersion"),
        ({"handlit": {"format": "x"}}, "names no format and no method"),
        ({"optimizer_states": []}, "0 optimisers"),
        ({"MeanHand": 3}, ""),
    ],
)
def test_a_state_that_cannot_be_restored_is_one_line(
    run: RunFolder, damage: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**torch.load(run.last, weights_only=True), **damage}, run.last)
    arguments = ["fit", "--config", f"{NAME}/config.yaml", "--resume", "--trainer.max_epochs", "2"]
    if not message:
        main(arguments)
    else:
        said = refused(arguments, capsys)
        assert message in said
        assert "Traceback" not in said
        assert run.metrics.is_file()


def test_a_second_prediction_is_told_of_the_first(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with holder(run.path, "predict") as process:
        with pytest.raises(SystemExit) as stop:
            main(["predict", "--config", f"{NAME}/config.yaml"])
        assert stop.value.code == 69
        assert f"process {process.pid} on" in capsys.readouterr().err
        assert not run.submission.exists()
        main(["validate", "--config", f"{NAME}/config.yaml"])
    with run_lock(run, "predict"):
        pass
