"""HO-3D's reader on synthetic trees: conventions, splits, and clear messages about damaged ones."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from handlit.data.ho3d import HO3D, hold_out_sequences, read_frames
from handlit.data.synthesis import synthesise
from handlit.geometry.cameras import project
from handlit.skeleton import JOINTS
from handlit.types import InputError


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ho3d") / "tree"
    synthesise(root, train=24, evaluation=4, seed=3, preset="easy", workers=0, progress=False)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "tree"))


def module(root: Path, **options) -> HO3D:
    return HO3D(str(root), image_size=64, crop="plain", batch_size=4, num_workers=0, val_fraction=0, **options)


def train_metas(root: Path) -> list[Path]:
    return sorted(root.glob("train/*/meta/*.pkl"))


def edit(path: Path, **fields) -> None:
    meta = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({**meta, **fields}, protocol=2))


def test_labels_agree_with_each_other(tree: Path) -> None:
    """Vertices from pose and shape, joints, and projections are one hand, in OpenCV axes and handlit's order."""
    data = module(tree)
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert all(batch.valid[name].all() for name in ("joints_cam", "vertices_cam", "pose", "betas", "root_cam"))
    assert (batch.joints_cam[..., 2] > 0.2).all()
    torch.testing.assert_close(batch.root_cam, batch.joints_cam[:, 0])
    torch.testing.assert_close(project(batch.joints_cam, batch.intrinsics), batch.joints_2d, atol=1e-3, rtol=1e-4)
    # tip joints are vertices of the mesh: the strictest check of order, axes, pose and translation at once
    for finger, vertex in zip(("thumb", "index", "middle", "ring", "pinky"), (744, 333, 444, 555, 672), strict=True):
        tips = batch.joints_cam[:, JOINTS.index(f"{finger}_4")]
        torch.testing.assert_close(batch.vertices_cam[:, vertex], tips, atol=1e-5, rtol=0)


def test_evaluation_split_is_in_submission_order_with_its_public_labels(tree: Path) -> None:
    data = module(tree)
    data.setup("predict")
    data.setup("test")
    names = (tree / "evaluation.txt").read_text().split()
    predict = next(iter(data.predict_dataloader()))
    assert predict.key == names
    assert predict.valid["root_cam"].all()
    assert not predict.valid["joints_cam"].any()
    test = next(iter(data.test_dataloader()))
    assert test.valid["vertices_cam"].all()
    torch.testing.assert_close(test.joints_cam[:, 0], predict.root_cam, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        test.vertices_cam[:, 444], test.joints_cam[:, JOINTS.index("middle_4")], atol=1e-6, rtol=0
    )


def test_frames_without_annotation_are_skipped_and_counted(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit(train_metas(copy)[5], handPose=None, handJoints3D=None)
    frames = read_frames(copy, "train", "v3")
    assert len(frames) == 23
    assert "1 of 24 frames" in caplog.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"handPose": np.full(48, np.nan)}, "'handPose' holds NaN"),
        ({"handBeta": np.zeros(9)}, r"'handBeta' has shape \(9,\)"),
        ({"camMat": None}, "has no 'camMat'"),
    ],
)
def test_bad_annotations_are_named(copy: Path, fields: dict, message: str) -> None:
    path = train_metas(copy)[3]
    edit(path, **fields)
    with pytest.raises(InputError, match=message) as error:
        read_frames(copy, "train", "v3")
    assert str(path) in str(error.value)


def test_a_pickle_that_runs_code_runs_nothing(copy: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    train_metas(copy)[0].write_bytes(pickle.dumps({"handPose": Attack()}, protocol=2))
    with pytest.raises(InputError, match="was not loaded"):
        read_frames(copy, "train", "v3")
    assert not (tmp_path / "ran").exists()


def test_missing_and_empty_files_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="synth --layout"):
        read_frames(tmp_path / "nowhere", "train", "v3")
    train_metas(copy)[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"annotation .* is missing"):
        read_frames(copy, "train", "v3")
    (copy / "train.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_frames(copy, "train", "v3")


def test_test_split_without_ground_truth_says_so(copy: Path) -> None:
    (copy / "evaluation_xyz.json").unlink()
    with pytest.raises(InputError, match=r"evaluation_xyz\.json"):
        module(copy).setup("test")


def test_whole_sequences_are_held_out() -> None:
    keys = np.array([f"S{sequence}/{frame}" for sequence in range(10) for frame in range(3)])
    held = hold_out_sequences(keys, 0.2)
    assert held.reshape(10, 3).all(axis=1).sum() == 2
    assert held.sum() == 6
    assert not hold_out_sequences(keys, 0).any()
    assert not hold_out_sequences(keys[:3], 0.5).any()
