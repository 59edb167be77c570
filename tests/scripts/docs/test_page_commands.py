"""Commands that pages show exist, with their options and configurations."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from handlit.cli import TRAINER_COMMANDS, VERBS
from handlit.cli.command_parsers import parser_of
from handlit.cli.configs import find_config
from scripts.docs.links import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
START = re.compile(r"(?:^|&& |[|;] |do )\s*(?:python main\.py|handlit) ([^#|&;]+)")
#: Settings of classes, which the parser learns from the class.
OF_CLASSES = ("--data.", "--model.", "--trainer.callbacks", "--trainer.logger.", "--trainer.strategy.")


#: Commands that pass what they do not know on to another one.
PASSED_ON = {"export": "predict", "calibrate": "validate"}


@cache
def options(command: str) -> frozenset[str]:
    own = frozenset(option for action in parser_of(command)._actions for option in action.option_strings)
    return own | options(PASSED_ON[command]) if command in PASSED_ON else own


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command in the blocks of code of a page."""
    for block in re.findall(r"^ *```(?:bash)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for match in START.finditer(line.strip()):
                yield shlex.split(match[1].replace("'", '"'), posix=True)


def wrong(words: list[str]) -> str | None:
    """What is wrong with a command, None if nothing is."""
    while words[0] == "--import":
        words = words[2:]
    command = words[0]
    if command.startswith("--") or command == "COMMAND":
        return None
    if command not in {*TRAINER_COMMANDS, *VERBS}:
        return f"there is no command {command}"
    for number, word in enumerate(words):
        name = word.partition("=")[0].strip("[]")
        if name.startswith("--") and name not in options(command) and not name.startswith((*OF_CLASSES, "--explain")):
            return f"{command} has no option {name}"
        if word in ("--config", "--data", "--model") and number + 1 < len(words):
            config = words[number + 1]
            if re.match(r"(configs/)?[a-z]+/[a-z]\w*(\.yaml)?$", config):
                find_config(config)
    return None


def test_a_dead_command_is_found() -> None:
    (known,) = commands("```bash\npython main.py score A B --lint   # text\n```")
    assert known == ["score", "A", "B", "--lint"]
    assert wrong(known) is None
    assert wrong(["score", "A", "--no_such"]) == "score has no option --no_such"
    assert wrong(["scores"]) == "there is no command scores"
    assert wrong(["--import", "x", "fit", "--trainer.max_epoch", "3"]) == "fit has no option --trainer.max_epoch"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_exist(page: Path) -> None:
    assert not [problem for words in commands(page.read_text(encoding="utf-8")) if (problem := wrong(words))]
