"""Checkpoint files: written whole or not at all, checked before they are read, and the one to continue with."""

import logging
import re
import traceback
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.trainer.connectors import checkpoint_connector
from typing_extensions import override

from handlit.errors import InputError, one_line
from handlit.files import whole
from handlit.formats.archives import check_torch_file
from handlit.run_folder import RunFolder

log = logging.getLogger(__name__)

#: Parts of a checkpoint and what they are; the first two are in every one.
_PARTS: dict[str, type] = {
    "state_dict": dict,
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "handlit": dict,
}
#: Counts of a training's loops are far fewer; a hostile file nests them without end.
_MAX_COUNTS = 10_000


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, None if it is sound: every byte is checked against its checksum.

    A file that has not changed since the last call is not read again: HRNet-W64's has 2.4 GB.
    """
    status = path.stat()
    return _damage(path, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=8)
def _damage(path: Path, state: tuple[int, int]) -> str | None:
    try:
        check_torch_file(path)
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    # the standard library raises all sorts for damaged archives
    except Exception as error:
        return one_line(error)
    return None if member is None else f"checksum of {member} is wrong"


def newest_checkpoint(run: RunFolder) -> Path | None:
    """The state that a training resumes from: the last sound one. Damaged ones are named and passed over.

    Returns:
        The file; None where there is no checkpoint at all.

    Raises:
        InputError: There are checkpoints and all are damaged.
    """
    damaged: list[str] = []
    for path in (run.last, run.previous):
        if not path.is_file():
            continue
        reason = damage(path)
        if reason is None:
            for line in damaged:
                log.warning("%s; resuming from %s", line, path)
            return path
        damaged.append(f"{path} is damaged ({reason})")
    if damaged:
        raise InputError(f"{'; '.join(damaged)}: remove the folder to start anew")
    return None


def best_checkpoint(run: RunFolder) -> Path:
    """The weights to evaluate: those with the best validation metric, or the last ones if there are no best.

    Raises:
        FileNotFoundError: The run has no checkpoint.
    """
    for path in (run.best, run.last):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no checkpoint in {run.checkpoints}: name one with --ckpt_path, or give the --config of a finished run"
    )


def check_file(path: Path) -> None:
    """Refuse what is no checkpoint file, or is damaged, before anything is read from it.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is a folder, no checkpoint, or damaged.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a checkpoint, such as {path / 'best.ckpt'}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    reason = damage(path)
    if reason is not None:
        raise InputError(f"{path} is no checkpoint, or it is damaged: {reason}")


def read_checkpoint(path: Path, map_location: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Read a checkpoint without running code that is in it (``weights_only``).

    Args:
        path: The file.
        map_location: Where tensors go; the CPU by default.

    Returns:
        Its parts: at least ``state_dict`` with tensors alone, and whatever else Lightning wrote, each of its type.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is damaged, or no checkpoint of Lightning.
    """
    check_file(path)
    try:
        checkpoint = torch.load(path, map_location=map_location or "cpu", weights_only=True)
    # a file that is not torch's, or holds code, fails in every way
    except Exception as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it holds {named[1]}, which could run code" if named else one_line(error)[:120]
        raise InputError(f"{path} holds more than weights and settings, and is not loaded: {why}") from error
    found = checkpoint if isinstance(checkpoint, dict) else {}
    missing = [name for name in ("state_dict", "pytorch-lightning_version") if name not in found]
    if missing:
        raise InputError(f"{path} is no checkpoint of Lightning: it has no {' and no '.join(missing)}")
    wrong = [name for name, kind in _PARTS.items() if name in found and not isinstance(found[name], kind)]
    counts = {name: found[name] for name in ("epoch", "global_step", "loops") if name in found and name not in wrong}
    wrong += [name for name, part in counts.items() if not _are_counts(part)]
    if wrong:
        raise InputError(f"{path} is a damaged checkpoint: {' and '.join(wrong)} cannot be what Lightning wrote")
    if not all(isinstance(name, str) and _is_dense(weights) for name, weights in found["state_dict"].items()):
        raise InputError(f"{path} is a damaged checkpoint: its state_dict holds more than dense tensors by name")
    return found


def _is_dense(weights: Any) -> bool:
    return isinstance(weights, torch.Tensor) and weights.layout == torch.strided and not weights.is_meta


def _are_counts(loops: Any) -> bool:
    """Whether the progress of loops is made of whole numbers from 0; what their loaders remember is theirs."""
    waiting = [loops]
    for _ in range(_MAX_COUNTS):
        if not waiting:
            return True
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [value for name, value in part.items() if name != "combined_loader"]
        elif not isinstance(part, int) or part < 0:
            return False
    return False


def failed_restoring(error: BaseException) -> bool:
    """Whether an exception came of what a checkpoint holds: while it was restored, or of an optimiser's restored state.

    Args:
        error: Of a command that had a checkpoint.
    """
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        (
            code.co_filename == checkpoint_connector.__file__
            and code.co_name.startswith(("restore", "_restore", "resume"))
        )
        or Path(code.co_filename).is_relative_to(Path(torch.optim.__file__).parent)
        for code in frames
    )


class DurableCheckpoints(CheckpointIO):
    """Writes checkpoints that are whole or not there; reads them by `read_checkpoint`."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        """Write a file whole or leave what was there.

        Raises:
            InputError: The disk is full, or the folder cannot be written.
        """
        try:
            with whole(Path(path)) as temporary:
                torch.save(checkpoint, temporary)
        # torch turns a full disk into a RuntimeError of its own
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"the checkpoint {path} could not be written: {error}. Earlier checkpoints are as they were; make "
                "room or choose another --run_dir, and resume with --resume"
            ) from error

    @override
    def load_checkpoint(
        self, path: Path | str, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file.

        Raises:
            FileNotFoundError: There is none.
            InputError: It is damaged, or no checkpoint.
        """
        return read_checkpoint(Path(path), map_location)

    @override
    def remove_checkpoint(self, path: Path | str) -> None:
        Path(path).unlink(missing_ok=True)
