"""Shipped configurations are found by name, wherever one may be named, and files of the user's come first."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from handlit.cli import configs, main
from handlit.cli.configs import config_folder, find_config
from handlit.errors import InputError

SHIPPED = Path(__file__).parents[2] / "configs"


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The configuration that a fit with these options would run with."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments, "--print_config"])
    output = capsys.readouterr()
    assert stop.value.code == 0, output.err
    return yaml.safe_load(output.out)


@pytest.mark.parametrize(
    "name",
    [
        "experiment/quickstart",
        "experiment/quickstart.yaml",
        "configs/experiment/quickstart",
        "./configs/experiment/quickstart.yaml",
    ],
)
def test_a_shipped_configuration_is_found_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == SHIPPED / "experiment" / "quickstart.yaml"


def test_an_existing_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/experiment/quickstart.yaml")
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_config(str(own)) == own
    assert find_config("experiment/quickstart").is_absolute()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("experiment/quikstart", r"similar are experiment/quickstart, "),
        ("quickstart", r"similar are data/quickstart, experiment/quickstart, "),
        ("experiment/../base", "similar are "),
        ("nothing-like-it", f"the shipped ones lie in {SHIPPED}"),
    ],
)
def test_an_unknown_name_is_refused_with_those_like_it(
    name: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name} is neither a file nor the name of a shipped configuration; {near}"):
        find_config(name)


@pytest.mark.parametrize("place", ["_INSTALLED", "_CHECKOUT"])
def test_nothing_starts_without_the_base(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configs, place, tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(SHIPPED / "experiment" / "quickstart.yaml"), "--print_config"])
    assert stop.value.code == 2
    assert f"{tmp_path / 'base.yaml'} is missing" in capsys.readouterr().err


def test_an_installed_package_does_not_look_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where packages are installed, another project's ``configs`` may lie."""
    for name in ("_INSTALLED", "_CHECKOUT"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "base.yaml").touch()
        monkeypatch.setattr(configs, name, tmp_path / name)
    assert config_folder() == tmp_path / "_INSTALLED"


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"], ["-c", "{}"]])
def test_options_take_names(
    form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.format("experiment/quickstart") for word in form]
    assert printed(words, capsys)["run_dir"] == "runs/quickstart/amvur"


def test_parts_take_names_and_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = printed(["--model=model/mean_hand", "--data", "configs/data/folder.yaml"], capsys)
    assert config["model"]["class_path"] == "handlit.methods.MeanHand"
    assert config["data"]["class_path"] == "handlit.data.folder.HandFolder"
    config = printed(["--model", "handlit.methods.MeanHand", "--data", "handlit.data.ho3d.HO3D"], capsys)
    assert config["data"]["class_path"] == "handlit.data.ho3d.HO3D"


def test_a_copied_experiment_finds_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "mine.yaml"
    copy.write_text((SHIPPED / "experiment" / "quickstart.yaml").read_text())
    whole = printed(["--config", "experiment/quickstart"], capsys)
    assert printed(["--config", "mine.yaml"], capsys) == whole
    copy.write_text(
        "model: model/amvur_quickstart\ndata: configs/data/quickstart.yaml\nrun_dir: runs/quickstart/amvur\n"
    )
    assert printed(["--config", "mine.yaml"], capsys)["model"] == whole["model"]


def test_a_file_beside_an_experiment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "amvur_quickstart.yaml").write_text("class_path: handlit.methods.MeanHand\n")
    (tmp_path / "mine.yaml").write_text("model: model/amvur_quickstart.yaml\ndata: data/quickstart\n")
    config = printed(["--config", str(tmp_path / "mine.yaml")], capsys)
    assert config["model"]["class_path"] == "handlit.methods.MeanHand"


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("model: ../model/amvur_quikstart.yaml\ndata: data/quickstart\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(tmp_path / "mine.yaml")])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "model/amvur_quikstart.yaml is neither a file" in message
    assert "model/amvur_quickstart" in message
