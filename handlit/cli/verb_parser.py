"""The parser of handlit's own commands."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from typing_extensions import override

from handlit.errors import InputError
from handlit.program import program


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
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help lists the options)")
