"""Files that are whole or not there, and their checksums."""

import errno
import glob
import hashlib
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

#: Keys whose names need no checksum.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9.]{0,99}|[a-z0-9][a-z0-9._-]{0,99}#(0|[1-9][0-9]{0,8})")
#: Pattern of the temporary files of `whole`.
TEMPORARY = ".*.part*"


@contextmanager
def named(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give the file's name to errors of the block that have none, as that of a full disk, or have a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """Write a file that appears under its name only when it is whole and on the disk.

    The block writes to the temporary path that it is given, in the same folder and with the same suffix. When the
    block ends, that file is synchronised to the disk and takes the place of what was there; when it raises, the file
    is removed and what was there stays. Two processes may write one path at once: each has a temporary file of its
    own, and the later one wins. Temporary files of killed processes of this machine are removed by the next writer of
    that path.

    Args:
        path: The file; its folder is made where it is missing.
        durable: False for the many small files of a dataset that is completed by making it again: what a power failure
            may take is not waited for, and leftovers are not looked for.

    Yields:
        Where to write.

    Raises:
        OSError: The file cannot be written; the error names it, also where the operating system does not (a full disk).
    """
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = f".{glob.escape(path.stem)}.{_host()}-*.part{glob.escape(path.suffix)}"
    for leftover in path.parent.glob(pattern) if durable else ():
        if not is_being_written(leftover):
            leftover.unlink(missing_ok=True)
    temporary = temporary_path(path)
    try:
        with named(path, temporary):
            yield temporary
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file `whole`."""
    with whole(path, durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a file `whole`, in UTF-8 and with Unix line ends."""
    write_bytes(path, content.encode())


def open_regular(path: Path | str) -> FileIO:
    """Open a file for reading; a pipe or a device in its place, which nobody ends, is refused, not waited for.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return FileIO(descriptor)
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(path))


def check_writable(path: Path, is_file: bool = False) -> None:
    """Refuse a place that cannot be written, before work is done for it; nothing is made there.

    Args:
        path: Folder, or file.
        is_file: Whether it is a file.

    Raises:
        OSError: What writing there would raise; it names the place.
    """
    if "\0" in str(path) or not str(path).strip():
        raise OSError(errno.EINVAL, "no name of a file or folder", repr(str(path)))
    if is_file:
        _check_replaceable(path)
    folder = path.absolute().parent if is_file else path.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _check_replaceable(path: Path) -> None:
    """Refuse a device, which writing a file `whole` would remove, and a folder."""
    if path.is_dir():
        raise OSError(errno.EISDIR, "is a directory", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "no file that can be replaced", str(path))


def file_stem(key: str) -> str:
    """A name for the files of a sample: no two keys have the same one, even where case does not count.

    ``image.jpg#1`` in small letters becomes ``image.jpg_1``, a key of small letters and digits stays as it is, and any
    other is shown by what file systems take of it, with a checksum of the whole: ``ABF10_0000-8f7a51b6e0c2``.
    """
    if _PLAIN.fullmatch(key):
        return key.replace("#", "_")
    # the names above do not end in a hyphen and hexadecimal digits
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", key).strip("._-")[:100] or "hand"
    return f"{readable}-{hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


def leads_outside(folder: Path, name: str) -> bool:
    """Whether a name below a folder leads out of it: an absolute one, one with ``..``, or a link."""
    return not Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))


def named_path(text: str) -> tuple[str, Path]:
    """What ``NAME=PATH`` or a path alone means: as much as exists is the path, which may hold ``=`` itself.

    Returns:
        Name ("" without one) and path.
    """
    ends = [-1, *(match.start() for match in re.finditer("=", text))]
    for end in ends:
        if os.path.exists(text[end + 1 :]):
            return text[: max(end, 0)], Path(text[end + 1 :])
    # of what does not exist, folders are no part of a name
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals and os.sep not in name else ("", Path(text))


def sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def temporary_path(path: Path) -> Path:
    """Where this process writes what is to lie at a path; `is_being_written` while it runs."""
    return path.with_name(f".{path.stem}.{_host()}-{os.getpid()}.part{path.suffix}")


def is_being_written(temporary: Path) -> bool:
    """Whether the process of this machine that writes a temporary file of `whole` still runs."""
    process = re.search(rf"\.{re.escape(_host())}-(\d+)\.part", temporary.name)
    return process is not None and _is_running(int(process[1]))


def _host() -> str:
    return re.sub(r"\W", "-", socket.gethostname())


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
