"""Starting a run on the wrong number of devices or without all of its processes; two machines, played on one."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from handlit.cli import main
from tests.processes import ROOT, Command
from tests.test_cli import refused

EXPERIMENT = str(ROOT / "configs" / "experiment" / "quickstart.yaml")


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a run of a few steps."""
    data = tmp_path_factory.mktemp("data")
    main(f"synth --out {data} --train 24 --evaluation 5 --preset easy --workers 0".split())
    small = (
        f"--data.init_args.root {data} --data.init_args.image_size 32 --data.init_args.batch_size 4 "
        "--data.init_args.num_workers 0 --model.init_args.network.init_args.backbone.init_args.name test_resnet "
        "--trainer.max_epochs 1 --trainer.enable_progress_bar false"
    )
    return ["--config", EXPERIMENT, *small.split()]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("--trainer.devices 0", "trainer.devices=0"),
        ("--trainer.devices two", "trainer.devices=two"),
        (
            "--trainer.sync_batchnorm true "
            "--model.init_args.network.init_args.backbone.init_args.name test_efficientnet",
            "would drop the activations",
        ),
        ("--trainer.sync_batchnorm true", "needs GPUs"),
        (
            "--trainer.sync_batchnorm true "
            "--model.init_args.network.init_args.backbone.init_args.activation_checkpointing true",
            "counts a batch twice",
        ),
        pytest.param(
            "--trainer.accelerator gpu --trainer.devices 4",
            "0 CUDA devices",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
    ],
)
def test_what_cannot_be_started(
    arguments: list[str], settings: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert word in refused(["fit", *arguments, "--run_dir", str(tmp_path / "run"), *settings.split()], capsys)
    assert not (tmp_path / "run").exists()


def test_a_launcher_with_another_number_of_processes(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # as torchrun would start one of two
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in {**launched, "TORCHELASTIC_RUN_ID": "run"}.items():
        monkeypatch.setenv(name, value)
    asked = ["--run_dir", str(tmp_path / "run"), "--trainer.devices", "3", "--trainer.strategy", "ddp"]
    assert "does not match the world size (2)" in refused(["fit", *arguments, *asked], capsys)


def node(rank: int, command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start what one machine of two runs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "NODE_RANK": str(rank), **environment}
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT)


@pytest.mark.skipif(shutil.which("bash") is None, reason="the launcher is a bash script")
def test_two_machines_make_one_run(arguments: list[str], tmp_path: Path, unused_tcp_port: int) -> None:
    command = ["bash", "scripts/cluster/torchrun.sh", *arguments, "--run_dir", str(tmp_path / "run")]
    place = {"NODES": "2", "HEAD": "127.0.0.1", "PORT": str(unused_tcp_port), "GPUS": "1"}
    nodes = [node(rank, command, tmp_path / f"{rank}.log", **place) for rank in (0, 1)]
    codes = [process.wait(300) for process in nodes]
    logs = [(tmp_path / f"{rank}.log").read_text() for rank in (0, 1)]
    assert codes == [0, 0], "\n".join(logs)
    assert "MEMBER: 2/2" in logs[1]
    # the first machine alone writes: two writers would have left two headers or rows
    table = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    column = table[0].split(",").index("val/pa_mpjpe_mm")
    assert sum(bool(row.split(",")[column]) for row in table[1:]) == 1
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_a_machine_that_never_comes(arguments: list[str], tmp_path: Path, unused_tcp_port: int) -> None:
    strategy = ["--trainer.strategy.class_path", "pytorch_lightning.strategies.DDPStrategy"]
    waits = ["--trainer.num_nodes", "2", "--trainer.devices", "1", *strategy, "--trainer.strategy.timeout", "0:00:02"]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused_tcp_port), "NODE_RANK": "0"}
    command = Command(["fit", *arguments, "--run_dir", str(tmp_path / "run"), *waits], tmp_path / "log", place)
    assert command.wait(120) == 2
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last.startswith("error: the processes of this run did not find each other")
    assert "1/2 clients joined" in last
