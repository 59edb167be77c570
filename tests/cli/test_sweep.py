"""The verb ``sweep``: every shipped file fits its experiment, wrong ones are refused, and two real trials run."""

import contextlib
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from wandb import wandb_agent

from handlit.cli import main
from handlit.cli.sweep import parsed
from handlit.metrics.registry import logged_names
from handlit.sweeps import LocalSweep, check_sweep, load_sweep

CONFIGS = Path(__file__).parents[2] / "configs"
SWEEPS = sorted((CONFIGS / "sweeps").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands in sweep files are for the repository's root."""
    monkeypatch.chdir(CONFIGS.parent)


@pytest.fixture
def shipped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A shipped sweep; where it tests a finished run, with the configuration of that run."""
    path: Path = request.param
    assert path.read_text().startswith(f"# python main.py sweep configs/sweeps/{path.name} --local ")
    trained = "runs/mhentropy_ho3d_v2"
    if f"{trained}/config.yaml" not in path.read_text():
        return path
    config = tmp_path / "config.yaml"
    with config.open("w") as file, contextlib.redirect_stdout(file), pytest.raises(SystemExit):
        main(["fit", "--config", "configs/experiment/mhentropy_ho3d_v2.yaml", "--print_config"])
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace(f"{trained}/config.yaml", str(config)))
    return copy


@pytest.mark.parametrize("shipped", SWEEPS, ids=lambda path: path.stem, indirect=True)
def test_a_shipped_sweep_fits_its_experiment(shipped: Path) -> None:
    sweep = load_sweep(shipped)
    check_sweep(sweep, parsed)
    # W&B's arguments come after what they change
    assert sweep.command[-1] == "${args}"


@pytest.mark.parametrize("shipped", SWEEPS, ids=lambda path: path.stem, indirect=True)
def test_the_agent_of_wandb_runs_a_shipped_sweep(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """W&B's own code makes the command out of the file, and the command line takes it."""
    started: list[list[str]] = []

    def start(command: list[str], **_: object) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace()

    monkeypatch.setattr(wandb_agent, "AgentProcess", start)
    for name, value in (("WANDB_DIR", str(tmp_path)), ("WANDB_SWEEP_ID", "s"), ("WANDB_RUN_ID", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "")
    content = yaml.safe_load(shipped.read_text())
    agent = wandb_agent.Agent(api=None, queue=None)
    agent._sweep_command = content["command"]
    values = {name: parameter.extremes()[-1] for name, parameter in load_sweep(shipped).space.items()}
    arguments = {name: {"value": value} for name, value in values.items()}
    for run in ("first", "second"):
        agent._command_run({"run_id": run, "program": content["program"], "args": arguments})
        assert started[-1][:3] == ["/usr/bin/env", "python", content["program"]]
        with pytest.raises(SystemExit) as stop:
            main([*started[-1][3:], "--print_config"])
        assert stop.value.code == 0
        config = yaml.safe_load(capsys.readouterr().out)
        # a folder of its own for every run, or the second would be refused
        assert config["run_dir"] == f"runs/sweeps/{shipped.stem}/{run}"
        assert config["trainer"]["logger"]["class_path"] == "handlit.callbacks.WandbRun"
        assert config["trainer"]["logger"]["init_args"]["log_model"] is False
        if shipped.stem == "amvur":
            trainer = config["trainer"]
            assert (trainer["devices"], trainer["strategy"]) == ("1", "auto")
            # the published batch of 4 GPUs
            assert config["data"]["init_args"]["batch_size"] * trainer["accumulate_grad_batches"] == 64
        for name, value in values.items():
            assert reduce(getitem, name.split("."), config) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"model.init_args.learning_rat": {"value": 1.0}}}, "learning_rat"),
        ({"parameters": {"model.init_args.network.init_args.steps": {"values": [2, "two"]}}}, "steps"),
        (
            {
                "method": "random",
                "parameters": {
                    "model.init_args.network.init_args.steps": {
                        "values": [2, "two", 3],
                        "probabilities": [0.5, 0.2, 0.3],
                    }
                },
            },
            "steps=two is refused",
        ),
        ({"metric": {"name": "val/pa_mpjpe", "goal": "minimize"}}, "val/pa_mpjpe of main.py fit is not compared"),
        ({"parameters": {"run_dir": {"values": ["a", "b"]}}}, "run_dir is no setting to search"),
        ({"parameters": {"ckpt_path": {"values": ["a.ckpt", "b.ckpt"]}}}, "ckpt_path is no setting to search"),
        ({"parameters": {"config": {"values": ["a.yaml", "b.yaml"]}}}, "config is no setting to search"),
        ({"command": ["python", "./main.py", "fit", "--config", "no.yaml", "${args}"]}, "the command is refused: "),
        ({"command": ["handlit", "predict", "${args}"]}, "the command must be main.py fit"),
        (
            {
                "command": [
                    *(
                        "python",
                        "main.py",
                        "test",
                        "--config",
                        "configs/experiment/quickstart_mhentropy.yaml",
                        "${args}",
                    )
                ],
                "metric": {"name": "test/crps_mm"},
                "parameters": {"hypotheses.num_hypotheses": {"values": [10, 0]}},
            },
            "test/crps_mm is not logged with hypotheses.num_hypotheses 0",
        ),
    ],
)
def test_what_the_experiment_refuses_is_refused_before_anything_runs(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((CONFIGS / "sweeps" / "quickstart.yaml").read_text()) | change
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(tmp_path / "wrong.yaml"), "--local", "2", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "usage:" not in said
    assert not (tmp_path / "out").exists()


def test_a_shipped_sweep_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Path, int]] = []
    monkeypatch.setattr("handlit.cli.sweep.check_sweep", lambda search, parse: started.append((search.path, 0)))
    monkeypatch.setattr(LocalSweep, "run", lambda local, count: started.append((local.folder, count)))
    monkeypatch.chdir(tmp_path)
    main(["sweep", "sweeps/quickstart", "--local", "3"])
    assert started == [(CONFIGS / "sweeps" / "quickstart.yaml", 0), (Path("runs/sweeps/quickstart"), 3)]


