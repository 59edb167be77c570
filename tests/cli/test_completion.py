"""The script that completes commands, in a real shell."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handlit.cli import TRAINER_COMMANDS, VERBS, main

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "handlit"
    with path.open("w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        main(["completion", "bash"])
    return path


def completed(script: Path, *words: str, cwd: Path | None = None) -> set[str]:
    """What bash offers for the last of the words."""
    ask = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({shlex.join(["handlit", *words])})
        COMP_CWORD={len(words)}
        _shtab_handlit
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([str(BASH), "-c", ask], capture_output=True, text=True, check=True, timeout=60, cwd=cwd)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes_commands_options_choices_configurations_and_files(script: Path, tmp_path: Path) -> None:
    # links between settings are no options
    assert "-->" not in script.read_text()
    assert completed(script, "") >= {*TRAINER_COMMANDS, *VERBS}
    assert completed(script, "ver") == {"verify-data"}
    assert completed(script, "fit", "--trainer.max_e") == {"--trainer.max_epochs"}
    assert completed(script, "synth", "--layout", "fr") == {"freihand"}
    assert completed(script, "--import", "mine", "export", "--o") == {"--out"}
    shipped = completed(script, "fit", "--config", "experiment/quickstart_m")
    assert shipped == {"experiment/quickstart_mean_hand", "experiment/quickstart_mhentropy"}
    (tmp_path / "mine.yaml").touch()
    assert completed(script, "fit", "--config", "mi", cwd=tmp_path) == {"mine.yaml"}
    assert completed(script, "score", "mi", cwd=tmp_path) == {"mine.yaml"}
    assert completed(script, "fit", "--ckpt_path", "mi", cwd=tmp_path) == {"mine.yaml"}


def test_zsh_has_a_script_too(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "zsh"])
    shown = capsys.readouterr().out
    assert shown.startswith("#compdef handlit")
    assert "experiment/quickstart" in shown


def test_without_the_library_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as stop:
        main(["completion", "bash"])
    assert stop.value.code == 2
    assert "handlit[completion]" in capsys.readouterr().err
