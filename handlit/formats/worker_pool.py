"""Work on a whole dataset in worker processes, with a progress bar.

It works from a plain script, ``python -c`` and a notebook, too: the worker processes do not import the program that
started them, as multiprocessing's would, so that a script needs no ``if __name__ == "__main__":`` around its code. And
they end with it, whatever ends it (`handlit.formats.worker_main`).
"""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

import cv2
from rich.progress import Progress

from handlit.errors import InputError, check_number

#: Processes; more would fill a machine's memory before they begin.
MAX_WORKERS = 256

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], description: str, workers: int | None = None
) -> list[Result]:
    """Call a function on each task.

    Args:
        function: A module's own function, or a `functools.partial` of one: it is sent to the processes by name. One
            of the script or notebook itself runs in this process instead.
        tasks: What it is called on; also sent to the processes.
        description: Stands beside the progress bar.
        workers: Processes; None for one a core; 0 calls the function here, without a bar.

    Returns:
        The results, in the tasks' order.

    Raises:
        InputError: A worker process was killed, or there cannot be as many.
        Exception: The first one that a task raised; the tasks that had not begun are then left.
    """
    _check(workers)
    if workers == 0 or len(tasks) < 2 or _is_of_main(function):
        return [function(task) for task in tasks]
    results = []
    # not rich's `track`: where a task fails its threads go on, and can wait for each other for ever
    with _pool(workers, len(tasks)) as pool, Progress(transient=True) as bar:
        row = bar.add_task(description, total=len(tasks))
        for future in [pool.submit(function, task) for task in tasks]:
            results.append(future.result())
            bar.advance(row)
    return results


def as_completed_in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None = None
) -> Iterator[tuple[Task, Result]]:
    """Call a function on each task, and yield each result as soon as it is there.

    Args:
        function: As for `in_processes`.
        tasks: What it is called on; also sent to the processes.
        workers: Processes; None for one a core; 0 calls the function here, with one thread as in the processes.

    Yields:
        A task and its result, in the order in which the tasks end.

    Raises:
        InputError: A worker process was killed, or there cannot be as many.
        Exception: The first one that a task raised; the tasks that had not begun are then left.
    """
    _check(workers)
    if workers == 0 or _is_of_main(function):
        with one_thread():
            for task in tasks:
                yield task, function(task)
        return
    with _pool(workers, len(tasks)) as pool:
        futures = {pool.submit(function, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()


def _check(workers: int | None) -> None:
    if workers is not None:
        check_number("workers", workers, least=0, most=MAX_WORKERS, whole=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as worker processes do: with more of them sums differ in the last bit."""
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    _limit_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


class _Process(SpawnProcess):
    """A fresh process that does not import the program's main module: forking one with running threads can hang."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # the new process is told what to import as __main__ by this module's attributes
        main, stand_in = sys.modules["__main__"], ModuleType("__main__")
        stand_in.__spec__ = ModuleSpec("handlit.formats.worker_main", None)
        process_obj.name = f"worker of {os.getpid()}"
        sys.modules["__main__"] = stand_in
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def _is_of_main(function: Callable[[Any], Any]) -> bool:
    """Whether a function needs what the main module defines, which worker processes do not have."""
    return b"__main__" in pickle.dumps(function)


@contextmanager
def _pool(workers: int | None, num_tasks: int) -> Iterator[ProcessPoolExecutor]:
    count = max(1, min(workers or os.cpu_count() or 1, num_tasks))
    pool = ProcessPoolExecutor(count, _Context(), initializer=_limit_threads)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed, perhaps because memory ran out: run the same command again with fewer "
            "--workers"
        ) from error
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        # nobody waits for what the tasks give; files appear under their names only when they are whole
        for process in multiprocessing.active_children():
            if isinstance(process, _Process):
                process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _limit_threads() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
