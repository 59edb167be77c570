"""The verb ``completion``: a script by which a shell completes commands, options and names of configurations."""

import argparse
from pathlib import Path

from handlit.cli import TRAINER_COMMANDS, VERBS
from handlit.cli.command_parsers import parser_of
from handlit.cli.configs import config_folder
from handlit.cli.verb_parser import VerbParser
from handlit.errors import InputError

#: Options that take a configuration, by its file or by its name.
_CONFIGURATIONS = {"--config", "--model", "--data"}
#: What completes names of shipped configurations, and files.
_NAMES = "_handlit_configurations"
_FUNCTIONS = {
    "bash": _NAMES + '() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
    "zsh": _NAMES + "() {{ compadd -- {names}; _files; }}",
}


def completion(arguments: list[str]) -> None:
    """Print a script by which a shell completes commands, options and names of configurations;
    docs/how_to/completion.md.
    """
    parser = VerbParser(completion)
    parser.add_argument("shell", choices=sorted(_FUNCTIONS), help="whose script")
    options = parser.parse_args(arguments)
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise InputError(f'completion needs {error.name}: pip install "handlit[completion]"') from error
    folder = config_folder()
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.yaml"))
    function = _FUNCTIONS[options.shell].format(names=" ".join(names))
    print(shtab.complete(all_commands(shtab.FILE), options.shell, preamble=function))


def all_commands(files: object) -> argparse.ArgumentParser:
    """The program's parser, with every command's options.

    Args:
        files: What completes names of files, by shell.
    """
    program = argparse.ArgumentParser("handlit")
    program.add_argument("--version", action="store_true", help="print the version")
    program.add_argument("--import", metavar="MODULE", help="name a module of yours, before the command")
    commands = program.add_subparsers()
    for name, text in {**TRAINER_COMMANDS, **VERBS}.items():
        # a copy, as argparse reads it; --help is the original's
        command = commands.add_parser(name, help=text, parents=[parser_of(name)], add_help=False)
        for action in list(command._actions):
            if any("-->" in option for option in action.option_strings):
                # a link between settings
                command._actions.remove(action)
            elif _CONFIGURATIONS & set(action.option_strings):
                action.complete = dict.fromkeys(_FUNCTIONS, _NAMES)  # type: ignore[attr-defined]
            elif _takes_file(action):
                action.complete = files  # type: ignore[attr-defined]
    return program


def _takes_file(action: argparse.Action) -> bool:
    if action.choices or action.nargs == 0:
        return False
    stated = action.type is Path or not action.option_strings
    return stated or action.dest.endswith(("_path", "_dir"))
