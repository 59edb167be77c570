"""The command ``verify-data``: what it prints and writes, and its exit codes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytorch_lightning.trainer.states import TrainerFn

from handlit.cli.verify_data import verify_data
from handlit.data.ho3d import HO3D
from handlit.data.synthesis import synthesise
from handlit.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    synthesise(tmp_path / "tree", train=2, evaluation=1, seed=4, preset="easy", workers=0, progress=False)
    return tmp_path / "tree"


def test_a_whole_dataset_gives_zero_and_a_broken_one_gives_one(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(root.rglob("*"))
    verify_data([str(root), "--workers", "0"])
    printed = capsys.readouterr().out
    assert "HO-3D v3" in printed
    assert "no problems" in printed
    assert sorted(root.rglob("*")) == files

    image = next(root.glob("train/*/rgb/0001.jpg"))
    image.write_bytes(image.read_bytes()[:-100])
    out = tmp_path / "reports" / "mine.json"
    with pytest.raises(SystemExit) as error:
        verify_data([str(root), "--workers", "0", "--out", str(out)])
    assert error.value.code == 1
    report = json.loads(out.read_text())
    assert report["problems"] == 1
    assert report["counts"]["train"]["images unreadable"] == 1
    problem = next(finding for finding in report["findings"] if finding["severity"] == "problem")
    assert problem["kind"] == "unreadable images"
    assert str(image) in problem["examples"][0] or image.name in problem["examples"][0]
    text = out.with_suffix(".txt").read_text()
    assert "unreadable images" in text
    assert "1 problem" in text
    assert "unreadable images" in capsys.readouterr().out
    assert [path.name for path in sorted(out.parent.iterdir())] == ["mine.json", "mine.txt"]


def test_worker_processes_find_the_same(root: Path, tmp_path: Path) -> None:
    image = next(root.glob("train/*/rgb/0001.jpg"))
    image.write_bytes(b"")
    reports = []
    for workers in ("0", "2"):
        out = tmp_path / f"{workers}.json"
        with pytest.raises(SystemExit):
            verify_data([str(root), "--full", "--workers", workers, "--out", str(out)])
        reports.append(json.loads(out.read_text()))
        reports[-1].pop("seconds")
    assert reports[0] == reports[1]


def test_wrong_input_is_refused_before_anything_is_read(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be named NAME\.json"):
        verify_data([str(root), "--out", str(tmp_path / "report.txt")])
    with pytest.raises(FileNotFoundError, match="expected the folder of a dataset"):
        verify_data([str(tmp_path / "none")])
    with pytest.raises(InputError, match="no dataset that is known"):
        verify_data([str(tmp_path)])


def test_the_verdict_says_which_commands_lack_something(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("evaluation_xyz.json", "evaluation_verts.json"):
        (root / name).unlink()
    verify_data([str(root), "--workers", "0"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "no problems; predict: nothing is missing" in printed
    assert "fit will not run: there is one capture alone" in printed
    assert "test will not run: evaluation_xyz.json and evaluation_verts.json missing" in printed

    # a second capture to validate on, and the training part alone
    sequence = next((root / "train").iterdir())
    shutil.copytree(sequence, sequence.with_name("OTHER20"))
    lines = (root / "train.txt").read_text()
    (root / "train.txt").write_text(lines + lines.replace(sequence.name, "OTHER20"))
    (root / "evaluation.txt").unlink()
    shutil.rmtree(root / "evaluation")
    verify_data([str(root), "--workers", "0"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "no problems; fit, validate: nothing is missing" in printed
    assert "predict will not run: evaluation.txt names no frames" in printed
    module = HO3D(str(root))
    module.trainer = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.FITTING))  # type: ignore[assignment]
    module.prepare_data()
    assert len(module.table("train")) == 4
