"""LightningCLI's parser, which finds shipped configurations by name and says in a line what it refuses."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from docstring_parser import DocstringStyle
from jsonargparse import Namespace, get_loader, set_loader, set_parsing_settings
from jsonargparse.typing import Path_fr
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from typing_extensions import override

from handlit.cli.configs import find_config, stated_run_dir
from handlit.cli.verb_parser import hand_over
from handlit.errors import InputError, one_line
from handlit.run_folder import RunFolder
from handlit.yaml_files import check_size, load_yaml

#: Options that take a file: of a configuration, where `--model` and `--data` take a class as well, or a checkpoint.
_FILE_OPTIONS = ("-c", "--config", "--model", "--data", "--ckpt_path")
_PARTS = ("model", "data")
T = TypeVar("T")
_load = get_loader("yaml")


def _load_bounded(text: str) -> Any:
    """What the parser makes of a text, of a file or an option, unless it is made to fill the memory."""
    check_size(text)
    try:
        return _load(text)
    # numbers of thousands of digits
    except ValueError as error:
        raise yaml.YAMLError(one_line(error)) from error


set_loader("yaml", _load_bounded, exceptions=(yaml.YAMLError,))
# ours, Lightning's and PyTorch's; otherwise every class's docstring is read in each of four styles
set_parsing_settings(docstring_parse_style=DocstringStyle.GOOGLE)
#: Lines of jsonargparse's messages that repeat what was given, or say what every setting may be: nothing at all.
_NOISE = re.compile(
    r"\s*(- )?(Does not validate|Subtypes:|Errors:|Given value type:|Given value: \w*(Namespace|NestedArg)\(|"
    r"Expected a( <class ')?NoneType|Expected NoneType)"
)
#: How long a refused value is shown.
_SHOWN = 600


def plain_path(path: str) -> str:
    """A path that the parser takes for a text, and not for nothing (``#1``, ``null``) or for a number.

    Raises:
        InputError: It would be taken for a setting.
    """
    for text in (path, os.path.abspath(path)):
        with suppress(yaml.YAMLError):
            if not isinstance(_load_bounded(text), str):
                continue
        return text
    raise InputError(f"the path {path} holds ': ', which reads as a setting: choose a name without it")


class ConfigParser(LightningArgumentParser):
    """Takes names of shipped configurations (`find_config`) after options and within configuration files.

    A setting that a class does not take is refused in one line: a wrong type, null where its type has no None, and what
    the class's constructor refuses.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_instantiator(_construct, object)

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        command = self.prog.replace(" [options]", "")
        raise InputError(f"{_in_a_line(message)} ({command} --help lists the settings)") from ex

    @override
    def validate(self, cfg: Namespace, skip_none: bool = True, skip_required: bool = False, **options: Any) -> None:  # type: ignore[override]
        try:
            super().validate(cfg, skip_none and skip_required, skip_required, **options)
        except TypeError:
            # what is missing is said as that, not as null
            super().validate(cfg, skip_none, skip_required, **options)
            raise

    @override
    def instantiate_classes(self, cfg: Namespace, **options: Any) -> Namespace:  # type: ignore[override]
        try:
            return super().instantiate_classes(cfg, **options)
        except _RefusedError as refused:
            # parsers of a class's settings pass it on
            if not self.exit_on_error:
                raise
            raise refused.error from refused.error.__cause__

    @override
    def parse_args(  # type: ignore[override]  # jsonargparse's own does not have argparse's overloads either
        self, args: Sequence[str] | None = None, *rest: Any, **options: Any
    ) -> Namespace:
        hand_over(self)
        if args is not None:
            args = list(_with_files(args))
            args += [f"--run_dir={folder}" for folder in _moved_run(args)]
        try:
            return super().parse_args(args, *rest, **options)
        except (UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"a file that the configuration names is no YAML in UTF-8: {one_line(error)}") from error

    @override
    def parse_string(self, cfg_str: str, *rest: Any, **options: Any) -> Namespace:
        content = None
        # what cannot be read is refused by the parser itself
        with suppress(yaml.YAMLError):
            content = _load_bounded(cfg_str)
        if isinstance(content, dict):
            parts = {name: _shipped(content[name]) for name in _PARTS if _missing(content.get(name))}
            if parts:
                cfg_str = yaml.safe_dump({**content, **parts}, sort_keys=False)
        return super().parse_string(cfg_str, *rest, **options)


class _RefusedError(BaseException):
    """Takes what a constructor raised past jsonargparse, which makes one ValueError of every exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _construct(class_type: type[T], *args: Any, **kwargs: Any) -> T:
    """Make an object of a class that a configuration names."""
    try:
        return class_type(*args, **kwargs)
    except Exception as error:
        # what libraries refuse has no class of its own
        if class_type.__module__.partition(".")[0] in ("pytorch_lightning", "torch") and not isinstance(error, OSError):
            raise _RefusedError(InputError(f"{class_type.__name__}: {error}")) from error
        raise _RefusedError(error) from error


def _in_a_line(message: str) -> str:
    """A message of jsonargparse as one line, without the values that it repeats."""
    kept = [line.strip().removeprefix("- ") for line in message.splitlines() if not _NOISE.match(line)]
    text = re.sub(r": ?;", ":", "; ".join(filter(None, kept)))
    for pattern, plain in (
        (r"Parser key \"([^\"]*)\":", r"\1:"),
        (r"Problem with given class_path '([^']*)':", r"\1:"),
        (r"<class '([^']*)'>", r"\1"),
        (r"Expected an? (typing\.)?Literal\[([^]]*)\]", r"expected one of \2"),
        (r"Expected an? ", "expected "),
        (r"([.;] )?(Got|Given) value: None", ", got null"),
        (r"[.;] (Got|Given) value: ", ", got "),
    ):
        text = re.sub(pattern, plain, text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


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
    if option == "--ckpt_path":
        return plain_path(value)
    if written_out or is_class:
        return value
    file = find_config(value)
    if not isinstance(load_yaml(file), dict):
        raise InputError(f"{file} is no configuration: it holds no settings by name")
    return str(file)


def _moved_run(arguments: Sequence[str]) -> list[Path]:
    """The folder of a run that was copied or moved, configuration included: later commands use what lies in it."""
    files = [
        word.partition("=")[2] or following
        for word, following in zip(arguments, [*arguments, ""][1:], strict=True)
        if word.partition("=")[0] in ("-c", "--config")
    ]
    if any(word.partition("=")[0] == "--run_dir" for word in arguments):
        return []
    # the last one that names a run folder decides
    for file in map(Path, reversed(files)):
        stated, run = stated_run_dir(file), RunFolder(file.parent)
        if stated is None:
            continue
        if file.name != run.config.name or not run.checkpoints.is_dir() or run.path.resolve() == stated.resolve():
            return []
        rank_zero_only(print)(f"{file} says run_dir {stated}, but lies elsewhere: its own folder, {run.path}, is used")
        return [run.path]
    return []


def _looks_like_a_path(value: str) -> bool:
    return "/" in value or value.endswith((".yaml", ".yml", ".json"))


def _missing(value: object) -> bool:
    """Whether it names a file that is not there, from the folder of the file that is being read.

    Raises:
        InputError: It is there and no YAML file.
    """
    if not isinstance(value, str) or "://" in value or not _looks_like_a_path(value):
        return False
    try:
        path = Path_fr(value)
    except TypeError:
        return True
    load_yaml(Path(path.absolute))
    return False


def _shipped(name: str) -> str:
    """The shipped file that a copy of a shipped experiment in any folder means by ``../model/x.yaml``."""
    return str(find_config(name.removeprefix("../")))
