"""Real processes, killed and resumed, against one that was never killed: the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from handlit.callbacks.running.last_checkpoint import Preempted
from handlit.cli import main
from handlit.run_folder import RunFolder
from tests.processes import ROOT, Command


class Runs:
    """Runs of two epochs of a tiny network with dropout, on tiny data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        main(f"synth --out {folder / 'data'} --train 40 --evaluation 3 --preset easy --workers 0".split())

    def fit(
        self,
        run: str,
        *options: str,
        stop: tuple[int, int, str] | None = None,
        rank: int | None = None,
        fresh: bool = False,
    ) -> tuple[int, str]:
        """Train in a process of its own, the head of its group; returns its exit code and what it said.

        With `fresh` it is a new interpreter: loader workers of a forked one do not live through SIGTERM to the group.
        """
        callbacks: list[dict[str, Any]] = [
            {"class_path": "pytorch_lightning.callbacks.LearningRateMonitor"},
        ]
        if stop is not None:
            place = {"epoch": stop[0], "batch": stop[1], "name": stop[2], "rank": rank}
            callbacks.append({"class_path": "tests.stopping.StopAt", "init_args": place})
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"trainer": {"callbacks": callbacks}}))
        small = (
            f"--data.init_args.root {self.folder / 'data'} --data.init_args.image_size 32 "
            "--data.init_args.batch_size 2 --data.init_args.num_workers 0 "
            "--model.init_args.network.init_args.backbone.init_args.name test_resnet "
            "--model.init_args.network.init_args.dropout 0.2 --trainer.max_epochs 2 --trainer.log_every_n_steps 1 "
            f"--trainer.accumulate_grad_batches 2 --trainer.enable_progress_bar false --checkpoints.steps 4 "
            f"--config {settings}"
        )
        experiment = str(ROOT / "configs" / "experiment" / "quickstart.yaml")
        arguments = ["fit", "--config", experiment, *small.split(), "--run_dir", str(self.folder / run), *options]
        log = self.folder / "log.txt"
        if not fresh:
            return Command(arguments, log).wait(300), log.read_text()
        command = [sys.executable, "main.py", *arguments]
        with log.open("wb") as file:
            done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, timeout=300, start_new_session=True)
        return done.returncode, log.read_text()

    def state(self, run: str) -> dict[str, Any]:
        """The last state of a run, less where it lies and what callbacks remember of that."""
        checkpoint = torch.load(RunFolder(self.folder / run).last, weights_only=True)
        del checkpoint["callbacks"]
        return checkpoint


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Where two nested states differ, to the bit."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [line for key in first for line in differences(first[key], second[key], f"{place}/{key}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{place}/{index}")]
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return [] if torch.equal(first, second) else [place]
    return [] if first == second else [f"{place}: {first} and {second}"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def test_a_killed_run_resumes_as_if_nothing_had_happened(runs: Runs) -> None:
    tmp_path = runs.folder
    code, said = runs.fit("whole")
    assert code == 0, said

    # killed before the first checkpoint, in the first epoch, and by SIGTERM in the second one
    assert runs.fit("killed", "--resume", stop=(0, 1, "SIGKILL"))[0] == -signal.SIGKILL
    killed = RunFolder(tmp_path / "killed")
    assert not killed.last.exists()
    assert runs.fit("killed", "--resume", stop=(0, 8, "SIGKILL"))[0] == -signal.SIGKILL
    assert killed.previous.is_file()
    # a power cut may leave half a file
    os.truncate(killed.last, killed.last.stat().st_size // 2)
    code, said = runs.fit("killed", "--resume", "--data.init_args.num_workers", "1", stop=(1, 5, "SIGTERM"), fresh=True)
    assert code == Preempted.EXIT_CODE, said
    assert f"{killed.last} is damaged" in said
    assert "SIGTERM" in said
    code, said = runs.fit("killed", "--resume")
    assert code == 0, said
    # Lightning's warning of a folder that is in use
    assert "not empty" not in said

    assert differences(runs.state("whole"), runs.state("killed")) == []
    tables = [(tmp_path / run / "metrics.csv").read_text() for run in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert tables[0].count("\n") > 20
    # a finished run is left as it is
    code, said = runs.fit("whole", "--resume")
    assert code == 0, said
    assert (tmp_path / "whole" / "metrics.csv").read_text() == tables[0]
    assert yaml.safe_load(killed.config.read_text())["ckpt_path"] is None


def test_sigterm_before_the_first_step(runs: Runs) -> None:
    code, said = runs.fit("early", "--resume", stop=(-1, 0, "SIGTERM"))
    assert code == Preempted.EXIT_CODE, said
    assert RunFolder(runs.folder / "early").last.is_file()


def test_one_of_two_processes_receives_sigterm(runs: Runs) -> None:
    two = ["--resume", "--trainer.devices", "2", "--trainer.strategy", "ddp", "--checkpoints.signal_steps", "3"]
    code, said = runs.fit("pair", *two, stop=(0, 1, "SIGTERM"), rank=1)
    assert code == Preempted.EXIT_CODE, said
    stopped = runs.state("pair")
    # agreed on at the third batch, written where no gradients are accumulated
    assert (stopped["epoch"], stopped["global_step"]) == (0, 2)
    code, said = runs.fit("pair", *two)
    assert code == 0, said
    code, said = runs.fit("unstopped", *two)
    assert code == 0, said
    assert differences(runs.state("unstopped"), runs.state("pair")) == []
