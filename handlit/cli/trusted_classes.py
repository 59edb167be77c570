"""Which classes a configuration may name: commands that take a stranger's run use no code that nobody named."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonargparse._typehints

from handlit.cli.plugins import imported_packages
from handlit.errors import InputError

#: The parser's module of types.
_typehints: Any = jsonargparse._typehints
#: Packages whose classes every configuration may name.
_PACKAGES = ("handlit", "torch", "pytorch_lightning", "lightning_fabric")


class _Refused(BaseException):
    """No `Exception`, which the parser takes for a reason to try the next type of a union."""


@contextmanager
def only_trusted_classes(command: str) -> Iterator[None]:
    """While it holds, a configuration names classes of handlit, torch, Lightning and imported plugins alone.

    It covers every place that takes a name: classes at any depth, types and functions. Functions are refused: some,
    such as a method's ``load_from_checkpoint``, make the object that is asked for, and run code from files.

    Args:
        command: In the message.

    Raises:
        InputError: The configuration names something else; nothing of it was imported.
    """
    # the one function through which the parser imports what a configuration names
    import_object = _typehints.import_object

    def checked(name: Any) -> Any:
        parts = name.split(".") if isinstance(name, str) else []
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):
            # it refuses these itself, such as `false` for a logger
            return import_object(name)
        _check(name, parts[0] in _trusted())
        found = import_object(name)
        module = str(getattr(found, "__module__", None))
        _check(name, isinstance(found, type) and module.partition(".")[0] in _trusted())
        return found

    _typehints.import_object = checked
    try:
        yield
    except _Refused as refused:
        package = str(refused).partition(".")[0]
        raise InputError(
            f"the configuration names {refused}, which is no class of {', '.join(_PACKAGES)}; {command} runs no other "
            f"code unasked. If you trust it, name its module before the command: --import {package} {command} ..."
        ) from refused
    finally:
        _typehints.import_object = import_object


def _trusted() -> set[str]:
    return {*_PACKAGES, *imported_packages()}


def _check(name: str, trusted: bool) -> None:
    if not trusted:
        raise _Refused(name[:200])
