"""What errors say, and what settings are refused."""

import errno
import math
from typing import Literal

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from handlit.errors import InputError, check_choice, check_number, describe


def test_a_choice_is_one_of_its_names() -> None:
    for choices in (Literal["left", "right"], ("left", "right"), {"left": 1, "right": 2}):
        check_choice("side", "left", choices)
        for wrong in (None, "middle", "", True, 0, ["left"], b"left"):
            with pytest.raises(InputError, match=r"^side must be one of left, right, got "):
                check_choice("side", wrong, choices)


@pytest.mark.parametrize("right", [0, 3, 2.5, np.int64(3), np.float32(0.5)])
def test_a_number_of_a_range(right: float) -> None:
    check_number("rate", right, least=0, below=4)


@pytest.mark.parametrize("wrong", [None, True, "3", math.nan, math.inf, -1, 4, 10**400, -(10**400), [3], 1j])
def test_what_is_no_number_of_a_range(wrong: object) -> None:
    with pytest.raises(InputError, match=r"^rate must be a number, at least 0 and below 4, got "):
        check_number("rate", wrong, least=0, below=4)


def test_whole_numbers_and_open_ranges() -> None:
    check_number("count", 1, above=0, most=1, whole=True)
    for wrong in (0, 2, 1.0):
        with pytest.raises(InputError, match=r"^count must be a whole number, above 0 and at most 1, got "):
            check_number("count", wrong, above=0, most=1, whole=True)
    check_number("weight", -1e300)
    with pytest.raises(InputError, match=r"^weight must be a number, got nan"):
        check_number("weight", math.nan)


def test_what_the_operating_system_refused_is_said_in_a_line() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/run/pred.zip")
    assert describe(full) == "/data/run/pred.zip: no space left on device: free some space, or write elsewhere"
    assert describe(OSError(errno.EIO, "Input/output error")) == "input/output error"
    assert describe(FileNotFoundError("expected a folder at x")) == "expected a folder at x"


class Damaged(Dataset[int]):
    """One sample, that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise self.error


@pytest.mark.parametrize("error", [InputError("image a.jpg is damaged: copy it again"), FileNotFoundError("no a.jpg")])
def test_an_error_of_a_loaders_process_comes_without_its_trace(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        next(iter(DataLoader(Damaged(error), num_workers=1)))
    assert "Traceback" in str(caught.value)
    assert describe(caught.value) == str(error)
