from handlit.cli import TRAINER_COMMANDS, VERBS
from scripts.docs.commands import command_pages


def test_every_command_has_a_page_with_its_options() -> None:
    pages = command_pages()
    assert {f"reference/commands/{name}.md" for name in ("index", *TRAINER_COMMANDS, *VERBS)} == set(pages)
    for name in ("demo", "score", "pack"):
        assert pages[f"reference/commands/{name}.md"].startswith(f"# {name}\n")
    assert "| `--hands` `N` | `2` | hands that are followed in a video |" in pages["reference/commands/demo.md"]
    fit = pages["reference/commands/fit.md"]
    assert "| `--run_dir` `RUN_DIR` | `runs/default` |" in fit
    assert "## Trainer" in fit
    assert "`--trainer.max_epochs`" in fit
    assert "`--print_config` `[=flags]`" in fit
    # a pipe would end a cell
    assert all(line.count(" | ") <= 2 for line in fit.splitlines() if line.startswith("| `"))
