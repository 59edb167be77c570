"""What a configuration gets wrong is said in one line, wherever it is found out: in a file, by a type, by a class."""

from pathlib import Path

import pytest

from handlit.cli import main

DATA, MODEL = "--data.init_args", "--model.init_args"
NETWORK = f"{MODEL}.network.init_args"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a command of wrong settings ends with."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    assert not [line for line in lines if "Traceback" in line or "usage:" in line]
    assert len(lines[-1]) < 1000
    return lines[-1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        # what no type allows
        ("--trainer.max_epochs abc", "trainer.max_epochs: expected int, got abc"),
        ("--no_such_setting 1", "unrecognized arguments: --no_such_setting 1"),
        (f"{DATA}.crop plane", "crop: expected one of 'plain', 'whole', "),
        # null where there is no None
        (f"{DATA}.crop null", "crop: expected one of 'plain', 'whole', "),
        (f"{DATA}.masks null", "masks: expected bool, got null"),
        (f"{DATA}.augmentation.scale null", "scale: expected float, got null"),
        (f"{NETWORK}.camera null", "camera: expected one of 'weak_perspective', 'perspective', got null"),
        # what a constructor refuses
        (
            f"{DATA}.augmentation.occlusion 2",
            "augmentation: occlusion must be a number, at least 0 and at most 1, got 2",
        ),
        (f"{DATA}.batch_size 0", "batch_size must be a whole number, at least 1, got 0"),
        (f"{DATA}.val_fraction .nan", "val_fraction must be a number, at least 0 and below 1, got nan"),
        (f"{MODEL}.learning_rate .nan", "learning_rate must be a number, above 0, got nan"),
        (f"{NETWORK}.heads 0", "heads must be a whole number, at least 1, got 0"),
        (f"{NETWORK}.backbone.init_args.name no_such_net", "no_such_net"),
        ("--mano_path /no/such/file", "/no/such/file"),
        (
            "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor a --trainer.callbacks.mode b",
            "EarlyStopping",
        ),
        # what the trainer refuses
        ("--trainer.max_time abc", "abc"),
        ("--trainer.devices 99", "trainer.devices must be a number, at most"),
        ("--trainer.gradient_clip_val .nan", "trainer.gradient_clip_val must be a number, at least 0, got nan"),
        ("--trainer.val_check_interval 0", "trainer.val_check_interval must be a number, above 0, got 0"),
        ("--trainer.check_val_every_n_epoch 0", "trainer.check_val_every_n_epoch must be a number, above 0, got 0"),
        ("--seed_everything -5", "seed_everything must be a whole number, at least 0 and at most 4294967295, got -5"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_line(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    common = ["--data.init_args.root", str(tmp_path), "--trainer.accelerator", "cpu", "--run_dir", str(run)]
    assert message in refused(["fit", "--config", "experiment/quickstart", *common, *setting.split()], capsys)
    assert not run.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it holds no settings by name"),
        (b"- a\n- b\n", "it holds no settings by name"),
        (b"a: [b\n", "is no YAML file"),
        (b"\xff\x00\xfe" * 50, "a YAML file of settings"),
        (b"[" * 20_000, "is no YAML file"),
        (b"a: " + b"9" * 5000, "is no YAML file"),
        (b"model: 3\n", "model: "),
    ],
)
def test_a_file_that_is_no_configuration(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert message in refused(["fit", "--config", str(path)], capsys)


def test_a_missing_configuration_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["fit"], ["fit", "--config"], ["fit", "--config", str(tmp_path)], ["fit", "--config", "x" * 300]):
        refused(arguments, capsys)


def test_a_checkpoint_is_no_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its path is taken as it is, a number included, and its content is not read as settings."""
    file = tmp_path / "17"
    file.write_bytes(b"weights")
    for option in (["--ckpt_path", str(file)], [f"--ckpt_path={file}"]):
        line = refused(["test", "--config", "experiment/quickstart", "--run_dir", str(tmp_path), *option], capsys)
        assert f"{file} is no checkpoint" in line
