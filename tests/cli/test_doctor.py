"""The doctor sees what is there, what is missing, and says what to do."""

import importlib
from pathlib import Path

import pytest

from handlit.cli import main
from handlit.hand.loading import load_hand
from tests.hand.mano_file import write_mano


def test_complete_machine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    shown = capsys.readouterr().out
    assert "stand-in hand in use" in shown
    assert "torch" in shown


@pytest.mark.filterwarnings("ignore:.*is not the distributed right hand")
def test_mano_file_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mano(load_hand(), tmp_path / "MANO_RIGHT.pkl")
    main(["doctor", "--mano_path", str(tmp_path)])
    assert "right hand read" in capsys.readouterr().out


def test_gap_is_named_and_ends_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--mano_path", str(tmp_path / "nowhere.pkl")])
    assert stop.value.code == 1
    assert "mano.is.tue.mpg.de" in capsys.readouterr().out


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module("handlit.cli.doctor")
    monkeypatch.setattr(module, "REQUIRED", ("no-such-package",))
    assert not module.examine()
    shown = capsys.readouterr().out
    assert "no-such-package" in shown
    assert "requirements.txt" in shown


def test_the_hand_detector_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("HANDLIT_CACHE", str(tmp_path))
    module = importlib.import_module("handlit.cli.doctor")
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    main(["doctor"])
    assert "fetch-detector" in capsys.readouterr().out
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    main(["doctor"])
    assert 'pip install "handlit[demo]"' in capsys.readouterr().out
    monkeypatch.undo()
