"""Worker processes: results in order, one thread each, and no demands on the program that starts them."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

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


def test_processes_compute_with_one_thread() -> None:
    results = in_processes(threads, [1, 2, 3, 4], "threads", 2)
    assert os.getpid() not in {process for process, _ in results}
    assert {number for _, number in results} == {1}
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


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
