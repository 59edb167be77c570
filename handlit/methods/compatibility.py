"""Whether a checkpoint belongs to a method: what `HandMethod` writes into it and checks when it is loaded."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from handlit.errors import InputError

#: Of checkpoints; goes up when older ones can no longer be read.
CHECKPOINT_FORMAT = 1


def stamp(method: str) -> dict[str, Any]:
    """The entry ``"handlit"`` of a checkpoint: format and class name of the method."""
    return {"format": CHECKPOINT_FORMAT, "method": method}


def check_checkpoint(checkpoint: Mapping[str, Any], method: str, expected: Mapping[str, Tensor], resumes: bool) -> None:
    """Refuse a checkpoint of another method or network.

    Args:
        checkpoint: As it was loaded.
        method: Class name of the method that is to take it.
        expected: State of that method.
        resumes: A training is to be resumed, which weights alone do not suffice for.

    Raises:
        InputError: The checkpoint is of another method, a newer handlit, or of a network of other sizes; its weights
            are no numbers; or it holds weights alone and a training is to be resumed.
    """
    made_by = checkpoint.get("handlit", {})
    if not isinstance(made_by.get("format", CHECKPOINT_FORMAT), int) or not isinstance(made_by.get("method", ""), str):
        raise InputError("the checkpoint is damaged: its entry `handlit` names no format and no method")
    if made_by.get("format", CHECKPOINT_FORMAT) > CHECKPOINT_FORMAT:
        raise InputError(
            f"the checkpoint has format {made_by['format']}, this handlit knows {CHECKPOINT_FORMAT}: update handlit"
        )
    if made_by.get("method", method) != method:
        raise InputError(
            f"the checkpoint is of {made_by['method']}, the configuration of {method}: give the config.yaml of the "
            "checkpoint's run"
        )
    found: Mapping[str, Tensor] = checkpoint["state_dict"]
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is not in this network" for name in found if name not in expected]
    wrong += [
        f"{name} {misfit}"
        for name, value in expected.items()
        if name in found and (misfit := _misfit(found[name], value)) is not None
    ]
    if wrong:
        shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise InputError(
            f"the checkpoint does not fit this network ({shown}): give the config.yaml of the checkpoint's run, "
            "or another checkpoint"
        )
    if resumes and "loops" not in checkpoint:
        raise InputError("the checkpoint holds weights alone: a training cannot be resumed from it")


def _misfit(found: Tensor, expected: Tensor) -> str | None:
    if found.shape != expected.shape:
        return f"is {tuple(found.shape)}, here {tuple(expected.shape)}"
    if (found.is_floating_point(), found.is_complex()) != (expected.is_floating_point(), expected.is_complex()):
        return f"is of {found.dtype}, here of {expected.dtype}"
    if expected.isfinite().all() and not found.isfinite().all():
        return "holds NaN or infinity"
    return None
