"""Loading a hand model: the user's MANO file, or the built-in stand-in hand."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from handlit.hand.asset import HandAsset, Side
from handlit.hand.mano import FILE_NAMES, find_mano, load_mano
from handlit.hand.standin import load_standin


def load_hand(path: str | Path | None = None, side: Side = "right") -> HandAsset:
    """Load the user's MANO file, or the built-in stand-in hand when no path is given.

    A process reads a file once, unless it changes; its users share the arrays, which are read-only.

    Args:
        path: ``MANO_RIGHT.pkl`` / ``MANO_LEFT.pkl``, a folder that holds it, or None for the stand-in.
        side: Which hand of a folder or of the stand-in.

    Returns:
        The hand model.

    Raises:
        FileNotFoundError: The path does not exist; the message says where to get MANO and where to put it.
        InputError: The file is not a MANO file.
    """
    if path is None:
        return _read(None, side, ())
    file, side = find_mano(Path(path), side)
    # a left hand is compared with the right hand beside it
    beside = [file, *(file.with_name(name) for name in FILE_NAMES.values())]
    return _read(file, side, tuple(each.stat().st_mtime_ns if each.is_file() else None for each in beside))


@lru_cache(maxsize=4)
def _read(file: Path | None, side: Side, modified: tuple[int | None, ...]) -> HandAsset:
    """The asset of files as they were at the given times; the times only distinguish a changed file."""
    asset = load_standin(side) if file is None else load_mano(file, side)
    for value in vars(asset).values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return asset
