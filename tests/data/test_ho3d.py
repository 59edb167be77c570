"""HO-3D's reader on synthetic trees: conventions, splits, and clear messages about damaged ones."""

import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handlit.data.ho3d import HO3D
from handlit.data.synthesis import PRESETS, synthesise
from handlit.errors import InputError
from handlit.formats import ho3d as ho3d_format
from handlit.formats.ho3d import Version, read_frames, read_masks
from handlit.formats.ho3d_annotations import turned
from handlit.formats.ho3d_splits import captures, hold_out_captures, mhentropy_rows
from handlit.geometry.cameras import project
from handlit.geometry.crops import CropRule
from handlit.render import TorchRasterizer
from handlit.skeleton import JOINTS

SIZE = 64
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 0.0}


#: Every frame has an object in hand.
PRESET = replace(PRESETS["easy"], held_probability=1.0, frames_per_sequence=6)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ho3d") / "tree"
    synthesise(root, train=24, evaluation=4, seed=3, preset=PRESET, workers=0, progress=False)
    return root


@pytest.fixture(scope="session")
def tree_v2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ho3d") / "tree_v2"
    synthesise(root, "ho3d_v2", train=6, evaluation=2, seed=3, preset=PRESET, workers=0, progress=False)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "tree"))


def module(root: Path, **options: Any) -> HO3D:
    return HO3D(str(root), image_size=SIZE, crop="plain", batch_size=4, num_workers=0, val_fraction=0, **options)


def train_metas(root: Path) -> list[Path]:
    return sorted(root.glob("train/*/meta/*.pkl"))


def edit(path: Path, **fields: Any) -> None:
    meta = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({**meta, **fields}, protocol=2))


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_labels_agree_with_each_other(version: Version, request: pytest.FixtureRequest) -> None:
    """Vertices from pose and shape, joints, projections and masks are one hand, in OpenCV axes and handlit's order."""
    data = module(request.getfixturevalue("tree" if version == "v3" else "tree_v2"), version=version, masks=True)
    data.setup("fit")
    assert data.protocol == f"ho3d_{version}"
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    labels = ("joints_cam", "vertices_cam", "pose", "betas", "root_cam", "hand_mask", "object_mask")
    assert all(batch.valid[name].all() for name in labels)
    assert (batch.joints_cam[..., 2] > 0.2).all()
    torch.testing.assert_close(batch.root_cam, batch.joints_cam[:, 0])
    torch.testing.assert_close(project(batch.joints_cam, batch.intrinsics), batch.joints_2d, atol=1e-3, rtol=1e-4)
    # all 21 joints of the hand model's mesh: the strictest check of order, axes, pose and translation at once
    mesh = data.hand(batch.pose[:, 3:], batch.betas, batch.pose[:, :3])
    torch.testing.assert_close(mesh.joints - mesh.joints[:, :1] + batch.root_cam[:, None], batch.joints_cam, **CLOSE)
    for finger, vertex in zip(("thumb", "index", "middle", "ring", "pinky"), (744, 333, 444, 555, 672), strict=True):
        tips = batch.joints_cam[:, JOINTS.index(f"{finger}_4")]
        torch.testing.assert_close(batch.vertices_cam[:, vertex], tips, **CLOSE)
    # the masks show these very meshes: what is drawn as hand is under the mesh, and the mesh is drawn or hidden
    fragments = TorchRasterizer()(batch.vertices_cam, data.hand.faces, batch.intrinsics, (SIZE, SIZE))
    mesh_pixels, drawn = fragments.mask, batch.hand_mask
    assert (drawn & ~mesh_pixels).sum() < 0.03 * drawn.sum()
    assert (mesh_pixels & ~drawn & ~batch.object_mask).sum() < 0.03 * drawn.sum()


