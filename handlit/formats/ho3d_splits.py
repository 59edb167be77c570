"""Which frames of HO-3D's training list train, validate and test."""

import re

import numpy as np

from handlit.errors import InputError

#: Sequences of v3's training list that MHEntropy evaluates on (Chen et al., ICCV 2023, released code).
MHENTROPY_SEQUENCES = ("ABF14", "MC5", "SB14", "ShSu13")


def captures(keys: np.ndarray) -> np.ndarray:
    """What was filmed in each frame: the sequence without the digit of its camera.

    ABF10 to ABF14 are five cameras' views of one capture. A name with a single digit is a capture of its own.

    Args:
        keys: (N,) names ``SEQ/FRAME``.

    Returns:
        (N,) names of captures, e.g. ``"ABF1"``.
    """
    sequences, rows = np.unique(sequences_of(keys), return_inverse=True)
    return np.array([re.sub(r"(?<=\d)\d$", "", str(name)) for name in sequences])[rows]


def sequences_of(keys: np.ndarray) -> np.ndarray:
    """(N,) sequences of frames with names ``SEQ/FRAME``."""
    return np.array([key.split("/")[0] for key in keys.tolist()])


def hold_out_captures(keys: np.ndarray, fraction: float) -> np.ndarray:
    """Choose whole captures for validation, spread evenly over the sorted list of captures.

    Neighbouring frames of a sequence, and the views of other cameras, are nearly the same scene: holding out frames
    instead would measure memory.

    Args:
        keys: (N,) names ``SEQ/FRAME``.
        fraction: Share of the captures, 0 for none.

    Returns:
        (N,) bool, True for validation frames.
    """
    filmed = captures(keys)
    names = np.unique(filmed)
    count = int(np.ceil(fraction * len(names))) if fraction > 0 else 0
    if count == 0 or len(names) < 2:
        return np.zeros(len(keys), dtype=bool)
    chosen = names[np.linspace(0, len(names) - 1, min(count, len(names) - 1) + 2)[1:-1].round().astype(int)]
    return np.isin(filmed, chosen)


def mhentropy_rows(keys: np.ndarray, leak_free: bool) -> tuple[np.ndarray, np.ndarray]:
    """MHEntropy's own split of the training list.

    Three of its four evaluation sequences are further cameras of captures that it trains on.

    Args:
        keys: (N,) names ``SEQ/FRAME`` of the training list.
        leak_free: Leave the other cameras of the evaluated captures out of the training.

    Returns:
        Positions of the training frames and of the evaluation frames.

    Raises:
        InputError: The list lacks one of the evaluation sequences.
    """
    sequences = sequences_of(keys)
    lacking = sorted(set(MHENTROPY_SEQUENCES) - set(sequences.tolist()))
    if lacking:
        raise InputError(
            f"MHEntropy's split evaluates on {', '.join(MHENTROPY_SEQUENCES)} of HO-3D v3's training list, which has "
            f"no frame of {', '.join(lacking)}: is this HO-3D v3?"
        )
    evaluated = np.isin(sequences, MHENTROPY_SEQUENCES)
    filmed = captures(keys)
    left_out = np.isin(filmed, filmed[evaluated]) if leak_free else evaluated
    return np.flatnonzero(~left_out), np.flatnonzero(evaluated)
