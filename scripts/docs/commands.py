"""A page for each command, with its options as its parser has them."""

import argparse
import re
from pathlib import Path

from handlit.cli import TRAINER_COMMANDS, VERBS
from handlit.cli.command_parsers import parser_of

#: Which group of options stands under which heading, of the commands that Lightning's Trainer runs.
_GROUPS = {"trainer": "Trainer", "model": "Method", "data": "Data"}


def command_pages() -> dict[str, str]:
    """Markdown of every command's page and of their overview, by place in the site."""
    described = {**TRAINER_COMMANDS, **VERBS}
    rows = [f"| [`{name}`]({name}.md) | {_cell(text)} |" for name, text in described.items()]
    overview = [
        "# Commands",
        "",
        "`python main.py COMMAND` in a checkout, `handlit COMMAND` where the package is installed. `--import MODULE`",
        "before the command names modules of your own ([adding](../../tutorials/adding.md)); `--version` says the",
        "version. Every page here is made from the command's parser.",
        "",
        "| command | |",
        "|---|---|",
        *rows,
    ]
    pages = {"reference/commands/index.md": "\n".join(overview) + "\n"}
    for name, text in described.items():
        page = _trainer_page if name in TRAINER_COMMANDS else _verb_page
        pages[f"reference/commands/{name}.md"] = page(name, text, parser_of(name))
    return pages


def _verb_page(name: str, summary: str, parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    usage = re.sub(r"^.*?(?=\b" + re.escape(name) + r"\b)", "handlit ", usage, count=1)
    positional = [action for action in parser._actions if not action.option_strings]
    options = [action for action in parser._actions if action.option_strings]
    lines = [f"# {name}", "", _sentence(summary), "", "```text", *_wrapped(usage), "```"]
    lines += ["", _description(parser.description)]
    for title, actions in (("Arguments", positional), ("Options", options)):
        lines += _table(title, actions)
    if parser.epilog:
        lines += ["", parser.epilog]
    return "\n".join(lines) + "\n"


def _trainer_page(name: str, summary: str, parser: argparse.ArgumentParser) -> str:
    actions = [
        action
        for action in parser._actions
        if action.option_strings and not action.option_strings[0].endswith(".help") and action.metavar != "CONFIG"
    ]
    groups: dict[str, list[argparse.Action]] = {"Options": [], **{title: [] for title in _GROUPS.values()}}
    for action in actions:
        if "-->" not in action.option_strings[0]:
            group = action.option_strings[0].lstrip("-").partition(".")[0]
            groups[_GROUPS.get(group, "Options")].append(action)
    lines = [
        f"# {name}",
        "",
        _sentence(summary),
        "",
        "```text",
        f"handlit {name} --config FILE_OR_NAME [--config ...] [--OPTION VALUE ...]",
        "```",
        "",
        "`--config` may be given several times: later files and options win. What [methods](../api/handlit.methods.md)",
        "and [datasets](../api/handlit.data.md) take is set by `--model.init_args.NAME VALUE` and",
        f"`--data.init_args.NAME VALUE`; `handlit {name} --model.help handlit.methods.AMVUR` prints it. The shipped",
        "files are [configurations](../configurations.md).",
    ]
    for title, options in groups.items():
        lines += _table(title, options)
    return "\n".join(lines) + "\n"


def _table(title: str, actions: list[argparse.Action]) -> list[str]:
    actions = [action for action in actions if "--help" not in action.option_strings]
    if not actions:
        return []
    rows = [(_names(action), _default(action), _help(action)) for action in actions]
    shown = [0, 1, 2] if any(default for _, default, _ in rows) else [0, 2]
    header = (title.lower().removesuffix("s"), "default", "what")
    table = [" | ".join(row[column] for column in shown) for row in (header, ("---",) * 3, *rows)]
    return ["", f"## {title}", "", *(f"| {row} |" for row in table)]


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    names = ", ".join(f"`{name}`" for name in action.option_strings if not name.endswith("+"))
    value = _value(action)
    return f"{names} `{value}`" if value else names


def _help(action: argparse.Action) -> str:
    return _cell(action.help % {**vars(action), "prog": "handlit"}) if action.help else ""


def _value(action: argparse.Action) -> str:
    """What stands behind an option: its choices, or what it is called in the help."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return " / ".join(map(str, action.choices))
    if action.metavar:
        # jsonargparse has a backspace in one
        return _cell(str(action.metavar).lstrip("\b"))
    return "" if hasattr(action, "_typehint") else action.dest.upper()


def _default(action: argparse.Action) -> str:
    if action.default in (None, argparse.SUPPRESS) or isinstance(action.default, (bool, list)):
        return ""
    default = action.default
    return f"`{default.as_posix() if isinstance(default, Path) else default}`"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _cell(text: str) -> str:
    """A text in one cell of a table: reStructuredText's marks as Markdown's."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    return text.replace("|", "\\|").replace("<", "&lt;")


def _description(text: str | None) -> str:
    lines = "\n".join(line.strip() for line in (text or "").splitlines())
    return re.sub(r"docs/([\w/]+\.md)", r"[\1](../../\1)", lines)


def _wrapped(usage: str, width: int = 76) -> list[str]:
    lines, line = [], ""
    for word in re.findall(r"\[[^\]]*\]|\S+", usage):
        if line and len(line) + len(word) > width:
            lines.append(line)
            line = "   "
        line += f" {word}" if line else word
    return [*lines, line]
