"""The GPU session: all pieces in their small form, and what happens when pieces or the machine fail."""

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from handlit.data.synthesis import population
from handlit.errors import InputError
from scripts.benchmarks import hypotheses
from scripts.benchmarks.measure import Figure
from scripts.gpu_session import __main__ as gpu_session
from scripts.gpu_session.__main__ import distinct, facts_of, in_order, main, session
from scripts.gpu_session.machine import check_cuda
from scripts.gpu_session.piece import Emit, NotHere, Outcome, Piece, Setting
from scripts.gpu_session.pieces import PIECES
from scripts.gpu_session.process import attempts, run_piece
from scripts.gpu_session.record import Record
from tests.test_benchmarks import in_this_process

CPU = Setting(torch.device("cpu"), smoke=True)
MACHINE = {"device": "cpu", "commit": "abc"}


def options(out: Path, *only: str) -> argparse.Namespace:
    return argparse.Namespace(out=out, minutes=20.0, smoke=True, only=list(only or PIECES))


def here(piece: Piece, setting: Setting, limit_s: float, log: Path) -> Outcome:
    """In place of `run_piece`: in this process, which has imported PyTorch; but not pytest in pytest."""
    if "gpu_tests" in piece.work.args:
        return run_piece(piece, setting, 500, log)
    outcome = Outcome("measured")
    attempts(piece, setting, lambda row: outcome.__getattribute__(_list_of(row)).append(row))
    return outcome


def _list_of(row: Figure | str) -> str:
    return "notes" if isinstance(row, str) else "figures"


#: A figure of each piece that has one of its own.
TOLD = {
    "amvur_64": "handlit, bf16, batch 2, times the reference's speed",
    "amvur_profile": "operations together",
    "amvur_64_compiled": "handlit, compiled, bf16, batch 2, peak memory",
    "lift": "3 hypotheses of 1 hands",
    "pixel_lift": "3 hypotheses of 2 images",
    "online": "render, fed by 0 processes",
}


@pytest.mark.parametrize("name", distinct(list(PIECES)))
def test_smoke_does_every_piece(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypotheses, "alone", in_this_process)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    # natural poses that synthetic hands start from
    monkeypatch.setattr(population, "NUM_POSES", 200)
    session(options(tmp_path, name), here)
    written = json.loads((tmp_path / "results.json").read_text())["pieces"][name]
    assert (written["status"], written["message"]) == ("measured", "")
    figures = {row["name"]: row["value"] for row in written["figures"]}
    assert figures
    if name in TOLD:
        assert figures[TOLD[name]] > 0
    # every method's step is there to be tested on a GPU
    if name == "tests" and not torch.cuda.is_available():
        assert figures["tests skipped"] > 40
    page = (tmp_path / "results.md").read_text()
    assert f"| {name}: {PIECES[name].title} | measured |" in page
    assert all(f"| {figure} |" in page for figure in figures)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 50_000

    called: list[str] = []

    def again(piece: Piece, setting: Setting, limit_s: float, log: Path) -> Outcome:
        called.append(piece.name)
        return here(piece, setting, limit_s, log)

    session(options(tmp_path, name), again)
    assert called == ["machine"]


def hang(setting: Setting, emit: Emit) -> None:
    emit(Figure("before", 1.5, "s"))
    emit(str(subprocess.Popen(["sleep", "600"]).pid))
    time.sleep(600)


def crash(setting: Setting, emit: Emit) -> None:
    emit(Figure("endless", float("inf"), "s"))
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(setting: Setting, emit: Emit) -> None:
    print("what it printed")
    raise ValueError("of no use\nat all")


def need(setting: Setting, emit: Emit) -> None:
    raise NotHere("two GPUs")


def greedy(setting: Setting, emit: Emit) -> None:
    if setting.batch > 2:
        raise torch.OutOfMemoryError("CUDA out of memory")
    emit(Figure(f"batch {setting.batch}", 1.0, "s"))


