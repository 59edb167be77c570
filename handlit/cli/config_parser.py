"""LightningCLI's parser, which finds shipped configurations by name."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import yaml
from jsonargparse import Namespace, get_loader
from jsonargparse.typing import Path_fr
from pytorch_lightning.cli import LightningArgumentParser
from typing_extensions import override

from handlit.cli.configs import find_config

#: Options that take the file of a configuration; the last two take a class as well.
_FILE_OPTIONS = ("-c", "--config", "--model", "--data")
_PARTS = ("model", "data")


class ConfigParser(LightningArgumentParser):
    """Takes names of shipped configurations (`find_config`) after options and within configuration files."""

    @override
    def parse_args(  # type: ignore[override]  # jsonargparse's own does not have argparse's overloads either
        self, args: Sequence[str] | None = None, *rest: Any, **options: Any
    ) -> Namespace:
        return super().parse_args(None if args is None else list(_with_files(args)), *rest, **options)

    @override
    def parse_string(self, cfg_str: str, *rest: Any, **options: Any) -> Namespace:
        content = None
        # what cannot be read is refused by the parser itself
        with suppress(yaml.YAMLError):
            content = get_loader("yaml")(cfg_str)
        if isinstance(content, dict):
            parts = {name: _shipped(content[name]) for name in _PARTS if _missing(content.get(name))}
            if parts:
                cfg_str = yaml.safe_dump({**content, **parts}, sort_keys=False)
        return super().parse_string(cfg_str, *rest, **options)


def _with_files(arguments: Sequence[str]) -> Iterator[str]:
    option = ""
    for word in arguments:
        name, equals, value = word.partition("=")
        if option:
            yield _file(option, word)
        elif equals and name in _FILE_OPTIONS:
            yield f"{name}={_file(name, value)}"
        else:
            yield word
        option = word if not option and word in _FILE_OPTIONS else ""


def _file(option: str, value: str) -> str:
    written_out = any(mark in value for mark in ("://", "{", "\n", ": ")) or value == "-"
    is_class = option in ("--model", "--data") and not _looks_like_a_path(value)
    return value if written_out or is_class else str(find_config(value))


def _looks_like_a_path(value: str) -> bool:
    return "/" in value or value.endswith((".yaml", ".yml", ".json"))


def _missing(value: object) -> bool:
    """Whether it names a file that is not there, from the folder of the file that is being read."""
    if not isinstance(value, str) or "://" in value or not _looks_like_a_path(value):
        return False
    try:
        Path_fr(value)
    except TypeError:
        return True
    return False


def _shipped(name: str) -> str:
    """The shipped file that a copy of a shipped experiment in any folder means by ``../model/x.yaml``."""
    return str(find_config(name.removeprefix("../")))
