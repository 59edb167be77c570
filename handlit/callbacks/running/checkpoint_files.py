"""Checkpoint files: written whole or not at all, checked before they are read, and the one to continue with."""

import logging
import pickle
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from typing_extensions import override

from handlit.errors import InputError
from handlit.files import whole
from handlit.run_folder import RunFolder

log = logging.getLogger(__name__)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, None if it is sound: every byte is checked against its checksum.

    A file that has not changed since the last call is not read again: HRNet-W64's has 2.4 GB.
    """
    status = path.stat()
    return _damage(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _damage(path: Path, size: int, changed_ns: int) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error) or "it ends too early"
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


class DurableCheckpoints(CheckpointIO):
    """Writes checkpoints that are whole or not there; refuses damaged ones.

    Checkpoints are read without running code that is in them (``weights_only``).
    """

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
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"there is no checkpoint {file}")
        reason = damage(file)
        if reason is not None:
            raise InputError(f"{file} is no checkpoint, or it is damaged: {reason}")
        try:
            checkpoint = torch.load(file, map_location=map_location or "cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(f"{file} holds more than weights and settings, and is not loaded: {error}") from error
        # a zip file, and not torch's
        except RuntimeError as error:
            raise InputError(f"{file} is no checkpoint: {error}") from error
        missing = {"state_dict", "pytorch-lightning_version"} - set(checkpoint if isinstance(checkpoint, dict) else ())
        if missing:
            raise InputError(f"{file} is no checkpoint of Lightning: it has no {' and no '.join(sorted(missing))}")
        return checkpoint

    @override
    def remove_checkpoint(self, path: Path | str) -> None:
        Path(path).unlink(missing_ok=True)
