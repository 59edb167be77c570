"""Loading a hand model: the user's MANO file, or the built-in stand-in hand."""

from pathlib import Path

from handlit.hand.asset import HandAsset, Side
from handlit.hand.mano import load_mano
from handlit.hand.standin import load_standin


def load_hand(path: str | Path | None = None, side: Side = "right") -> HandAsset:
    """Load the user's MANO file, or the built-in stand-in hand when no path is given.

    Args:
        path: ``MANO_RIGHT.pkl`` / ``MANO_LEFT.pkl``, a folder that holds it, or None for the stand-in.
        side: Which hand of a folder or of the stand-in.

    Raises:
        FileNotFoundError: The path does not exist; the message says where to get MANO and where to put it.
    """
    return load_standin(side) if path is None else load_mano(path, side)
