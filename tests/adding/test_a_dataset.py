"""A dataset is added by two files outside the package, and every command works on it (docs/tutorials/adding.md)."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit.cli import main
from handlit.data.packed import PackedData
from handlit.formats import registry
from handlit.hand.articulation import sample_poses
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from tests.adding.brick_data import Bricks
from tests.adding.brick_format import BRICKS, IMAGE_SIZE, read_split, read_truth

CONFIG = Path(__file__).parents[2] / "configs" / "experiment" / "quickstart_mean_hand.yaml"
FORMAT = "tests.adding.brick_format"


def write_bricks(root: Path) -> Path:
    """A whole dataset with the stand-in hand in natural poses; of the images only the size matters."""
    rng = np.random.default_rng(0)
    hand = HandLayer(load_hand(), tips=BRICKS.tips)
    camera = np.array([[150.0, 0, 47.5], [0, 150, 31.5], [0, 0, 1]])
    for seed, (split, count) in enumerate(BRICKS.released.items()):
        poses = torch.from_numpy(sample_poses(count, seed=seed)).float()
        mesh = hand(poses, global_orient=torch.tensor([0.0, 0.0, 1.5]))
        wrist = mesh.joints[:, :1].double().numpy()
        place = np.array([0.0, 0.0, 0.6]) + rng.uniform(-0.03, 0.03, (count, 1, 3)) - wrist
        vertices, joints = (points.double().numpy() + place for points in (mesh.vertices, mesh.joints))
        uv = (joints @ camera.T)[..., :2] / joints[..., 2:]
        names = np.array([f"{split}{number}" for number in range(count)])
        (root / split).mkdir(parents=True)
        for name in names:
            image = rng.integers(0, 255, (*IMAGE_SIZE[::-1], 3), dtype=np.uint8)
            cv2.imwrite(str(root / split / f"{name}.webp"), image)
        official = {"joints": BRICKS.joints_to_official(joints), "vertices": BRICKS.points_to_official(vertices)}
        labels = {
            "names": names,
            "cameras": np.tile(camera, (count, 1, 1)),
            "boxes": np.concatenate([uv.min(axis=1), uv.max(axis=1)], axis=1),
            "root": BRICKS.points_to_official(joints[:, 0]),
        }
        if split == "exam":
            np.savez(root / "exam.truth.npz", **official)  # type: ignore[arg-type]  # its own flag is typed too
        arrays: dict[str, Any] = {**labels, **(official if split != "exam" else {})}
        np.savez(root / f"{split}.npz", **arrays)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bricks(tmp_path_factory.mktemp("bricks") / "data")


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "mean_hand"
    settings = {"root": root, "image_size": 32, "batch_size": 2, "num_workers": 0}
    options = [f"--data.init_args.{name}={value}" for name, value in settings.items()]
    quiet = ["--trainer.enable_progress_bar=false", f"--run_dir={run}"]
    main(["fit", "--config", str(CONFIG), "--data", "tests.adding.brick_data.Bricks", *options, *quiet])
    return run


def test_fit_test_predict_and_score(run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(run / "config.yaml")
    main(["--import", FORMAT, "test", "--config", config])
    main(["--import", FORMAT, "predict", "--config", config])
    assert "submission for bricks" in capsys.readouterr().out
    main(["--import", FORMAT, "score", str(run / "pred.zip"), str(root), "--out", str(tmp_path)])
    assert "Bricks, 3 images" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["protocol"] == "bricks"
    official = scores["predictions"][0]["official"]
    assert list(official) == list(BRICKS.keys)
    # the submission went through both conversions: axes and joint order are its own, and the hands are near the truth
    assert 0 < official["kp_mean3d"] < 5
    measured = json.loads((run / "test.json").read_text())
    assert scores["predictions"][0]["papers"]["mpjpe_mm"] == pytest.approx(measured["test/mpjpe_mm"], abs=0.01)
    # image and camera of the exam are in the report
    assert (tmp_path / "report.html").read_text().count("data:image/jpeg") >= 3
    main(["score", str(run / "pred.zip"), str(root), "--protocol", "bricks", "--lint"])
    assert "error" not in capsys.readouterr().out.replace("0 errors", "")


def test_verify_data(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--import", FORMAT, "verify-data", str(root), "--workers", "0"])
    printed = capsys.readouterr().out
    assert "Bricks" in printed
    assert "no problems" in printed
    copy = write_bricks(tmp_path / "copy")
    (copy / "check.npz").write_bytes(b"cut")
    (copy / "learn" / "learn1.webp").unlink()
    with pytest.raises(SystemExit) as error:
        main(["--import", FORMAT, "verify-data", str(copy), "--workers", "0"])
    assert error.value.code == 1
    printed = capsys.readouterr().out
    assert "unpack Bricks again" in printed.replace("\n", " ")
    # the console breaks long paths
    assert "learn1.webp" in "".join(printed.split())


def test_pack(root: Path, tmp_path: Path) -> None:
    settings = ["--data.image_size=32", "--data.num_workers=0"]
    main(["--import", FORMAT, "pack", str(root), "--out", str(tmp_path / "pack"), "--workers", "0", *settings])
    packed = PackedData(str(tmp_path / "pack"), image_size=32, num_workers=0)
    original = Bricks(str(root), image_size=32, num_workers=0)
    for stage, split, count in (("fit", "train", 8), ("fit", "val", 4), ("test", "test", 3), ("predict", "predict", 3)):
        packed.setup(stage)
        original.setup(stage)
        assert len(packed.datasets[split]) == len(original.datasets[split]) == count  # type: ignore[arg-type]
    assert (packed.protocol, packed.tips) == (BRICKS.name, BRICKS.tips)


def test_without_a_reader_it_is_not_inspected_as_another_dataset(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.FORMATS, BRICKS.name, replace(BRICKS, read=None))
    with pytest.raises(SystemExit) as error:
        main(["verify-data", str(root), "--workers", "0"])
    assert error.value.code == 2
    assert "give its record `read` and `splits`" in capsys.readouterr().err


def test_a_pack_is_not_packed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pack.json").write_text("{}")
    with pytest.raises(SystemExit) as error:
        main(["pack", str(tmp_path), "--out", str(tmp_path / "again")])
    assert error.value.code == 2
    assert "is packed already" in capsys.readouterr().err


def test_its_facts_are_its_own(root: Path) -> None:
    assert registry.recognise(root) is BRICKS
    joints, vertices, names = read_truth(root)
    assert names == ["exam0", "exam1", "exam2"]
    assert (joints[..., 2] < 0).all()
    assert (vertices[..., 2] < 0).all()
    assert (read_split(root, "learn").root_cam[:, 2] > 0).all()


def test_commands_know_it_by_its_import_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(registry.FORMATS, "bricks")
    monkeypatch.delitem(sys.modules, FORMAT)
    with pytest.raises(SystemExit):
        main(["verify-data", str(root), "--workers", "0"])
    assert "no dataset that is known" in capsys.readouterr().err
    main(["--import", FORMAT, "verify-data", str(root), "--workers", "0"])
    assert "no problems" in capsys.readouterr().out
