"""The command of a trial: where it runs, and that it resumes a training."""

import sys
from pathlib import Path

import pytest

from handlit.sweeps import load_sweep, trial_command
from handlit.sweeps.command import command_name, handlit_words
from tests.sweeps.programs import write_sweep

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (["handlit", "fit", "-x"], ["fit", "-x"]),
        (["/opt/bin/handlit", "test"], ["test"]),
        (["python", "./main.py", "fit"], ["fit"]),
        (["python", "-m", "handlit", "fit"], ["fit"]),
        (["main.py"], []),
        (["main.py", "--import", "mine", "fit"], ["--import", "mine", "fit"]),
        (["python", "train.py", "fit"], None),
        ([], None),
    ],
)
def test_the_words_of_handlit_are_found(words: list[str], own: list[str] | None) -> None:
    assert handlit_words(words) == own


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["fit", "-x"], "fit"),
        (["--import", "mine", "--import=more", "test"], "test"),
        (["--import", "mine"], ""),
        ([], ""),
    ],
)
def test_the_command_comes_after_the_plugins(words: list[str], name: str) -> None:
    assert command_name(words) == name


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["handlit", "fit"], ["handlit", "fit", "--x=1", "--run_dir=trial", "--resume"]),
        (["/opt/bin/handlit", "test"], ["/opt/bin/handlit", "test", "--x=1", "--run_dir=trial"]),
        (["${env}", "python", "./main.py", "fit"], ["PY", "./main.py", "fit", "--x=1", "--run_dir=trial", "--resume"]),
        (["python", "train.py"], ["PY", "train.py", "--x=1", "--run_dir=trial"]),
    ],
)
def test_trainings_are_resumed(
    command: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    sweep = load_sweep(write_sweep(tmp_path, {"x": {"value": 1}}, command=[*command, "${args}"]))
    assert trial_command(sweep, {"x": 1}, Path("trial"), "PY") == expected


def test_without_a_checkout_the_installed_package_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(ROOT / "configs" / "sweeps" / "quickstart.yaml")
    command = trial_command(sweep, {"x": 1}, Path("trial"), sys.executable)
    assert command[:4] == [sys.executable, "-m", "handlit", "fit"]
    assert command[-3:] == ["--x=1", "--run_dir=trial", "--resume"]