# in real processes
def test_a_piece_that_fails_crashes_or_hangs_harms_no_other(tmp_path: Path) -> None:
    def run(work: Callable[[Setting, Emit], None], limit_s: float = 120) -> Outcome:
        return run_piece(Piece("x", "", partial(work), limit_s), CPU, limit_s, tmp_path / "log.txt")

    failed = run(fail)
    assert (failed.status, failed.message) == ("failed", "ValueError: of no use at all")
    log = (tmp_path / "log.txt").read_text()
    assert "what it printed" in log
    assert "in fail" in log
    crashed = run(crash)
    assert (crashed.status, crashed.message, crashed.notes) == ("failed", "killed by SIGSEGV", ["endless: inf s"])
    assert (lacking := run(need)).status == "not here"
    assert lacking.message == "two GPUs"
    hanging = run(hang, limit_s=20)
    assert (hanging.status, hanging.message) == ("out of time", "after 20 s")
    assert hanging.figures == [Figure("before", 1.5, "s")]
    assert 20 <= hanging.seconds < 90
    # what it started is gone, too: dead, or a zombie that nobody has asked for yet
    state = Path(f"/proc/{hanging.notes[0]}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_out_of_memory_halves_the_batch_and_says_so() -> None:
    rows: list[Figure | str] = []
    piece = Piece("x", "", partial(greedy), 1, 8)
    attempts(piece, Setting(CPU.device, True, 8), rows.append)
    assert rows == [
        "out of memory with a batch of 8: measured with 4 instead",
        "out of memory with a batch of 4: measured with 2 instead",
        Figure("batch 2", 1.0, "s"),
    ]
    with pytest.raises(ValueError, match="of no use"):
        attempts(Piece("x", "", partial(fail), 1), CPU, rows.append)


def test_results_are_resumed_what_was_not_tried_first(tmp_path: Path) -> None:
    record, names = Record(tmp_path, MACHINE), list(PIECES)[:5]
    ends = ("failed", "measured", "not reached", "not here")
    for name, status in zip(names, ends, strict=False):
        record.add(name, Outcome(status, figures=[Figure("a|b", 1.0, "s")], message="why"), PIECES)
    again = Record(tmp_path, MACHINE)
    assert again.outcomes == record.outcomes
    assert in_order(names, again) == [names[2], names[4], names[0]]
    assert "| a\\|b | 1 s |" in (tmp_path / "results.md").read_text()
    with pytest.raises(InputError, match=r"holds results of cpu, and this is H100: give another --out"):
        Record(tmp_path, {**MACHINE, "device": "H100"})
    (tmp_path / "results.json").write_text("[1")
    with pytest.raises(InputError, match=r"holds no results of this script"):
        Record(tmp_path, MACHINE)


def test_a_session_without_time_says_what_was_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_session, "run_piece", None)
    args = options(tmp_path, "lift", "online")
    args.minutes = 0.1
    record = session(args, here)
    assert {outcome.status for outcome in record.outcomes.values()} == {"not reached"}
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path), "--smoke", "--minutes", "nan"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: --minutes must be a number, above 0, got nan\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_cuda_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "--smoke" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("build", "said", "words"),
    [
        (None, "", "is built without CUDA"),
        ("13.0", "The NVIDIA driver on your system is too old (found version 11040).", "is too old for PyTorch"),
        (
            "13.0",
            "Found no NVIDIA driver on your system.\nCheck it.",
            "Found no NVIDIA driver on your system. Check it.",
        ),
        ("13.0", "CUDA error: no kernel image is available", "no kernel image"),
    ],
)
def test_what_keeps_pytorch_from_the_gpu_is_said(
    build: str | None, said: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init() -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(InputError) as refused:
        check_cuda(torch.device("cuda"))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_driver_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the device's driver: after 120 s"):
        facts_of(CPU, tmp_path, lambda *_: Outcome("out of time", message="after 120 s"))
