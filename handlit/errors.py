"""The exceptions of handlit that callers may want to catch."""

from typing import Any


class InputError(ValueError):
    """What the user gave is wrong: the message says what was expected, what came and what to do.

    The command line prints the message alone and exits with `exit_code`; any other exception is a defect and keeps its
    trace.
    """

    exit_code = 2


class RunInUse(InputError):
    """Another process works in the run folder. The exit code is EX_UNAVAILABLE of sysexits.h."""

    exit_code = 69


class NonFiniteError(FloatingPointError):
    """A loss or a gradient became NaN or infinite while training.

    Attributes:
        batch: The `HandBatch` on which.
        epoch: When, from 0.
        batch_idx: When in the epoch, from 0.
    """

    def __init__(self, message: str, batch: Any, epoch: int, batch_idx: int) -> None:
        super().__init__(message)
        self.batch = batch
        self.epoch = epoch
        self.batch_idx = batch_idx


def one_line(error: BaseException) -> str:
    """What an exception says, as the part of a line; the name of its class where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__
