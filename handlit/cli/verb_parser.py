"""The parser of handlit's own commands."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from typing_extensions import override

from handlit.errors import InputError
from handlit.program import program

_ASKED_FOR: ContextVar[bool] = ContextVar("_ASKED_FOR", default=False)


class ParserMade(BaseException):
    """Carries a command's parser out of the command, before anything is done."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


@contextmanager
def asking_for_parsers() -> Iterator[None]:
    """Let every command end with `ParserMade` as soon as it would read its options."""
    token = _ASKED_FOR.set(True)
    try:
        yield
    finally:
        _ASKED_FOR.reset(token)


def hand_over(parser: argparse.ArgumentParser) -> None:
    """End the command if it is the parser that was asked for.

    Raises:
        ParserMade: It was.
    """
    if _ASKED_FOR.get():
        raise ParserMade(parser)


class VerbParser(argparse.ArgumentParser):
    """Options of a command; a wrong one is refused in a line.

    Args:
        verb: The command's function: its name is the command's, its docstring the description.
        **options: Of ``argparse.ArgumentParser``.
    """

    def __init__(self, verb: Callable[[list[str]], None], **options: Any) -> None:
        name = verb.__name__.replace("_", "-")
        super().__init__(f"{program()} {name}", description=verb.__doc__, **options)

    @override
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        hand_over(self)
        return super().parse_known_args(args, namespace)

    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help lists the options)")
