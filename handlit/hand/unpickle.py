"""Reading pickles without running code from them.

MANO files and HO-3D's annotations are Python-2 pickles, and a pickle may name any function to be called while it is
read. This reader allows the few names that arrays consist of and refuses every other one by its name.
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handlit.errors import InputError


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


def _new_array(*_: object) -> _Array:
    """NumPy's `_reconstruct`: an array whose contents follow as a state."""
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode` as NumPy's pickles of protocol 2 need it for their bytes when Python 3 writes them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes stored as '{encoding}' text, expected latin1")
    return text.encode("latin1")


# NumPy's own classes are not allowed either: the state of a dtype can make it read bytes as pointers.
_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Unpickler that knows the allowed names and no others."""

    def __init__(self, content: bytes, replacements: Mapping[tuple[str, str], type[Inert]]) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.allowed = {**_ALLOWED, **replacements}
        self.refused: str | None = None

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            self.refused = f"{module}.{name}"
            raise pickle.UnpicklingError(self.refused)
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
    content = path.read_bytes()
    unpickler = _Unpickler(content, replacements or {})
    try:
        return _with_arrays(unpickler.load())
    # a damaged stream can make the unpickler raise nearly anything
    except Exception as error:
        if unpickler.refused is not None:
            raise InputError(
                f"{path} names {unpickler.refused}, which has no place in such a file; a pickle can run code, so it "
                "was not loaded. Get the file from its original source, or store its arrays as NumPy arrays with "
                "pickle protocol 2 to 4"
            ) from error
        raise InputError(
            f"{path} is truncated or not a pickle of arrays ({len(content)} bytes; {type(error).__name__}: {error}): "
            "download or copy it again"
        ) from error


def _with_arrays(value: Any) -> Any:
    """The value with arrays in place of the containers that held their parts."""
    if isinstance(value, _Array):
        _, shape, stored, column_major, content = value.state
        return np.frombuffer(_bytes(content), _dtype(stored)).reshape(shape, order="F" if column_major else "C")
    if isinstance(value, _Scalar):
        stored, content = value.arguments
        return np.frombuffer(_bytes(content), _dtype(stored))[0]
    if isinstance(value, Inert):
        value.state = _with_arrays(value.state)
        return value
    if isinstance(value, dict):
        return {key: _with_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_arrays(item) for item in value)
    return value


def _bytes(content: str | bytes) -> bytes:
    return content.encode("latin1") if isinstance(content, str) else content  # a str comes from Python 2


def _dtype(stored: _Type) -> np.dtype:
    code, order = stored.arguments[0], stored.state[1]
    if not re.fullmatch("[fiu][1248]|b1", code) or order not in ("<", ">", "=", "|"):
        raise TypeError(f"array of type '{order}{code}', expected numbers")
    return np.dtype(order + code)
