"""Find out in a few minutes on a GPU what only a GPU can tell: one command, pieces in order of their value.

    python -m scripts.gpu_session --out FOLDER --minutes 8
    python -m scripts.gpu_session --out FOLDER --smoke      # all pieces on the CPU with the smallest sizes

Each piece runs in a process of its own for a limited time. After each of them `results.json` and `results.md` are
written whole; a piece that fails, hangs or crashes is recorded with what it said last, and passed over. The same
command resumes: what is measured stays, what was never tried comes first, then what failed. Nothing is downloaded.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from handlit.errors import InputError, check_number, describe
from scripts.gpu_session.piece import Outcome, Piece, Setting, later
from scripts.gpu_session.pieces import PIECES
from scripts.gpu_session.process import run_piece
from scripts.gpu_session.record import Record

#: Seconds that a driver may take to answer, and below which no piece is begun.
ANSWER_S, LEAST_S = 120, 10

Run = Callable[[Piece, Setting, float, Path], Outcome]


def facts_of(setting: Setting, folder: Path, run: Run) -> dict[str, str]:
    """The machine's facts.

    Raises:
        InputError: The device cannot be used.
    """
    piece = Piece("machine", "what figures are measured on", later("machine", "describe"), ANSWER_S)
    outcome = run(piece, setting, ANSWER_S, folder / "logs" / "machine.txt")
    if outcome.status != "measured":
        raise InputError(outcome.message if outcome.status == "not here" else f"the device's driver: {outcome.message}")
    return dict(note.split(": ", 1) for note in outcome.notes)


def distinct(names: Sequence[str]) -> list[str]:
    """The pieces without those that differ from an earlier one in their batch alone."""
    first: dict[object, str] = {}
    for name in names:
        first.setdefault(PIECES[name].work.args, name)
    return list(first.values())


def in_order(names: Sequence[str], record: Record) -> list[str]:
    """What is left to do: first what was never tried."""
    left = [name for name in names if name not in record.outcomes or not record.outcomes[name].is_final]
    tried = {name for name, outcome in record.outcomes.items() if outcome.status != "not reached"}
    return sorted(left, key=lambda name: name in tried)


def session(args: argparse.Namespace, run: Run = run_piece) -> Record:
    """Run the pieces until the time is over; returns all that is known then.

    Raises:
        InputError: The device cannot be used, or the folder holds results of another one.
    """
    end = time.monotonic() + 60 * args.minutes
    device = torch.device("cpu" if args.smoke else "cuda")
    record = Record(args.out, facts_of(Setting(device, args.smoke), args.out, run))
    print(", ".join(f"{key} {value}" for key, value in record.machine.items()), flush=True)
    for name in in_order(distinct(args.only) if args.smoke else args.only, record):
        piece, left = PIECES[name], end - time.monotonic()
        if left < LEAST_S:
            if name not in record.outcomes:
                record.add(name, Outcome("not reached"), PIECES)
            continue
        batch = min(piece.batch, 2) if args.smoke else piece.batch
        outcome = run(
            piece, Setting(device, args.smoke, batch), min(piece.limit_s, left), args.out / "logs" / f"{name}.txt"
        )
        record.add(name, outcome, PIECES)
        print(f"{name}: {outcome.status} {outcome.message} ({outcome.seconds:.0f} s)", flush=True)
    print(f"figures: {args.out / 'results.md'} and {args.out / 'results.json'}")
    return record


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the session; exits with 2 if it cannot run, and with 1 if a piece failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all pieces together")
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes, on the CPU: does everything run?")
    parser.add_argument("--only", nargs="+", choices=PIECES, default=list(PIECES), metavar="PIECE")
    args = parser.parse_args(arguments)
    try:
        check_number("--minutes", args.minutes, above=0)
        record = session(args)
    except (InputError, OSError) as error:
        print("error:", describe(error), file=sys.stderr)
        raise SystemExit(2) from error
    if any(outcome.status == "failed" for outcome in record.outcomes.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    # so that a piece that runs is killed, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main()
