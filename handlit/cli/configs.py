"""Where the shipped configurations are: at the top of a checkout, and inside an installed package."""

import os
from difflib import SequenceMatcher
from pathlib import Path

from handlit.errors import InputError
from handlit.yaml_files import load_yaml

# a checkout has no copy inside its package, so that the folder beside the package is looked at there alone
_INSTALLED = Path(__file__).parents[1] / "configs"
_CHECKOUT = Path(__file__).parents[2] / "configs"
#: How much of a name must be the same for it to be suggested.
_SIMILAR = 0.6


def config_folder() -> Path:
    """The folder of the shipped configurations.

    Raises:
        InputError: It is missing. Nothing may run without its ``base.yaml``, which writes submissions and checkpoints.
    """
    folder = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    if not (folder / "base.yaml").is_file():
        raise InputError(
            f"{folder / 'base.yaml'} is missing, the settings under every configuration: install handlit again, or run "
            "it from a whole checkout"
        )
    return folder


def find_config(name: str) -> Path:
    """The file of a configuration.

    Args:
        name: Path of a file, or name of a shipped configuration: ``experiment/quickstart``, with or without
            ``configs/`` before it and ``.yaml`` after it. A file that exists wins.

    Raises:
        InputError: There is neither; the message lists similar names.
    """
    # not pathlib's, which fails for what can be no name of a file
    if os.path.isfile(os.path.expanduser(name)):
        return Path(name)
    folder = config_folder()
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
    wanted = name.removeprefix("./").removeprefix("configs/").removesuffix(".yaml")
    if wanted in names:
        return names[wanted]
    scores = {other: _similarity(wanted, other) for other in names}
    near = sorted((other for other in names if scores[other] > _SIMILAR), key=scores.__getitem__, reverse=True)
    similar = f"similar are {', '.join(near[:4])}" if near else f"the shipped ones lie in {folder}"
    raise InputError(f"{name} is neither a file nor the name of a shipped configuration; {similar}")


def stated_run_dir(config: Path) -> Path | None:
    """The run folder that a configuration names; None where it names none.

    Raises:
        InputError: It is no YAML file.
    """
    content = load_yaml(config) if os.path.isfile(config) else None
    stated = content.get("run_dir") if isinstance(content, dict) else None
    return Path(os.path.expandvars(stated)) if isinstance(stated, str) else None


def _similarity(name: str, other: str) -> float:
    """Of two names from 0 to 1, with or without their folders."""
    pairs = ((name, other), (name.rpartition("/")[2], other.rpartition("/")[2]))
    return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)
