"""What handlit needs, which of it this machine has, and what to do about each gap."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handlit import __version__
from handlit.cli.verb_parser import VerbParser
from handlit.errors import InputError
from handlit.program import program

State = Literal["ok", "optional", "missing"]
REQUIRED = (
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "timm",
    "jsonargparse",
    "opencv-python-headless",
    "roma",
    "orjson",
    "trimesh",
    "wandb",
    "numpy",
    "scipy",
    "Jinja2",
    "PyYAML",
    "rich",
    "fsspec",
    "filelock",
    "zuko",
    "optuna",
    "typing_extensions",
)
MINIMUM_FREE_GIB = 5


@dataclass(frozen=True)
class Check:
    """A requirement that was checked.

    Attributes:
        name: Of the requirement.
        state: ``"ok"``; ``"optional"``: not there, but only needed for its own use; ``"missing"``: must be repaired.
        found: Version or state on this machine.
        advice: What to do; empty where nothing is to be done.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def doctor(arguments: list[str]) -> None:
    """Report what handlit needs, which of it this machine has, and what to do about each gap."""
    parser = VerbParser(doctor)
    parser.add_argument("--mano_path", help="MANO file or folder to try")
    if not examine(parser.parse_args(arguments).mano_path):
        raise SystemExit(1)


def examine(mano_path: str | None = None, console: Console | None = None) -> bool:
    """Check all requirements and print a table of them.

    Args:
        mano_path: The user's MANO file or its folder.
        console: Console to print to; standard output by default.

    Returns:
        Whether nothing is missing.
    """
    table = Table(title=f"handlit {__version__}", title_justify="left", box=None, pad_edge=False)
    for column in ("", "", "found", "what to do"):
        table.add_column(column, overflow="fold")
    marks = {"ok": "[green]ok", "optional": "[yellow]--", "missing": "[red]no"}
    complete = True
    for check in _checks(mano_path):
        complete &= check.state != "missing"
        table.add_row(marks[check.state], check.name, escape(check.found), escape(check.advice))
    (console or Console()).print(table)
    return complete


def _checks(mano_path: str | None) -> Iterator[Check]:
    new_enough = sys.version_info >= (3, 10)
    yield Check("Python", "ok" if new_enough else "missing", platform.python_version(), "" if new_enough else "3.10+")
    yield _torch()
    for package in REQUIRED:
        yield _package(package)
    yield _attempt("JPEG decoding", _decode_jpeg, "reinstall opencv-python-headless; remove other opencv packages")
    yield _mano(mano_path)
    yield _detector()
    pytorch3d = find_spec("pytorch3d") is not None
    yield Check("PyTorch3D", "ok" if pytorch3d else "optional", "installed" if pytorch3d else "not installed", "")
    logged_in = "WANDB_API_KEY" in os.environ or _in_netrc("api.wandb.ai")
    advice = "" if logged_in else "runs are logged offline; `wandb login` to upload"
    yield Check("W&B key", "ok" if logged_in else "optional", "found" if logged_in else "none", advice)
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    enough = free > MINIMUM_FREE_GIB
    advice = "" if enough else "checkpoints of HRNet-W64 take 2.4 GB each with their optimiser"
    yield Check("disk", "ok" if enough else "missing", f"{free:.0f} GiB free here, {os.cpu_count()} CPU cores", advice)


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", "missing", str(error), "pip install -r requirements.txt")
    if not torch.cuda.is_available():
        return Check("torch", "ok", f"{torch.__version__}, no GPU", "the CPU is enough for the quickstart")
    names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return Check("torch", "ok", f"{torch.__version__}, {names}")


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "missing", "not installed", "pip install -r requirements.txt")


def _mano(path: str | None) -> Check:
    if path is None:
        return Check(
            "MANO", "optional", "stand-in hand in use", "--mano_path FILE for real datasets; see docs/how_to/mano.md"
        )
    from handlit.hand.mano import load_mano

    try:
        return Check("MANO", "ok", f"{load_mano(path).side} hand read from {path}")
    except (InputError, FileNotFoundError) as error:
        return Check("MANO", "missing", "not usable", str(error))


def _detector() -> Check:
    from handlit.landmarks import model_files

    if find_spec("ai_edge_litert") is None:
        return Check(
            "hand detector", "optional", "engine not installed", 'photographs, videos: pip install "handlit[demo]"'
        )
    if not model_files.are_fetched():
        return Check("hand detector", "optional", "networks not fetched", f"{program()} fetch-detector")
    return Check("hand detector", "ok", f"networks in {model_files.folder()}")


def _attempt(name: str, action: Callable[[], str], advice: str) -> Check:
    try:
        return Check(name, "ok", action())
    except (ImportError, OSError, RuntimeError) as error:
        return Check(name, "missing", str(error), advice)


def _decode_jpeg() -> str:
    import cv2
    import numpy as np

    encoded, data = cv2.imencode(".jpg", np.full((8, 8, 3), 128, np.uint8))
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if encoded else None
    if decoded is None or decoded.shape != (8, 8, 3):
        raise RuntimeError("an image that was just written cannot be read")
    return f"cv2 {cv2.__version__}"


def _in_netrc(host: str) -> bool:
    path = Path.home() / ".netrc"
    return path.is_file() and host in path.read_text(errors="replace")
