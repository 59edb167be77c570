"""A piece in a process of its own, which may crash, hang or use up the memory without harm to the session."""

import contextlib
import gc
import json
import math
import os
import signal
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from handlit.errors import one_line
from scripts.benchmarks.measure import Figure, fresh
from scripts.gpu_session.piece import Emit, NotHere, Outcome, Piece, Setting

#: What is kept of a piece: hundreds of them stay below a megabyte.
MAX_ROWS, MAX_TEXT, MAX_LOG = 150, 300, 20_000


def run_piece(piece: Piece, setting: Setting, limit_s: float, log: Path) -> Outcome:
    """Run a piece, and kill it and all that it started when its time is over.

    Args:
        piece: What to run.
        setting: How; its batch is the piece's.
        limit_s: Seconds that it may take.
        log: File of what it prints, the last part of it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        process = fresh().Process(target=_child, args=(piece, setting, rows, log))  # type: ignore[attr-defined]
        process.start()
        try:
            process.join(limit_s)
            in_time = process.exitcode is not None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
        outcome = _outcome(rows, process.exitcode) if in_time else _read(rows, "out of time", f"after {limit_s:.0f} s")
    outcome.seconds = time.monotonic() - start
    if log.is_file():
        log.write_bytes(log.read_bytes()[-MAX_LOG:])
    return outcome


def attempts(piece: Piece, setting: Setting, emit: Emit) -> None:
    """Do a piece; where the memory does not suffice for its batch with half of it, and so on, which is said."""
    while True:
        try:
            piece.work(setting, emit)
            return
        except RuntimeError as error:
            if not is_out_of_memory(error) or setting.batch <= 1:
                raise
        # not before the error is gone, whose trace holds tensors
        gc.collect()
        torch.cuda.empty_cache()
        half = setting.batch // 2
        emit(f"out of memory with a batch of {setting.batch}: measured with {half} instead")
        setting = replace(setting, batch=half)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the device's memory did not suffice; CUDA's libraries have errors of their own for that."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    )


def _child(piece: Piece, setting: Setting, rows: Path, log: Path) -> None:
    os.setsid()
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    with rows.open("a", buffering=1) as file:

        def say(**row: object) -> None:
            file.write(json.dumps(row) + "\n")

        def emit(row: Figure | str) -> None:
            if isinstance(row, str):
                say(note=row)
            elif math.isfinite(row.value):
                say(figure=vars(row))
            else:
                say(note=f"{row.name}: {row.value} {row.unit}")

        try:
            attempts(piece, setting, emit)
            say(status="measured", message="")
        except NotHere as error:
            say(status="not here", message=str(error))
        except BaseException as error:
            traceback.print_exc()
            say(status="failed", message=f"{type(error).__name__}: {one_line(error)}")


def _outcome(rows: Path, code: int | None) -> Outcome:
    """Of a process that has ended."""
    if code is not None and code < 0:
        return _read(rows, "failed", f"killed by {signal.Signals(-code).name}")
    return _read(rows, "failed", f"ended with exit code {code} and without a word")


def _read(rows: Path, status: str, message: str) -> Outcome:
    """What a piece said; the status is the one given unless it said how it ended."""
    outcome = Outcome(status, message=message)
    for line in rows.read_text().splitlines() if rows.is_file() else ():
        try:
            row: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:  # the last line of a process that was killed
            break
        if "figure" in row and len(outcome.figures) < MAX_ROWS:
            outcome.figures.append(Figure(**row["figure"] | {"name": row["figure"]["name"][:MAX_TEXT]}))
        elif "note" in row and len(outcome.notes) < MAX_ROWS:
            outcome.notes.append(row["note"][:MAX_TEXT])
        elif "status" in row:
            outcome.status, outcome.message = row["status"], row["message"]
    return outcome
