"""What a piece of the session is, and what it reports while it runs."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch

from scripts.benchmarks.measure import Figure

#: Called with each figure when it is measured, and with what else must be said.
Emit: TypeAlias = Callable[[Figure | str], None]


#: Does a piece.
Work: TypeAlias = "partial[None]"


class NotHere(Exception):
    """This machine cannot do a piece, whatever is tried: the message says what it lacks."""


@dataclass(frozen=True)
class Setting:
    """How a piece runs.

    Attributes:
        device: Where.
        smoke: With the smallest sizes.
        batch: Images at once, for pieces that have a batch.
    """

    device: torch.device
    smoke: bool
    batch: int = 0


@dataclass(frozen=True)
class Piece:
    """Something that the session finds out.

    Attributes:
        name: Short, for the command line and the results.
        title: What it measures.
        work: Does it; can be pickled for another process, see `later`.
        limit_s: Seconds after which it is stopped.
        batch: Images at once, halved while the memory does not suffice; 0 where there is no batch.
    """

    name: str
    title: str
    work: Work
    limit_s: float
    batch: int = 0


@dataclass
class Outcome:
    """What became of a piece.

    Attributes:
        status: ``"measured"``, ``"not here"``, ``"failed"``, ``"out of time"`` or ``"not reached"``.
        seconds: It took.
        commit: Of the code.
        figures: What it measured, also of a piece that did not end.
        notes: What else it said.
        message: Why it did not end.
    """

    status: str
    seconds: float = 0.0
    commit: str = ""
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def is_final(self) -> bool:
        """Whether another session leaves it as it is."""
        return self.status in ("measured", "not here")


def later(module: str, function: str, *arguments: object) -> Work:
    """A function of this package that is imported where it is called: a package it lacks fails one piece alone.

    Args:
        module: In this package.
        function: Its name.
        arguments: Before setting and emit.
    """
    return partial(_call, f"{__package__}.{module}", function, arguments)


def _call(module: str, function: str, arguments: tuple[object, ...], setting: Setting, emit: Emit) -> None:
    getattr(importlib.import_module(module), function)(*arguments, setting, emit)