def test_annotations_equal_the_files(tree: Path) -> None:
    """Each label against the plain pickle, by matrices instead of quaternions."""
    frames = read_frames(tree, "train", "v3")
    flip = np.diag([1.0, -1.0, -1.0])
    for row, name in enumerate(frames.keys.tolist()):
        sequence, frame = name.split("/")
        meta = pickle.loads((tree / "train" / sequence / "meta" / f"{frame}.pkl").read_bytes(), encoding="latin1")
        np.testing.assert_allclose(frames.joints_cam[row][0], meta["handJoints3D"][0] @ flip, rtol=1e-6)
        np.testing.assert_array_equal(frames.intrinsics[row], meta["camMat"])
        np.testing.assert_array_equal(frames.pose[row, 3:], meta["handPose"][3:])
        np.testing.assert_array_equal(frames.betas[row], meta["handBeta"])
        for found, rotation in (
            (frames.pose[row, :3], meta["handPose"][:3]),
            (frames.object_pose[row], meta["objRot"]),
        ):
            expected = flip @ Rotation.from_rotvec(np.ravel(rotation)).as_matrix()
            np.testing.assert_allclose(Rotation.from_rotvec(found[:3]).as_matrix(), expected, atol=1e-6)
        # the object's pose moves its corners to where they are
        turn = Rotation.from_rotvec(frames.object_pose[row, :3]).as_matrix()
        corners = meta["objCorners3DRest"] @ turn.T + frames.object_pose[row, 3:]
        np.testing.assert_allclose(corners, meta["objCorners3D"] @ flip, atol=1e-6)
        # its box is that of all vertices of the model
        model = tree / "models" / meta["objName"] / "textured_simple.obj"
        vertices = [line.split()[1:] for line in model.read_text().splitlines() if line.startswith("v ")]
        pixels = (np.array(vertices, dtype=float) @ turn.T + frames.object_pose[row, 3:]) @ meta["camMat"].T
        pixels = pixels[:, :2] / pixels[:, 2:]
        np.testing.assert_allclose(frames.object_boxes[row], [*pixels.min(0), *pixels.max(0)], atol=1e-2)
        assert frames.object_names[row] == meta["objName"]
        for files, kind in ((frames.images, "rgb"), (frames.depths, "depth"), (frames.masks, "seg")):
            assert (tree / str(files[row])).is_file()
            assert f"/{kind}/{frame}." in str(files[row])


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-9, math.pi, 4.0])
def test_turned_rotations(angle: float) -> None:
    axes = Rotation.random(20, random_state=1).as_matrix()[:, 0]
    rotations = np.concatenate([axes, np.eye(3), -np.eye(3)]) * angle
    expected = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_rotvec(rotations).as_matrix()
    np.testing.assert_allclose(Rotation.from_rotvec(turned(rotations)).as_matrix(), expected, atol=1e-8)


