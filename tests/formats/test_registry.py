"""Which dataset a folder is: marks, images, numbers, and what is said where they do not suffice."""

from dataclasses import replace
from pathlib import Path

import pytest

from handlit.errors import InputError
from handlit.formats import registry
from handlit.formats.benchmark import DatasetFormat
from handlit.formats.ho3d import HO3D_V2, HO3D_V3
from handlit.formats.registry import benchmark_named, benchmarks, most_likely, recognise, register


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["training_xyz.json"], "freihand"),
        (["evaluation_K.json", "evaluation/rgb/00000000.jpg"], "freihand"),
        (["annotations.json"], "folder"),
        (["boxes.json"], "folder"),
        (["pack.json"], "packed"),
        # a pack is a pack, whatever was copied beside it; own images are the last guess
        (["pack.json", "train.txt", "train/ABF10/rgb/0000.jpg"], "packed"),
        (["train.txt", "annotations.json"], "ho3d_v3"),
        (["train.txt", "train/ABF10/rgb/0000.png"], "ho3d_v2"),
        (["train/ABF10/meta/0000.pkl", "train/ABF10/rgb/0000.jpg"], "ho3d_v3"),
        # a stray file, and a list of hands beside the images, change nothing
        (["evaluation.txt", *(f"evaluation/A/rgb/{i}.png" for i in range(3)), "evaluation/A/rgb/9.jpg"], "ho3d_v2"),
        (["train.txt", "annotations.json", "train/ABF10/rgb/0000.jpg"], "ho3d_v3"),
        # the first folder that is not empty decides
        (["train.txt", "evaluation/A/rgb/0.jpg", "train/B/rgb/0.png", "train/B/rgb/1.png"], "ho3d_v3"),
    ],
)
def test_datasets_are_recognised_by_their_files(tmp_path: Path, files: list[str], name: str) -> None:
    (tmp_path / "evaluation" / "0" / "rgb").mkdir(parents=True)
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert recognise(tmp_path).name == name


def test_without_images_the_list_decides_and_else_a_warning_says_what_was_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"A/{number:05d}" for number in range(HO3D_V2.num_samples)]
    (tmp_path / "evaluation.txt").write_text("\n".join(names))
    assert recognise(tmp_path) is HO3D_V2
    assert not caplog.text
    (tmp_path / "evaluation.txt").write_text("\n".join(names[1:]))
    assert recognise(tmp_path) is HO3D_V3
    assert "may be HO-3D v2 or HO-3D v3: neither images nor their number say which; taken as HO-3D v3" in caplog.text
    assert most_likely([HO3D_V2, HO3D_V3], tmp_path, HO3D_V2.num_samples) is HO3D_V2


def test_what_is_registered_is_known_and_unknown_names_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "FORMATS", dict(registry.FORMATS))
    register(replace(HO3D_V3, name="mine", title="Mine", marks=("mine.toml",)))
    register(DatasetFormat(name="plain", title="Plain", page="", marks=("plain.csv",), data="x.Plain"))
    (tmp_path / "mine.toml").touch()
    assert recognise(tmp_path).title == benchmarks()["mine"].title == "Mine"
    assert "plain" not in benchmarks()
    with pytest.raises(InputError, match=r"unknown benchmark 'plain'; choose one of ho3d_v2, .*mine"):
        benchmark_named("plain")
    (tmp_path / "mine.toml").unlink()
    with pytest.raises(InputError, match=r"Plain has plain\.csv"):
        recognise(tmp_path)
