"""Processes of their own for tests: forks of a server that has imported the libraries and computed nothing.

A new interpreter takes about nine processor seconds to import PyTorch, Lightning and the command line, such a fork
none. All else is as in a process that somebody started: its signals, its environment, its files, its exit code.
"""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.multiprocessing.spawn import start_processes

from handlit.cli import main

ROOT = Path(__file__).parents[1]
#: What the processes need: whatever takes long to import.
PRELOADED = ["handlit.cli.trainer", "handlit.data.synthesis", "handlit.callbacks", "handlit.methods"]


def server() -> ForkServerContext:
    """The context whose processes are such forks; its server starts with the first call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # the server looks for the package in the folder in which it starts
    here = os.getcwd()
    os.chdir(ROOT)
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(here)
    return context


class Command:
    """A command of handlit in a process of its own, the head of its group.

    Args:
        arguments: What follows ``python main.py``.
        log: File of what it prints.
        environment: Variables on top of this process's.
    """

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self.process: ForkServerProcess = server().Process(target=_run, args=(list(arguments), log, variables))
        self.process.start()

    def wait(self, timeout: float) -> int:
        """Exit code; negative for a signal."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"the command still runs after {timeout} s"
        return self.process.exitcode


def _run(arguments: list[str], log: Path, variables: dict[str, str]) -> None:
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(variables)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["main.py", *arguments]
    torch.set_num_threads(1)
    main(arguments)


def ranks(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Call ``function(rank, *arguments)`` in processes that run at once; as `torch.multiprocessing.spawn`."""
    server()
    start_processes(function, arguments, count, start_method="forkserver")


@contextlib.contextmanager
def tensors_by_name() -> Iterator[None]:
    """Within, tensors travel to processes as names of files: the server hands over at most 256 open files at once."""
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        yield
    finally:
        torch.multiprocessing.set_sharing_strategy(before)


def ddp() -> DDPStrategy:
    """Distributed data-parallel training in such processes, on the CPU."""
    server()
    return DDPStrategy(start_method="forkserver", process_group_backend="gloo")