def test_processes_read_the_same_table(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = read_frames(tree, "train", "v3").columns()
    monkeypatch.setattr(ho3d_format, "CHUNK", 10)
    there = read_frames(tree, "train", "v3", workers=1).columns()
    assert here.keys() == there.keys()
    for name, values in here.items():
        np.testing.assert_array_equal(there[name], values, err_msg=name)


def test_object_boxes_are_of_the_corners_where_models_are_missing(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    def boxes(crop: CropRule) -> np.ndarray:
        caplog.clear()
        data = HO3D(str(copy), image_size=SIZE, crop=crop, num_workers=0, val_fraction=0)
        boxes = data.table("train").object_boxes
        assert boxes is not None
        return np.array(boxes)

    of_models = boxes("mhentropy")
    assert "models" not in caplog.text
    names = {pickle.loads(path.read_bytes(), encoding="latin1")["objName"] for path in train_metas(copy)}
    damaged, *others = sorted(names)
    (copy / "models" / damaged / "textured_simple.obj").write_text("no mesh")
    for name in others:
        shutil.rmtree(copy / "models" / name)
    # the index is built anew when a model comes, goes or changes
    of_corners = boxes("mhentropy")
    assert f"the models of {len(others)} objects are missing, models/{others[0]}/" in caplog.text
    assert f"{damaged}/textured_simple.obj is not a mesh" in caplog.text
    assert (of_corners[:, :2] < of_models[:, :2] + 1e-3).all()
    assert (of_corners[:, 2:] > of_models[:, 2:] - 1e-3).all()
    assert np.abs(of_corners - of_models).max() > 1
    meta = pickle.loads(train_metas(copy)[0].read_bytes(), encoding="latin1")
    pixels = meta["objCorners3D"] * (1, -1, -1) @ meta["camMat"].T
    pixels = pixels[:, :2] / pixels[:, 2:]
    np.testing.assert_allclose(of_corners[0], [*pixels.min(0), *pixels.max(0)], atol=1e-2)
    # other crops have no need of them
    boxes("amvur")
    assert "models" not in caplog.text


def test_frames_without_an_object_have_no_labels_of_it(copy: Path) -> None:
    edit(train_metas(copy)[2], objRot=None, objTrans=None, objCorners3D=None)
    frames = read_frames(copy, "train", "v3")
    assert np.isnan(frames.object_boxes).all(axis=1).nonzero()[0].tolist() == [2]
    assert np.isnan(frames.object_pose).all(axis=1).nonzero()[0].tolist() == [2]
    assert frames.object_names[2] == ""
    data = module(copy)
    data.setup("fit")
    assert data.datasets["train"][2].joints_cam is not None


@pytest.mark.parametrize(("suffix", "size"), [(".png", (160, 120)), (".jpg", (640, 480))])
def test_segmentation_from_a_folder_of_its_own(copy: Path, tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    """It ships apart, as png of a quarter of the size or as jpg of the full size."""
    apart = tmp_path / "apart"
    whole = read_frames(copy, "train", "v3")
    for path in sorted(copy.glob("train/*/seg/*.png")):
        image = cv2.resize(cv2.imread(str(path)), size, interpolation=cv2.INTER_NEAREST)
        (apart / path.parent.relative_to(copy)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(apart / path.relative_to(copy).with_suffix(suffix)), image)
    expected = [read_masks(copy / str(name)) for name in whole.masks]
    shutil.move(copy / "train" / "SYN10" / "seg", tmp_path / "elsewhere")
    assert (read_frames(copy, "train", "v3").masks == "").sum() == 6
    frames = read_frames(copy, "train", "v3", apart)
    for name, masks in zip(frames.masks, expected, strict=True):
        for found, mask in zip(read_masks(copy / str(name)), masks, strict=True):
            assert found.shape == size[::-1]
            step = 640 // size[0]
            assert (found != mask[::step, ::step]).sum() <= 0.1 * mask[::step, ::step].sum()
    data = HO3D(str(copy), image_size=64, crop="plain", num_workers=0, val_fraction=0, seg_root=str(apart), masks=True)
    data.setup("fit")
    assert all(data.datasets["train"][index].hand_mask.any() for index in (0, 12))


def test_mhentropy_splits() -> None:
    sequences = ["ABF10", "ABF14", "MC5", "MC1", "SB10", "SB14", "ShSu13", "ShSu12", "SMu41", "SMu1", "GPMF10"]
    keys = np.array([f"{name}/{frame:04d}" for name in sequences for frame in range(3)])
    views = {"ABF10", "SB10", "ShSu12"}
    evaluated = {"ABF14", "MC5", "SB14", "ShSu13"}
    for leak_free in (False, True):
        training, evaluation = mhentropy_rows(keys, leak_free)
        assert {key.split("/")[0] for key in keys[evaluation]} == evaluated
        expected = set(sequences) - evaluated - (views if leak_free else set())
        assert {key.split("/")[0] for key in keys[training]} == expected
        assert len(training) == 3 * len(expected)
        assert len(evaluation) == 12


def test_captures() -> None:
    names = ["ABF14/1", "ABF10/1", "MC5/1", "SMu1/2", "SMu41/1", "SMu42/1", "SYN110/1", "X/1"]
    assert captures(np.array(names)).tolist() == ["ABF1", "ABF1", "MC5", "SMu1", "SMu4", "SMu4", "SYN11", "X"]


def test_mhentropy_data_module(copy: Path) -> None:
    """Test and prediction are the four sequences, with all their labels; there is no official submission of them."""
    names = (copy / "train.txt").read_text().split()
    renamed = dict(zip(("SYN10", "SYN20", "SYN30", "SYN40"), ("ABF14", "MC5", "SB14", "ShSu13"), strict=True))
    for old, new in renamed.items():
        (copy / "train" / old).rename(copy / "train" / new)
        shutil.copytree(copy / "train" / new, copy / "train" / {"ABF14": "ABF13", "MC5": "MC4"}.get(new, new + "9"))
    names = [
        f"{sequence}/{name.split('/')[1]}" for name in names[:6] for sequence in (*renamed.values(), "ABF13", "MC4")
    ]
    (copy / "train.txt").write_text("\n".join(names))
    for split, sequences in (("mhentropy", {"ABF13", "MC4"}), ("mhentropy_leak_free", {"MC4"})):
        data = module(copy, split=split)
        data.prepare_data()
        for stage in ("fit", "test", "predict"):
            data.setup(stage)
        assert data.protocol is None
        train: Any = data.datasets["train"]
        assert {str(train.frames.keys[row]).split("/")[0] for row in train.rows} == sequences
        batches = list(data.test_dataloader())
        assert sorted(key for batch in batches for key in batch.key) == sorted(
            name for name in names if name.split("/")[0] in renamed.values()
        )
        assert all(batch.valid["joints_cam"].all() and batch.valid["pose"].all() for batch in batches)
        predicted: Any = data.datasets["predict"]
        assert len(predicted) == 24


@pytest.mark.parametrize("split", ["test", "predict"])
def test_each_process_needs_an_image(tree: Path, split: str) -> None:
    data = module(tree)
    data.setup(split)
    data.trainer = SimpleNamespace(world_size=4)  # type: ignore[assignment]
    assert len(getattr(data, f"{split}_dataloader")()) == 1
    data.trainer = SimpleNamespace(world_size=5)  # type: ignore[assignment]
    with pytest.raises(InputError, match=rf"the {split} split has fewer images \(4\) than there are processes \(5\)"):
        getattr(data, f"{split}_dataloader")()


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


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="synth --layout"):
        read_frames(tmp_path / "nowhere", "train", "v3")


def test_test_split_without_ground_truth_says_so(copy: Path) -> None:
    (copy / "evaluation_xyz.json").unlink()
    with pytest.raises(InputError, match=r"evaluation_xyz\.json"):
        module(copy).setup("test")


def test_whole_sequences_are_held_out() -> None:
    keys = np.array([f"S{sequence}/{frame}" for sequence in range(10) for frame in range(3)])
    held = hold_out_captures(keys, 0.2)
    assert held.reshape(10, 3).all(axis=1).sum() == 2
    assert held.sum() == 6
    assert not hold_out_captures(keys, 0).any()
    assert not hold_out_captures(keys[:3], 0.5).any()


@pytest.mark.parametrize("visibility", ["depth", "mesh"])
def test_the_test_split_knows_what_is_seen(tmp_path: Path, visibility: Any) -> None:
    """The evaluation list's own labels do not tell; its public ground truth does."""
    synthesise(tmp_path, "ho3d_v3", train=4, evaluation=4, seed=3, workers=0, progress=False)
    module = HO3D(str(tmp_path), visibility=visibility, num_workers=0, batch_size=4)
    module.setup("test")
    batch = module.on_after_batch_transfer(next(iter(module.test_dataloader())), 0)
    assert batch.valid["visible"].all()
    assert batch.valid["vertices_visible"].all() == (visibility == "mesh")
    assert 0.2 < batch.visible.float().mean() < 1
    module.setup("predict")
    assert not next(iter(module.predict_dataloader())).valid["visible"].any()
