"""Work on a whole dataset in worker processes, with a progress bar."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2
import torch
from rich.progress import track

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], description: str, workers: int | None = None
) -> list[Result]:
    """Call a function on each task.

    Args:
        function: A module's own function, or a `functools.partial` of one: it travels to the processes by name.
        tasks: What it is called on; also sent to the processes.
        description: Stands beside the progress bar.
        workers: Processes; None for one a core; 0 calls the function here, without a bar.

    Returns:
        The results, in the tasks' order.

    Raises:
        Exception: The first one that a task raised; the tasks that had not begun are then left.
    """
    if workers == 0 or len(tasks) < 2:
        return [function(task) for task in tasks]
    # fresh processes: forking one whose libraries have running threads can hang
    context = multiprocessing.get_context("spawn")
    count = min(workers or os.cpu_count() or 1, len(tasks))
    pool = ProcessPoolExecutor(count, context, initializer=_limit_threads)
    try:
        futures = [pool.submit(function, task) for task in tasks]
        return [future.result() for future in track(futures, description, transient=True)]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _limit_threads() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
