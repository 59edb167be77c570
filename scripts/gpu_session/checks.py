"""The tests that need a GPU, and pieces that are benchmarks of their own."""

import importlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from scripts.benchmarks.__main__ import BENCHMARKS
from scripts.benchmarks.measure import Figure
from scripts.gpu_session.piece import Emit, NotHere, Setting

ROOT = Path(__file__).parents[2]
GPU_TESTS = ROOT / "tests" / "gpu"
#: Its tests take minutes.
COMPILER = GPU_TESTS / "test_compile.py"


class _Reporter:
    """Tells results of tests when they are there."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        self.counts[report.outcome] += 1
        name = report.nodeid.rpartition("/")[2]
        if report.outcome == "passed":
            self.emit(Figure(f"{name} passes", report.duration, "s"))
        for key, value in report.user_properties if report.when == "call" else ():
            self.emit(Figure(f"{name}: {key}", float(value), ""))
        if report.outcome == "failed":
            self._fails(name, report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            self._fails(report.nodeid.rpartition("/")[2], report)

    def _fails(self, name: str, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        # of what cannot be imported the last line says why
        lines = [crash.message.splitlines()[0]] if crash and crash.message else str(report.longrepr).splitlines()[-1:]
        self.failed.append(name)
        self.emit(f"{name} fails: {''.join(lines)}")


def gpu_tests(compiler: bool, setting: Setting, emit: Emit) -> None:
    """Run the tests that are marked ``gpu``: those of the compiler, or all others.

    Raises:
        NotHere: There is no pytest, or there are no tests.
        RuntimeError: Some fail.
    """
    if find_spec("pytest") is None:
        raise NotHere("pytest is not installed")
    import pytest

    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [path for path in tests if path.parent == GPU_TESTS or "pytest.mark.gpu" in path.read_text()]
    files = [str(path) for path in marked if (path == COMPILER) == compiler]
    if not files:
        raise NotHere(f"no test is marked gpu in {ROOT / 'tests'}")
    os.chdir(ROOT)
    reporter = _Reporter(emit)
    options = ["-m", "gpu", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-v", "--tb=short"]
    options.append("--continue-on-collection-errors")
    code = pytest.main([*files, *options], plugins=[reporter])
    for outcome, count in reporter.counts.items():
        emit(Figure(f"tests {outcome}", count, "tests"))
    if reporter.failed:
        raise RuntimeError(f"{len(reporter.failed)} fail: {', '.join(reporter.failed)}")
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ended with {code!r}: see the log")


def benchmark(name: str, sizes: str, setting: Setting, emit: Emit) -> None:
    """A benchmark of `scripts.benchmarks`.

    Args:
        name: Its module.
        sizes: Its options; ``{batch}`` stands for the piece's.
        setting: Device, and whether it has its small form.
        emit: Takes the figures.
    """
    options = BENCHMARKS[name] if setting.smoke else sizes.format(batch=setting.batch)
    common = [f"--device={setting.device}", f"--threads={torch.get_num_threads()}"]
    for figure in importlib.import_module(f"scripts.benchmarks.{name}").main([*common, *options.split()]):
        emit(figure)


def two_processes(setting: Setting, emit: Emit) -> None:
    """Data-parallel training by two GPUs with NCCL; by two CPU processes with gloo in the small form.

    Raises:
        NotHere: There is one GPU.
    """
    if setting.device.type == "cuda" and (count := torch.cuda.device_count()) < 2:
        raise NotHere(f"two processes with NCCL need two GPUs, and there is {count}")
    sizes = "--full --backbone hrnet_w64 --batch {batch} --size 224 --rounds 2"
    benchmark("processes", sizes, setting, emit)
