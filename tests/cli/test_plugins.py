"""Modules that are made known before a command."""

import sys
from pathlib import Path

import pytest

from handlit.cli import main


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_plugin.py").write_text("print('my plugin is here')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_plugin", raising=False)
    return "my_plugin"


@pytest.mark.parametrize("joined", [False, True])
def test_modules_of_this_folder_are_imported_before_the_command(
    module: str, joined: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*([f"--import={module}"] if joined else ["--import", module]), "--import", "json", "--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("my plugin is here\nusage:")


def test_entry_points_are_imported(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    information = tmp_path / "mine-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[handlit.plugins]\nmine = {module}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    main(["--help"])
    assert "my plugin is here" in capsys.readouterr().out


def test_an_installed_plugin_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    information = tmp_path / "stale-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: stale\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[handlit.plugins]\nstale = no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit) as error:
        main(["--version"])
    assert error.value.code == 2
    assert "the installed plugin stale (no_such_module) cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--import", "no_such_module", "--help"], ["--import"], ["--import", "./my_plugin.py", "--help"]]
)
def test_a_module_that_is_not_found_is_an_error(
    module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "expected the name of a module" in capsys.readouterr().err
