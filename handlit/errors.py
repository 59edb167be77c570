"""The exceptions of handlit that callers may want to catch, what they say, and checks of settings that raise them."""

import errno
import math
import operator
from numbers import Integral, Real
from typing import Any, get_args

#: What to do about what the operating system refuses.
_ADVICE = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EROFS: "write elsewhere",
    errno.EACCES: "change the permissions, or choose another place",
    errno.EPERM: "change the permissions, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed, or it was there before",
    errno.EISDIR: "give a file",
    errno.EMFILE: "raise the limit: ulimit -n",
}


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


def describe(error: Exception) -> str:
    """What an error says, without the trace of a loader's process; of what the operating system refused one line.

    The line names the file, why, and what to do where that is known.
    """
    if not isinstance(error, OSError) or error.errno is None or error.strerror is None:
        kind, text = type(error), str(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        # torch puts the trace in the message of an error that a loader's process has raised
        return text.rpartition(f"\n{name}: ")[2].strip() if text.startswith("Caught ") else text
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    advice = _ADVICE.get(error.errno)
    text = f"{' and '.join(names)}: {error.strerror.lower()}" if names else error.strerror.lower()
    return f"{text}: {advice}" if advice else text


def check_choice(name: str, value: object, choices: Any) -> None:
    """Refuse a setting that is none of its choices, None included.

    Args:
        name: Of the setting, for the message.
        value: What was given.
        choices: A ``Literal`` of names, or a collection of them.

    Raises:
        InputError: It is none of them.
    """
    names = get_args(choices) or tuple(choices)
    if not isinstance(value, str) or value not in names:
        raise InputError(f"{name} must be one of {', '.join(names)}, got {value!r}")


def check_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    whole: bool = False,
) -> None:
    """Refuse a setting that is no finite number of a range.

    Args:
        name: Of the setting, for the message.
        value: What was given.
        least: Smallest value; None where there is none.
        above: What it must be more than.
        most: Largest value.
        below: What it must be less than.
        whole: Whether it must be an integer.

    Raises:
        InputError: It is no number (None, bool, text), NaN, infinite or out of the range.
    """
    limits = (
        ("at least", least, operator.ge),
        ("above", above, operator.gt),
        ("at most", most, operator.le),
        ("below", below, operator.lt),
    )
    given = [(words, limit, holds) for words, limit, holds in limits if limit is not None]
    number: Any = value
    is_number = isinstance(number, Integral if whole else Real) and not isinstance(number, bool)
    if is_number and abs(number) < math.inf and all(holds(number, limit) for _, limit, holds in given):
        return
    wanted = " and ".join(f"{words} {limit:.15g}" for words, limit, _ in given)
    raise InputError(f"{name} must be a {'whole ' if whole else ''}number{wanted and f', {wanted}'}, got {value!r}")
