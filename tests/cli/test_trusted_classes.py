"""A configuration from a stranger names code: what is not known is not imported."""

import sys
from pathlib import Path

import pytest

from tests.test_cli import CONFIGS, refused

EXPERIMENT = str(CONFIGS / "experiment" / "quickstart.yaml")


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stranger's module writes when it is imported."""
    path = tmp_path / "imported"
    (tmp_path / "strange_module.py").write_text(
        f"open({str(path)!r}, 'w').close()\nfrom pytorch_lightning import Callback, LightningModule\n"
        "class Method(LightningModule): pass\nclass Strange(Callback): pass\ndef act(*_): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "strange_module", raising=False)
    return path


@pytest.mark.parametrize("command", ["predict", "test", "validate"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--trainer.callbacks", "strange_module.Strange"),
        ("--trainer.callbacks+", '{"class_path": "strange_module.Strange"}'),
        ("--trainer.logger", "strange_module.Strange"),
        ("--trainer.strategy", '{"class_path": "strange_module.Strange"}'),
        ("--trainer.plugins", '[{"class_path": "strange_module.Strange"}]'),
        ("--model", "strange_module.Method"),
        ("--model.init_args.network.init_args.backbone", "strange_module.Strange"),
        (
            "--trainer.callbacks+",
            '{"class_path": "pytorch_lightning.callbacks.LambdaCallback", '
            '"init_args": {"on_predict_start": "strange_module.act"}}',
        ),
    ],
)
def test_no_module_of_a_stranger_is_imported(
    marker: Path, command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused([command, "--config", EXPERIMENT, option, value], capsys)
    assert "error: the configuration names strange_module." in message
    assert f"--import strange_module {command}" in message
    assert message.count("\n") == 1
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "handlit.cli.trainer.os.system",
        "torch.hub.load",
        # makes a method, from a file whose code it would run
        "handlit.methods.MeanHand.load_from_checkpoint",
    ],
)
def test_known_packages_lend_no_functions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(["predict", "--config", EXPERIMENT, "--model", name], capsys)
    assert f"the configuration names {name}, which is no class of" in message


def test_words_that_are_no_classes_are_read_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trainer.logger", "false", "--trainer.strategy", "ddp", "--trainer.precision", "bf16-mixed"]
    message = refused(["test", "--config", EXPERIMENT, *words, "--run_dir", str(tmp_path / "a.b")], capsys)
    assert "no checkpoint in" in message


def test_what_is_imported_by_name_is_trusted(marker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predict", "--config", EXPERIMENT, "--trainer.callbacks+", "strange_module.Strange"]
    message = refused(["--import", "strange_module", *arguments, "--run_dir", "nowhere"], capsys)
    assert "no checkpoint" in message
    assert marker.exists()
    # for that one command
    assert "the configuration names strange_module.Strange" in refused(arguments, capsys)


def test_a_training_runs_the_code_that_its_configuration_names(
    marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fit", "--config", EXPERIMENT, "--trainer.callbacks+", "strange_module.Strange"]
    assert "/nowhere" in refused([*arguments, "--data.init_args.root", "/nowhere"], capsys)
    assert marker.exists()
