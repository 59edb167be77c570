"""What all benchmarks share: figures, fair timing, the machine and its matrix rate, memory of one piece of work.

Machines drift: contestants take turns, and what counts is the ratio of medians within one run.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: What was measured, and with which sizes.
        value: The number.
        unit: Its unit; ``"x"`` for a ratio.
    """

    name: str
    value: float
    unit: str


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Command line with the options that every benchmark on tensors has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    return parser


def prepare(args: argparse.Namespace) -> torch.device:
    """Apply the options of `parser_of`; returns the device."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    # sizes stay the same within a benchmark: let cuDNN look for the fastest kernel, as training should
    torch.backends.cudnn.benchmark = True
    device: torch.device = args.device
    return device


def now(device: torch.device) -> float:
    """Seconds on a clock, when the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that a piece of work takes."""
    start = now(device)
    work()
    return now(device) - start


def in_turns(
    contestants: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warm_up: int = 1
) -> Seconds:
    """Seconds of each contestant in each round; they take turns, and the first rounds only warm up."""
    seconds: Seconds = {name: [] for name in contestants}
    for number in range(warm_up + rounds):
        for name, work in contestants.items():
            elapsed = timed(work, device)
            if number >= warm_up:
                seconds[name].append(elapsed)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The middle one of each contestant's times."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio(seconds: Seconds, name: str, base: str) -> float:
    """Median over the rounds of one contestant's time by another's."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))


def peak_memory_mb(device: torch.device) -> float:
    """Megabytes at the highest so far: of this process, or of the CUDA allocator."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def alone(function: Callable[..., T], *args: object) -> T:
    """Call a function in a process of its own, whose memory and threads are its own too."""
    with ProcessPoolExecutor(1, mp_context=fresh()) as pool:
        return pool.submit(function, *args).result()


def fresh() -> BaseContext:
    """How to start processes that inherit nothing: neither threads, nor locks that are held, nor a CUDA device.

    They are forks of a server that has imported libraries and computed nothing. A fork of a process that has computed
    may wait for ever for threads that it does not have.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["handlit.methods"])
    return context


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int, repeats: int = 5) -> float:
    """Floating-point operations a second of square matrix products, the best of some."""
    first, second = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = in_turns({"product": lambda: first @ second}, repeats, device, warm_up=2)
    return 2 * size**3 / min(seconds["product"])


def machine(device: torch.device, threads: int) -> dict[str, str | int]:
    """What the figures were measured on."""
    described: dict[str, str | int] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        described |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return described


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    """Commit of the tree, with a mark if files have changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
