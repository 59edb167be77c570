"""Fuzzing of readers: damaged variants of valid inputs are answered by a result or by `InputError`, soon and cheaply.

``make fuzz`` runs all targets longer than the test suite does. Input `number` of a target is `mutated(valid, number)`,
on every machine, so that the number that a failure names is enough to repeat it.
"""

import multiprocessing
import os
import re
import resource
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from handlit.errors import InputError

#: How long a target runs.
SECONDS = float(os.environ.get("HANDLIT_FUZZ_SECONDS", "2"))
#: What one input may compute, and what all of them may add to the process's largest size.
SECONDS_EACH, MEGABYTES = 2.0, 500
#: Seconds on the clock after which an input is said to hang; a busy machine takes several times what is computed.
HANGING = 60.0
#: Written in place of a number in a text, and over bytes that may be a binary length.
_NUMBERS = (b"1e999", b"-1", b"NaN", b"null", b'"1"', b"4294967296", b"9" * 5000)
_LENGTHS = (b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x10", bytes(4), b"\xff", b"\0")


def fuzz(read: Callable[[bytes], object], valid: Sequence[bytes], answers: tuple[type[Exception], ...] = ()) -> None:
    """Let a reader read the valid inputs, and damaged ones for `SECONDS`, in a process that may crash or hang.

    Args:
        read: Takes the content of a file; for readers of files see `file_reader`.
        valid: Contents that it reads.
        answers: Exceptions beside `InputError` that are a proper answer, e.g. `FileNotFoundError`.
    """
    for content in valid:
        read(content)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_read_all, args=(read, valid, (InputError, *answers), sender), daemon=True)
    child.start()
    sender.close()
    number, fault = -1, ""
    try:
        while receiver.poll(HANGING):
            number, fault = receiver.recv()
            if number < 0 or fault:
                break
        else:
            fault = f"does not end in {HANGING} s"
    except EOFError:
        child.join()
        fault = f"ended the process with {child.exitcode}"
    child.kill()
    child.join()
    if fault:
        pytest.fail(f"input {number}: {fault}; repeat it with read(mutated(valid, {number}))")


def file_reader(read: Callable[[Path], object], path: Path) -> Callable[[bytes], object]:
    """A reader of a file's content from a reader of files."""

    def read_content(content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return read_content


def _read_all(
    read: Callable[[bytes], object],
    valid: Sequence[bytes],
    answers: tuple[type[Exception], ...],
    sender: Connection,
) -> None:
    """Send each input's number before it is read, with what is wrong if it is; -1 at the end."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MEGABYTES * 2**20,) * 2)
    before, end, number = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        content = mutated(valid, number)
        sender.send((number, ""))
        started = time.process_time()
        try:
            read(content)
        except answers:
            pass
        except BaseException as error:
            sender.send((number, f"{type(error).__name__}: {str(error)[:500]}"))
        if time.process_time() - started > SECONDS_EACH:
            sender.send((number, f"takes longer than {SECONDS_EACH} s"))
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEGABYTES * 2**10:
            sender.send((number, f"takes more than {MEGABYTES} MB"))
        number += 1
    sender.send((-1, ""))


def mutated(valid: Sequence[bytes], number: int) -> bytes:
    """A valid input, damaged one to three times."""
    random = np.random.default_rng(number)
    content = valid[int(random.integers(len(valid)))]
    for _ in range(random.integers(1, 4)):
        content = _damaged(content, valid[int(random.integers(len(valid)))], random)
    return content


def _damaged(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """One of: bytes flipped, cut, deleted, doubled, spliced, a length, a number, one byte many times, random bytes."""
    start, end = sorted(random.integers(0, len(content) + 1, 2).tolist())
    head, part, tail = content[:start], content[start:end], content[end:]
    match int(random.integers(9)):
        case 0 if content:
            flipped = np.frombuffer(content, np.uint8).copy()
            places = random.integers(0, len(content), random.integers(1, 9))
            flipped[places] ^= random.integers(1, 256, len(places), dtype=np.uint8)
            return flipped.tobytes()
        case 1:
            return head
        case 2:
            return head + tail
        case 3:
            return head + part + part + tail
        case 4:
            return head + other[min(start, len(other)) :]
        case 5:
            length = _LENGTHS[random.integers(len(_LENGTHS))]
            return head + length + content[start + len(length) :]
        case 6 if spans := [found.span() for found in re.finditer(rb"-?\d[\d.eE+-]*", content[:100_000])]:
            first, last = spans[random.integers(len(spans))]
            return content[:first] + _NUMBERS[random.integers(len(_NUMBERS))] + content[last:]
        case 7 if content:
            return head + content[start - 1 : start] * int(10 ** random.uniform(1, 6)) + content[start:]
    return head + random.bytes(int(random.integers(1, 9))) + content[start:]
