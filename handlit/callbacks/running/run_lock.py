"""One process at a time writes into a run folder."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from handlit.errors import RunInUse
from handlit.program import program
from handlit.run_folder import RunFolder

#: Of file systems that have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def run_lock(run: RunFolder, command: str) -> Iterator[None]:
    """Hold a run folder for a command, so that no second process runs the same command in it.

    The operating system holds the lock and drops it when the process ends, however it ends, on another node too where
    the file system shares locks between nodes; the file only says whose it is. File systems without locks are not
    locked.

    Args:
        run: The folder; it is made where it is missing.
        command: ``fit`` and ``predict``, say, run at once in one folder.

    Raises:
        RunInUse: Another process holds it. The message names its machine, number and start.
    """
    path = run.lock(command)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _locked(path, command)
    try:
        os.truncate(lock, 0)
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}, since {started}\n".encode())
        yield
    finally:
        # while it is held: whoever opens it later makes a new one
        path.unlink(missing_ok=True)
        os.close(lock)
        with suppress(OSError):
            # what failed before it wrote anything leaves no folder
            path.parent.rmdir()


def _locked(path: Path, command: str) -> int:
    """Descriptor of the locked file."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # not flock, which processes forked by this one would go on holding
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, *_NO_LOCKS):
                raise
            if error.errno not in _NO_LOCKS:
                holder = os.read(lock, 200).decode(errors="replace").strip() or "another process"
                os.close(lock)
                raise RunInUse(
                    f"`{program()} {command}` already runs in {path.parent} ({holder}): wait for it, or choose another "
                    "--run_dir"
                ) from error
        # unless the process that held it has just removed it
        if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
            return lock
        os.close(lock)
