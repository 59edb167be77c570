"""One process at a time runs a command in a run folder, and a dead one blocks nobody."""

import contextlib
import fcntl
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from handlit.callbacks.running.run_lock import run_lock
from handlit.cli import main
from handlit.errors import RunInUse
from handlit.run_folder import RunFolder
from tests.test_cli import CONFIGS


def hold(folder: Path, command: str) -> None:
    with run_lock(RunFolder(folder), command):
        (folder / "held").touch()
        time.sleep(60)


@contextlib.contextmanager
def holder(folder: Path, command: str = "fit") -> Iterator[BaseProcess]:
    """Another process that holds a folder."""
    process = multiprocessing.get_context("fork").Process(target=hold, args=(folder, command), daemon=True)
    process.start()
    while not (folder / "held").exists():
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


def test_the_second_process_hears_of_the_first(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with holder(run.path) as process:
        with pytest.raises(RunInUse) as error, run_lock(run, "fit"):
            pass
        for part in (str(run.path), f"process {process.pid} on {socket.gethostname()}, since 20", "--run_dir"):
            assert part in str(error.value)
        # a training and its evaluation go together
        with run_lock(run, "predict"):
            assert run.lock("predict").is_file()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    # its file is there, and nobody holds it
    assert run.lock("fit").is_file()
    with run_lock(run, "fit"):
        assert str(os.getpid()) in run.lock("fit").read_text()
    assert [path.name for path in run.path.iterdir()] == ["held"]


def test_the_lock_of_a_lost_node_does_not_block(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.lock("fit").write_text("process 1 on a node that burnt down, since yesterday\n")
    with run_lock(run, "fit"):
        pass


def test_what_failed_before_it_wrote_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(RunFolder(tmp_path / "run"), "fit"):
        raise ZeroDivisionError
    assert not (tmp_path / "run").exists()


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", no_lock)
    with run_lock(RunFolder(tmp_path), "fit"):
        pass


def test_a_second_training_ends_with_a_code_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path / "run")
    main(f"synth --out {tmp_path / 'data'} --train 4 --evaluation 2 --preset easy --workers 0".split())
    experiment = str(CONFIGS / "experiment" / "quickstart_mean_hand.yaml")
    data = ["--data.init_args.root", str(tmp_path / "data"), "--data.init_args.num_workers", "0"]
    with holder(run.path), pytest.raises(SystemExit) as stop:
        main(["fit", "--config", experiment, *data, "--run_dir", str(run.path), "--resume"])
    assert stop.value.code == 69
    assert "already runs in" in capsys.readouterr().err
    assert not run.config.exists()
