"""The page of all shipped configurations, each with its text."""

from handlit.cli.configs import config_folder

#: What a folder of configs/ holds, in the order of the page.
FOLDERS = {
    "": "Under every configuration",
    "experiment": "Experiments: a method, data and what differs; the first line is the command that runs it",
    "model": "Methods",
    "data": "Data",
    "trainer": "Machines and loggers, to be laid over an experiment",
    "debug": "Debugging, to be laid over an experiment",
    "sweeps": "Sweeps",
}


def configurations_page() -> str:
    """Markdown: a heading for each file, its opening comment and its text."""
    folder = config_folder()
    lines = [
        "# Configurations",
        "",
        "The files of `configs/`, in the package as well: `--config experiment/quickstart` finds one by its name from",
        "any folder. How they compose: [architecture](../explanations/architecture.md#configuration).",
    ]
    for name, title in FOLDERS.items():
        lines += ["", f"## {title.partition(':')[0]}", ""]
        if ":" in title:
            lines += [f"{title.partition(': ')[2].capitalize()}.", ""]
        for path in sorted((folder / name).glob("*.yaml")):
            shown = path.relative_to(folder).with_suffix("").as_posix()
            text = path.read_text(encoding="utf-8").rstrip()
            body = "\n".join(f"    {line}" if line else "" for line in ("```yaml", *text.splitlines(), "```"))
            lines += [f"### {shown}", "", opening_comment(text), "", f'??? note "configs/{shown}.yaml"', "", body, ""]
    return "\n".join(lines) + "\n"


def opening_comment(text: str) -> str:
    """What the comment at a file's head says, its command as code."""
    words: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment = line.lstrip("# ").rstrip()
        words.append(f"`{comment}`\n\n" if comment.startswith("python main.py") else comment)
    return " ".join(words).replace("\n ", "\n").strip()
