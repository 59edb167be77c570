"""The parser that a command reads its options with, without running the command."""

import pytest

from handlit.cli import TRAINER_COMMANDS, VERBS
from handlit.cli.command_parsers import parser_of


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *VERBS])
def test_every_command_hands_over_its_own_parser(command: str) -> None:
    parser = parser_of(command)
    assert parser.prog.split()[-1] == command
    assert "--help" in parser._option_string_actions


def test_afterwards_commands_run_again() -> None:
    parser = parser_of("compare")
    assert parser.parse_args(["a", "b"]).runs == ["a", "b"]


def test_a_command_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parser_of("no-such")
    assert stop.value.code == 2
    assert "no-such" in capsys.readouterr().err
