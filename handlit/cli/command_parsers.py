"""The parsers of all commands, for what lists their options: completion in a shell, the documentation."""

import argparse

from handlit.cli import VERBS, main
from handlit.cli.verb_parser import ParserMade, asking_for_parsers


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command reads its options with.

    Args:
        command: One of `handlit.cli.TRAINER_COMMANDS` or `VERBS`.

    Raises:
        SystemExit: There is no such command.
    """
    with asking_for_parsers():
        try:
            main([command])
        except ParserMade as made:
            found = made.parser
    if command in VERBS:
        return found
    (subcommands,) = (action for action in found._actions if isinstance(action, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = subcommands._name_parser_map[command]
    return parser
