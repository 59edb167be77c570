"""Every shipped configuration is parsed with all its classes, and a typo in one is refused."""

from pathlib import Path

import pytest
import yaml

from handlit.cli import main

CONFIGS = Path(__file__).parent.parent / "configs"
EXPERIMENTS = sorted((CONFIGS / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_is_parsed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(path), "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["class_path"].startswith("handlit.methods.")
    assert config["data"]["class_path"].startswith("handlit.data.")
    # base.yaml lies underneath
    assert any("SubmissionCallback" in callback["class_path"] for callback in config["trainer"]["callbacks"])


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_opens_with_its_command(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    # released weights are for predicting and testing
    commands = ("predict", "test") if "reference" in path.stem else ("fit",)
    opening = [f"# python main.py {command} --config configs/experiment/{path.name}" for command in commands]
    assert first.startswith(tuple(opening))


def test_every_model_and_data_file_is_used_by_an_experiment() -> None:
    used = "".join(path.read_text() for path in EXPERIMENTS)
    for folder in ("model", "data"):
        for path in (CONFIGS / folder).glob("*.yaml"):
            assert f"../{folder}/{path.name}" in used or path.stem in ("folder", "packed"), (
                f"{path} is used by no experiment"
            )


@pytest.mark.parametrize("typo", ["--trainer.max_epoch=3", "--data.init_args.imagesize=3", "--model.init_args.lr=1"])
def test_unknown_setting_is_refused(typo: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIGS / "experiment" / "quickstart.yaml"), typo])
    assert stop.value.code == 2
    assert typo.split("=")[0].split(".")[-1] in capsys.readouterr().err


def test_typo_in_a_config_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "typo.yaml").write_text("trainer:\n  max_epoch: 3\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIGS / "experiment" / "quickstart.yaml"), "--config", f"{tmp_path}/typo.yaml"])
    assert stop.value.code == 2
    assert "max_epoch" in capsys.readouterr().err


@pytest.mark.parametrize("experiment", ["amvur_ho3d_v3_weak", "mhentropy_ho3d_v3"])
@pytest.mark.parametrize("path", sorted((CONFIGS / "trainer").glob("*.yaml")), ids=lambda path: path.stem)
def test_trainer_settings_are_parsed_with_an_experiment(
    path: Path, experiment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert path.read_text().startswith("# python main.py fit --config configs/experiment/")
    assert f"--config configs/trainer/{path.name}" in path.read_text().splitlines()[0]
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", f"{CONFIGS}/experiment/{experiment}.yaml", "--config", str(path), "--print_config"])
    output = capsys.readouterr()
    assert stop.value.code == 0, output.err
    if path.stem.startswith("gpu_"):
        asked, config = yaml.safe_load(path.read_text()), yaml.safe_load(output.out)
        assert asked["trainer"].items() <= config["trainer"].items()
        assert asked["data"]["init_args"].items() <= config["data"]["init_args"].items()
        # what the preset does not name is the experiment's
        assert config["data"]["class_path"] == "handlit.data.ho3d.HO3D"
        backbone = config["model"]["init_args"]["network"]["init_args"]["backbone"]["init_args"]
        assert backbone["name"] == ("hrnet_w64" if experiment.startswith("amvur") else "resnet50.tv_in1k")
        assert backbone["activation_checkpointing"] == (path.stem == "gpu_8gb")


@pytest.mark.parametrize("setting", ["group=G", "name=N", "project=P", "tags=[a,b]", "offline=true"])
def test_settings_of_the_wandb_run_are_found(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    logger = ["--config", str(CONFIGS / "trainer" / "wandb.yaml"), f"--trainer.logger.init_args.{setting}"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIGS / "experiment" / "quickstart.yaml"), *logger, "--print_config"])
    assert stop.value.code == 0
    name, value = setting.split("=")
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["trainer"]["logger"]["init_args"][name] == yaml.safe_load(value)


def test_a_missing_tensorboard_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlit.cli.trainer.find_spec", lambda name: None)
    logger = ["--config", str(CONFIGS / "trainer" / "tensorboard.yaml"), "--run_dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(CONFIGS / "experiment" / "quickstart.yaml"), *logger])
    assert stop.value.code == 2
    assert "pip install tensorboard" in capsys.readouterr().err
