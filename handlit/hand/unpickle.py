"""Reading pickles without running code from them.

MANO files and HO-3D's annotations are Python-2 pickles, and a pickle may name any function to be called while it is
read. This reader allows the few names that arrays consist of and refuses every other one by its name. It is a program,
too: a few bytes can ask for gigabytes or for a structure that takes forever to walk, so its steps, depth and size are
limited.
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from handlit.errors import InputError
from handlit.reading import read_bytes, shown, wrong_kind

#: A MANO file has 4 MB, 500 values and 600 steps; an annotation 40 kB and no more of either; both are 5 deep.
MAX_BYTES, MAX_STEPS, MAX_VALUES, MAX_DEPTH = 1 << 25, 100_000, 100_000, 50


class Inert:
    """Stands in for an instance of a class that is not loaded: keeps its arguments and state and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(Inert):
    """In place of `numpy.ndarray`; its state is (version, shape, type, is column-major, bytes)."""


class _Type(Inert):
    """In place of `numpy.dtype`; its first argument is a code like "f8", its state starts (version, byte order, ..)."""


class _Scalar(Inert):
    """In place of a NumPy scalar; its arguments are (type, bytes)."""


class _Encoded(Inert):
    """In place of `_codecs.encode`, with which Python 3 writes bytes in protocol 2; its arguments are (text, codec)."""


class _Set(Inert):
    """In place of a set; nobody needs what is in it, and a hash of nested tuples takes forever."""

    def add(self, item: Any) -> None:
        """Leave it out."""


class _Fields(dict[str, Any]):
    """In place of a dict: other keys than text are left out, for their hashes."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):
            super().__setitem__(key, value)


# NumPy's own classes are not allowed either: the state of a dtype can make it read bytes as pointers.
_ALLOWED: Mapping[tuple[str, str], type[Inert]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("__builtin__", "set"): _Set,
    ("builtins", "set"): _Set,
    ("_codecs", "encode"): _Encoded,
}


class _Refused(Exception):
    """What is wrong with a file that is a pickle."""


def _fields(unpickler: Any) -> None:
    unpickler.append(_Fields())


def _fields_of_stack(unpickler: Any) -> None:
    items, fields = unpickler.pop_mark(), _Fields()
    for key, value in zip(items[::2], items[1::2], strict=True):
        fields[key] = value
    unpickler.append(fields)


def _set(unpickler: Any) -> None:
    unpickler.append(_Set())


def _set_of_stack(unpickler: Any) -> None:
    unpickler.pop_mark()
    unpickler.append(_Set())


def _no_frame(unpickler: Any) -> None:
    """Skip a frame's length: every step is read from the file itself."""
    unpickler.read(8)


class _Unpickler(pickle._Unpickler):
    """Unpickler that knows the allowed names and no others.

    It is the one written in Python: that of C reserves whatever memory a file asks for.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.EMPTY_DICT[0]: _fields,
        pickle.DICT[0]: _fields_of_stack,
        pickle.EMPTY_SET[0]: _set,
        pickle.FROZENSET[0]: _set_of_stack,
        pickle.FRAME[0]: _no_frame,
    }
    # integers of any length, and bytes that are reserved before they are read
    del dispatch[pickle.LONG4[0]], dispatch[pickle.BYTEARRAY8[0]]

    def __init__(self, content: bytes, replacements: Mapping[tuple[str, str], type[Inert]]) -> None:
        self._file = io.BytesIO(content)
        super().__init__(self._file, encoding="latin1")
        self.allowed = {**_ALLOWED, **replacements}

    def load(self) -> Any:
        """As the class above does it, but without frames and in a limited number of steps."""
        self.read, self.readline = self._file.read, self._file.readline
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.append = self.stack.append
        self.proto = 0
        steps = 0
        while (key := self._file.read(1)) != pickle.STOP:
            if not key:
                raise EOFError("it ends too early")
            if (steps := steps + 1) > MAX_STEPS:
                raise _Refused(f"has more than {MAX_STEPS} steps")
            self.dispatch[key[0]](self)
        return self.stack.pop()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise _Refused(
                f"names {shown(f'{module}.{name}', 100)}, which has no place in such a file; a pickle can run "
                "code, so it was not loaded"
            )
        return self.allowed[module, name]


def restricted_load(path: Path, replacements: Mapping[tuple[str, str], type[Inert]] | None = None) -> Any:
    """Read a pickle of plain values and arrays of numbers.

    Args:
        path: The file.
        replacements: Further (module, class) names that the file may hold, each with the container that stands in for
            it.

    Returns:
        The file's value, its arrays as NumPy arrays.

    Raises:
        InputError: The file names anything else, is truncated or is not a pickle.
    """
    content = read_bytes(path, MAX_BYTES, "a MANO file or an annotation (models of bodies are larger)")
    try:
        return _Arrays(len(content)).of(_Unpickler(content, replacements or {}).load())
    except _Refused as error:
        raise InputError(
            f"{path} {error}. Get the file from its original source, or store its arrays as NumPy arrays of numbers "
            "with pickle protocol 2 to 4"
        ) from error
    # a damaged stream can make the unpickler raise nearly anything
    except Exception as error:
        raise wrong_kind(content, path, "a pickle of arrays", ("a Python pickle",)) or InputError(
            f"{path} is truncated or not a pickle of arrays ({len(content)} bytes; {type(error).__name__}: "
            f"{shown(error, 200)}): download or copy it again"
        ) from error


class _Arrays:
    """Puts arrays in place of the containers that hold their parts.

    Args:
        size: Of the file, bytes. Arrays that share their bytes can be many times larger.
    """

    def __init__(self, size: int) -> None:
        self._bytes_left = 4 * size
        self._values_left = MAX_VALUES

    def of(self, value: Any, field: str = "", depth: int = 0) -> Any:
        """The value with its arrays; `field` is the name of the innermost dict's entry that it is in."""
        self._values_left -= 1
        if self._values_left < 0 or depth > MAX_DEPTH:
            raise _Refused(f"holds more than {MAX_VALUES} values, or some {MAX_DEPTH} levels deep")
        if isinstance(value, _Array):
            _, shape, stored, column_major, content = value.state
            return self._numbers(content, stored, field).reshape(shape, order="F" if column_major else "C")
        if isinstance(value, _Scalar):
            stored, content = value.arguments
            return self._numbers(content, stored, field)[0]
        if isinstance(value, Inert):
            value.state = self.of(value.state, field, depth + 1)
            return value
        if isinstance(value, dict):
            return {key: self.of(item, key, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self.of(item, field, depth + 1) for item in value])
        return value

    def _numbers(self, content: Any, stored: _Type, field: str) -> np.ndarray:
        code, order = stored.arguments[0], stored.state[1]
        if not re.fullmatch("[fiu][1248]|b1", code) or order not in ("<", ">", "=", "|"):
            raise _Refused(f"holds an array of type '{shown(f'{order}{code}', 20)}' in '{field}', expected numbers")
        if isinstance(content, _Encoded):
            content, codec = content.arguments
            if codec != "latin1":
                raise _Refused(f"holds bytes as '{shown(codec, 20)}' text in '{field}', expected latin1")
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            raise _Refused("holds arrays that are larger than the file")
        # a str comes from Python 2
        raw = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(raw, np.dtype(order + code))