@pytest.mark.parametrize("count", [2, 4])
def test_a_sweep_of_failures_alone_ends_with_a_message(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "method": "grid",
        "metric": {"name": "loss"},
        "command": ["python", "-c", "raise SystemExit('too bad')", "${args}"],
        "parameters": {"x": {"values": list(range(9))}},
        "run_cap": 3,
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(tmp_path / "sweep.yaml"), "--local", str(count), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "failed, the last with: too bad" in capsys.readouterr().err
    assert statuses(tmp_path / "out") == ["failed"] * min(count, 3)


def test_a_sweep_of_preempted_trials_asks_to_be_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {
        "method": "grid",
        "metric": {"name": "loss"},
        "command": ["python", "-c", "raise SystemExit(75)", "${args}"],
        "parameters": {"x": {"values": [1, 2]}},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(tmp_path / "sweep.yaml"), "--local", "2", "--out", str(tmp_path / "out")])
    assert stop.value.code == 75
    assert "the same command resumes them" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Words for a training of seconds."""
    data = tmp_path_factory.mktemp("tiny") / "data"
    main(f"synth --out {data} --train 40 --evaluation 2 --preset easy --workers 0".split())
    return (
        f"--data.init_args.root={data} --data.init_args.image_size=32 --data.init_args.batch_size=2 "
        "--model.init_args.network.init_args.backbone.init_args.name=test_resnet --trainer.enable_progress_bar=false"
    )


def run_sweep(
    folder: Path, name: str, change: dict[str, Any], words: str, count: int
) -> tuple[Path, list[dict[str, str]]]:
    """Run trials of a shipped sweep with more words in its command; its folder and the rows of its table."""
    content = yaml.safe_load((CONFIGS / "sweeps" / f"{name}.yaml").read_text()) | change
    content["command"][-1:] = [*words.split(), "${args}"]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    out = folder / name
    main(["sweep", str(folder / f"{name}.yaml"), "--local", str(count), "--out", str(out)])
    with (out / "results.csv").open() as file:
        return out, list(csv.DictReader(file))


def test_real_trials_of_training_and_testing(tiny: str, tmp_path: Path) -> None:
    tiny += " --data.init_args.num_workers=0 --trainer.max_epochs=1"
    out, rows = run_sweep(tmp_path, "quickstart", {}, tiny, count=1)
    trained = out / "trials" / "0001"
    (row,) = rows
    with (trained / "metrics.csv").open() as file:
        logged = [float(line["val/pa_mpjpe_mm"]) for line in csv.DictReader(file) if line["val/pa_mpjpe_mm"]]
    assert row["status"] == "finished"
    assert float(row["val/pa_mpjpe_mm"]) == pytest.approx(min(logged), rel=1e-5)
    assert (trained / "checkpoints" / "best.ckpt").is_file()
    assert list(trained.glob("wandb/offline-run-*"))

    command = yaml.safe_load((CONFIGS / "sweeps" / "mhentropy_temperature.yaml").read_text())["command"]
    command = [word.replace("runs/mhentropy_ho3d_v2", str(trained)) for word in command]
    change = {"command": command, "parameters": {"hypotheses.temperature": {"values": [0.0, 1.0]}}}
    out, rows = run_sweep(tmp_path, "mhentropy_temperature", change, "--hypotheses.num_hypotheses=10", count=2)
    assert [row["status"] for row in rows] == ["finished"] * 2
    tests = {
        row["hypotheses.temperature"]: json.loads((out / f"trials/000{row['trial']}/test.json").read_text())
        for row in rows
    }
    for row in rows:
        assert float(row["test/crps_mm"]) == pytest.approx(
            tests[row["hypotheses.temperature"]]["test/crps_mm"], rel=1e-5
        )
    values = [float(row["test/crps_mm"]) for row in rows]
    assert values == sorted(values)
    assert (out / "sweep.html").read_text().count("<polyline") == 2
    # the temperature reaches what is drawn: at 0 all ten are the point estimate
    cold, warm = tests["0.0"], tests["1.0"]
    assert cold["test/mpjpe_best_of_10_mm"] == pytest.approx(cold["test/mpjpe_mm"], rel=1e-5)
    assert warm["test/mpjpe_mm"] == cold["test/mpjpe_mm"]
    assert warm["test/mpjpe_best_of_10_mm"] != pytest.approx(warm["test/mpjpe_mm"], rel=1e-3)
    names = {name for name in tests["1.0"] if not name.startswith("test/loss")}
    assert names == set(logged_names()["test"]) - {"test/mpjpe_best_of_50_mm", "test/mpjpe_best_of_200_mm"}


def test_a_real_trial_with_workers_is_stopped_and_resumed(tiny: str, tmp_path: Path) -> None:
    content = yaml.safe_load((CONFIGS / "sweeps" / "quickstart.yaml").read_text())
    content["command"] = [
        *("python", "./main.py", "fit", "--config", "configs/experiment/quickstart_mhentropy.yaml"),
        *(*tiny.split(), "--data.init_args.num_workers=1", "--trainer.max_epochs=6", "--trainer.limit_train_batches=6"),
        "--media.every_n_epochs=0",
        "${args}",
    ]
    content["parameters"] = {"model.init_args.learning_rate": {"value": 1.0e-3}}
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(content))
    # two at once would share the cores: one thread, which other tests at the same time hold up less
    words = ["sweep", str(file), "--local", "1", "--parallel", "2", "--out", str(out)]
    trial = out / "trials" / "0001"
    sweep = subprocess.Popen([sys.executable, "main.py", *words])
    try:
        wait_until((trial / "checkpoints" / "last.ckpt").is_file, 120)
        sweep.terminate()
        assert sweep.wait(40) == 130
    finally:
        sweep.kill()
    log = (trial / "log.txt").read_text()
    assert "last.ckpt is written" in log
    assert "DataLoader worker" not in log
    assert statuses(out) == ["running"]
    main(words)
    assert statuses(out) == ["finished"]
    with (trial / "metrics.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["val/pa_mpjpe_mm"]]
    assert [int(row["epoch"]) for row in rows] == list(range(6))


_SLOW_TO_STOP = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[2].removeprefix("--run_dir="))
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), os._exit(1)))
(folder / "pid").write_text(str(os.getpid()))
while (folder.parent.parent.parent / "wait").exists():
    time.sleep(0.1)
(folder / "metrics.csv").write_text("loss\\n1.0\\n")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_sweep_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    """Its trial ends, here after two seconds for its checkpoint; only then can the sweep be resumed."""
    (tmp_path / "program.py").write_text(_SLOW_TO_STOP)
    (tmp_path / "wait").touch()
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(
        yaml.safe_dump(
            {
                "method": "grid",
                "metric": {"name": "loss"},
                "command": ["${env}", "python", str(tmp_path / "program.py"), "${args}"],
                "parameters": {"x": {"value": 1}},
            }
        )
    )
    words = ["sweep", str(file), "--local", "1", "--out", str(out)]
    sweep = subprocess.Popen([sys.executable, "main.py", *words], stdout=subprocess.PIPE, text=True)
    try:
        pid_file = out / "trials" / "0001" / "pid"
        wait_until(pid_file.is_file, 60)
        pid = int(pid_file.read_text() or "0")
        with pytest.raises(SystemExit):
            main(words)
        # the refused one leaves the table to the other
        assert not (out / "results.csv").exists()
        sweep.send_signal(number)
        said, _ = sweep.communicate(timeout=30)
        assert sweep.returncode == (130 if number == signal.SIGTERM else -number)
        if number == signal.SIGTERM:
            assert "the same command resumes" in said
        else:
            assert running(pid)
            with pytest.raises(SystemExit):
                main(words)
            wait_until(lambda: not running(pid), 10)
        assert not running(pid)
    finally:
        sweep.kill()
        (tmp_path / "wait").unlink()
    main(words)
    assert statuses(out) == ["finished"]


def statuses(out: Path) -> list[str]:
    """What became of the trials, from the table."""
    with (out / "results.csv").open() as table:
        return [row["status"] for row in csv.DictReader(table)]


def running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
