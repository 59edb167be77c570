"""Worker processes: results in order, one thread each, and no demands on the program that starts them."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from handlit.errors import InputError
from handlit.formats.worker_pool import as_completed_in_processes, in_processes, one_thread

#: A whole program without a guard around its code; it reads an index with worker processes.
SCRIPT = """
import sys
from handlit.data.ho3d import HO3D
from handlit.formats import ho3d
print("the program starts")
ho3d.CHUNK = 2
module = HO3D(sys.argv[1], num_workers=2, batch_size=2, image_size=32)
module.prepare_data()
module.setup("fit")
print(len(next(iter(module.train_dataloader()))), "samples of", len(module.table("train")))
"""


def power(exponent: int, base: int) -> int:
    time.sleep(0.05 * (base == 2))
    return int(base**exponent)


def threads(_: int) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def fail(task: int) -> int:
    if task == 3:
        raise ValueError("task 3 cannot be done")
    return task


@pytest.mark.parametrize("workers", [0, 2])
def test_results_are_in_the_order_of_the_tasks(workers: int) -> None:
    assert in_processes(partial(power, 2), [2, 3, 4, 5], "squares", workers) == [4, 9, 16, 25]
    assert dict(as_completed_in_processes(partial(power, 2), [2, 3], workers)) == {2: 4, 3: 9}
    with pytest.raises(ValueError, match="task 3"):
        in_processes(fail, [1, 2, 3, 4], "failing", workers)
    # those of a bar that goes on can wait for the next bar's for ever
    assert not [thread for thread in threading.enumerate() if "rich" in type(thread).__module__]


def test_processes_compute_with_one_thread() -> None:
    results = in_processes(threads, [1, 2, 3, 4], "threads", 2)
    assert os.getpid() not in {process for process, _ in results}
    assert {number for _, number in results} == {1}
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def work_long(started: Path, task: int) -> None:
    (started / str(os.getpid())).write_text("")
    time.sleep(60)


def start_long_work(started: Path) -> None:
    # a program that a shell starts in the background ignores interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    in_processes(partial(work_long, started), [1, 2, 3, 4], "long", 2)


def workers_of(parent: int) -> list[int]:
    """Process numbers of its two workers, once both are started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        workers = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        if len(workers) == 2:
            return workers
        time.sleep(0.02)
    raise AssertionError("no workers were started")


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def check_end(workers: list[int]) -> None:
    """They end within two seconds."""
    deadline = time.monotonic() + 2
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, workers))


@pytest.mark.skipif(sys.platform != "linux", reason="workers are bound to their parent by Linux")
@pytest.mark.parametrize(
    ("name", "moment"),
    [("SIGKILL", "importing"), ("SIGTERM", "importing"), ("SIGINT", "importing"), ("SIGKILL", "working")],
)
def test_workers_end_with_their_parent(name: str, moment: str, tmp_path: Path) -> None:
    # imported here: the worker processes import this module
    from tests.processes import server

    parent = server().Process(target=start_long_work, args=(tmp_path,))
    parent.start()
    assert parent.pid is not None
    try:
        workers = workers_of(parent.pid)
        deadline = time.monotonic() + 120
        while moment == "working" and len(list(tmp_path.iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # well before the tasks end, which take two minutes; Python drops an interrupt that meets it in a destructor
        for _ in range(6):
            os.kill(parent.pid, getattr(signal, name))
            parent.join(5)
            if parent.exitcode is not None:
                break
        assert parent.exitcode is not None
        check_end(workers)
    finally:
        parent.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are bound to their parent by Linux")
def test_workers_of_a_command_end_with_it(tmp_path: Path) -> None:
    from tests.processes import Command

    arguments = ["synth", "--out", str(tmp_path / "data"), "--workers", "2", "--train", "500", "--evaluation", "0"]
    command = Command(arguments, tmp_path / "log")
    assert command.process.pid is not None
    try:
        workers = workers_of(command.process.pid)
        while not list(tmp_path.glob("data/train/*/rgb/*.jpg")):
            assert command.process.exitcode is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        command.process.terminate()
        assert command.wait(30) == -signal.SIGTERM
        check_end(workers)
    finally:
        command.process.kill()


def kill_its_process(task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_named() -> None:
    with pytest.raises(InputError, match="fewer --workers"):
        in_processes(kill_its_process, [1, 2], "killed", 2)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from handlit.data.synthesis import synthesise

    root = tmp_path_factory.mktemp("pool") / "tree"
    synthesise(root, train=6, evaluation=1, seed=4, preset="easy", workers=0, progress=False)
    return root


@pytest.mark.parametrize("way", ["file", "-c", "stdin"])
def test_programs_without_a_guard_use_processes(way: str, tree: Path, tmp_path: Path) -> None:
    script = tmp_path / "plain script.py"
    script.write_text(SCRIPT)
    first = {"file": str(script), "-c": "-c", "stdin": "-"}[way]
    command = [sys.executable, first, *([SCRIPT] if way == "-c" else []), str(tree)]
    run = subprocess.run(
        command,
        input=SCRIPT if way == "stdin" else None,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HANDLIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("\n", 1)[0] == "the program starts"
    assert run.stdout.strip().endswith("\n2 samples of 6")
    assert run.stdout.count("the program starts") == 1


def test_functions_of_the_program_itself_run_in_it() -> None:
    script = """
import os
from handlit.formats.worker_pool import as_completed_in_processes, in_processes
def process(task):
    return os.getpid()
print({*in_processes(process, [1, 2, 3], "here", 2)} == {os.getpid()})
print({result for _, result in as_completed_in_processes(process, [1, 2], 2)} == {os.getpid()})
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert run.stdout.split() == ["True", "True"], run.stderr
