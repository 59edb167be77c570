"""FreiHAND's reader on small trees: conventions, versions, splits, submissions, and clear messages."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from handlit.callbacks.output.submission import SubmissionCallback
from handlit.data.freihand import FreiHAND, held_out
from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.scoring.official.result_card import read_card
from handlit.scoring.official.submission import read_submission
from handlit.skeleton import JOINTS, TIP_VERTICES, TIPS
from handlit.types import HandBatch
from tests.data.freihand_tree import write_tree

TRAIN, EVALUATION = 12, 3


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("freihand"), TRAIN, EVALUATION)


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns(".handlit")))


def module(root: Path, **options: Any) -> FreiHAND:
    return FreiHAND(str(root), **{"num_workers": 0, "batch_size": 64, "val_fraction": 0, **options})


def first_batch(data: FreiHAND, stage: str = "fit") -> HandBatch:
    data.setup(stage)
    loader = {"fit": data.train_dataloader, "test": data.test_dataloader, "predict": data.predict_dataloader}[stage]()
    return data.on_after_batch_transfer(next(iter(loader)), 0)


@pytest.mark.parametrize(("crop", "size"), [("whole", 224), ("plain", 128)])
def test_labels_agree_with_each_other(tree: Path, crop: str, size: int) -> None:
    """Vertices from pose and shape are the published ones; joints, pixels and masks belong to them."""
    batch = first_batch(module(tree, crop=crop, image_size=size, masks=True))
    assert len(batch) == 4 * TRAIN
    for name in ("joints_cam", "vertices_cam", "pose", "betas", "root_cam", "hand_mask"):
        assert batch.valid[name].all()
    assert not batch.valid["object_mask"].any()
    samples = [int(key) % TRAIN for key in batch.key]
    vertices = torch.tensor(json.loads((tree / "training_verts.json").read_text()))[samples]
    torch.testing.assert_close(batch.vertices_cam, vertices, atol=2e-6, rtol=0)
    for finger, vertex in zip(TIPS, TIP_VERTICES["freihand"], strict=True):
        tips = batch.joints_cam[:, JOINTS.index(finger)]
        torch.testing.assert_close(batch.vertices_cam[:, vertex], tips, atol=2e-6, rtol=0)
    torch.testing.assert_close(project(batch.joints_cam, batch.intrinsics), batch.joints_2d, atol=1e-3, rtol=0)
    # the mask is the mesh's silhouette: inside it lie all vertices that are not at its rim
    pixels = project(batch.vertices_cam, batch.intrinsics).round().long()
    known = ((pixels >= 1) & (pixels < size - 1)).all(dim=-1)
    rows = torch.arange(len(batch))[:, None].expand(-1, 778)
    grown = torch.nn.functional.max_pool2d(batch.hand_mask[:, None].float(), 3, 1, 1)[:, 0].bool()
    u, v = pixels.clamp(0, size - 1).unbind(-1)
    assert grown[rows, v, u][known].float().mean() > 0.99
    assert batch.hand_mask.float().mean() < 0.3


def test_the_whole_image_is_the_crop(tree: Path) -> None:
    for stage in ("fit", "predict"):
        batch = first_batch(module(tree), stage)
        expected = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(len(batch), 2, 3)
        torch.testing.assert_close(batch.crop_transform, expected, atol=1e-6, rtol=0)
    # no other rule cuts an evaluation image
    for crop in ("plain", "amvur", "mhentropy"):
        corners = torch.tensor([[0.0, 0, 1], [223, 223, 1]])
        inside = first_batch(module(tree, crop=crop), "predict").crop_transform @ corners.T
        assert (inside > -1).all()
        assert (inside < 224).all()


def test_versions_share_their_sample(tree: Path) -> None:
    """File i + k N is version k of sample i; the tree paints each version's background in its own grey."""
    for number, version in enumerate(("gs", "hom", "sample", "auto")):
        batch = first_batch(module(tree, versions=[version]))
        assert {int(key) // TRAIN for key in batch.key} == {number}
        assert len(batch) == TRAIN
        corner = batch.image[:, :, 0, 0].float().mean()
        assert corner == pytest.approx(40 * number + 20, abs=4)
    data = module(tree, versions=["auto", "gs"], val_fraction=0.25)
    data.setup("fit")
    datasets: dict[str, Any] = data.datasets
    keys = {split: [int(datasets[split][i].key) for i in range(len(datasets[split]))] for split in ("train", "val")}
    assert sorted(keys["val"]) == [9, 10, 11, 45, 46, 47]
    assert not {key % TRAIN for key in keys["train"]} & {key % TRAIN for key in keys["val"]}


def test_validation_is_the_end_of_each_block() -> None:
    chosen = held_out(np.arange(32560), 32560, 0.05)
    assert np.flatnonzero(chosen)[[0, 49, 50]].tolist() == [950, 999, 1950]
    assert not held_out(np.arange(10), 10, 0).any()
    assert not held_out(np.arange(1), 1, 0.5).any()


def test_evaluation_is_in_submission_order_with_its_public_labels(tree: Path, copy: Path) -> None:
    batch = first_batch(module(tree), "test")
    assert batch.key == [f"{number:08d}" for number in range(EVALUATION)]
    for kind, values in (("xyz", batch.joints_cam), ("verts", batch.vertices_cam)):
        expected = torch.tensor(json.loads((tree / f"evaluation_{kind}.json").read_text()))
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)
    assert batch.valid["pose"].all()
    for kind in ("xyz", "verts", "mano"):
        (copy / f"evaluation_{kind}.json").unlink()
    data = module(copy)
    hidden = first_batch(data, "predict")
    assert not any(hidden.valid[name].any() for name in ("root_cam", "joints_cam", "pose", "vertices_cam"))
    bones = batch.joints_cam[:, 9] - batch.joints_cam[:, 10]
    torch.testing.assert_close(data.bone_lengths(torch.tensor([2, 0])), bones.norm(dim=-1)[[2, 0]])
    with pytest.raises(InputError, match=r"no evaluation_xyz\.json"):
        module(copy).setup("test")


class Oracle(pl.LightningModule):
    """Knows the true hands up to size: what it predicts is 0.8 of them."""

    def __init__(self, truth: HandBatch) -> None:
        super().__init__()
        self.truth = truth

    def predict_step(self, batch: HandBatch, batch_idx: int) -> SimpleNamespace:
        truth, rows = self.truth, batch.index
        wrist = truth.joints_cam[rows][:, :1]
        prediction = SimpleNamespace(
            joints_root=0.8 * (truth.joints_cam[rows] - wrist),
            vertices_root=0.8 * (truth.vertices_cam[rows] - wrist),
            joints_2d=truth.joints_2d[rows],
        )
        return SimpleNamespace(prediction=prediction)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("roots", ["given", "fitted"])
def test_a_submission_has_roots_either_way(tree: Path, copy: Path, tmp_path: Path, roots: str) -> None:
    truth = first_batch(module(tree), "test")
    if roots == "fitted":
        (copy / "evaluation_xyz.json").unlink()
    callback = SubmissionCallback()
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
    }
    trainer = pl.Trainer(default_root_dir=tmp_path, callbacks=[callback], enable_model_summary=False, **quiet)
    trainer.predict(Oracle(truth), datamodule=module(copy, batch_size=2), return_predictions=False)
    written = torch.from_numpy(read_submission(tmp_path / "pred.zip").joints).float()
    root = truth.joints_cam[:, :1]
    # a known bone gives the true size, and with it the true depth
    expected = truth.joints_cam if roots == "fitted" else root + 0.8 * (truth.joints_cam - root)
    torch.testing.assert_close(written, expected, atol=5e-5, rtol=0)
    source = read_card(tmp_path / "pred.zip").root_source
    assert source is not None
    assert source.startswith("fitted" if roots == "fitted" else "given")


def test_visibility_from_the_mesh(tree: Path) -> None:
    batch = first_batch(module(tree, versions=["hom", "auto"], visibility="mesh"))
    assert batch.valid["visible"].all()
    assert batch.valid["vertices_visible"].all()
    assert 0.2 < batch.vertices_visible.float().mean() < 0.8
    rows = {int(key): row for row, key in enumerate(batch.key)}
    for sample in range(TRAIN):
        one, other = rows[TRAIN + sample], rows[3 * TRAIN + sample]
        assert torch.equal(batch.vertices_visible[one], batch.vertices_visible[other])


def test_the_jsons_are_read_once_until_they_change(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(copy).setup("fit")
    monkeypatch.setattr("handlit.formats.freihand.read_json", None)
    module(copy).setup("fit")
    monkeypatch.undo()
    edit(copy / "training_K.json", lambda entries: entries[:-1])
    with pytest.raises(InputError, match=r"training_xyz\.json has 12 entries, expected 11"):
        module(copy).setup("fit")


def edit(path: Path, change: Callable[[list[Any]], object]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def put(value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda entries: [*entries[:5], value, *entries[6:]]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("training_xyz.json", lambda entries: entries[1:], "has 11 entries, expected 12"),
        ("training_mano.json", lambda entries: [*entries, entries[0]], "has 13 entries, expected 12"),
        ("training_xyz.json", put([[float("nan")] * 3] * 21), "entry 5 holds NaN"),
        ("training_xyz.json", put([[0, 0, -0.5]] * 21), "entry 5 has joints behind the camera"),
        ("training_K.json", put([[1, 2], [3, 4]]), r"entry 5 has shape \(2, 2\), expected \(3, 3\)"),
        ("training_K.json", put([[1, 0, 0], [0, 0, 0], [0, 0, 1]]), "entry 5 is no camera matrix"),
        ("training_mano.json", put([[0.0] * 60]), r"entry 5 has shape \(1, 60\)"),
        ("training_mano.json", put("x"), "entry 5 is no array"),
        ("training_xyz.json", lambda entries: {}, "must be a list"),
    ],
)
def test_bad_lists_are_explained(copy: Path, file: str, change: Callable[[list[Any]], object], message: str) -> None:
    edit(copy / file, change)
    with pytest.raises(InputError, match=message) as error:
        module(copy).setup("fit")
    assert str(copy / file) in str(error.value)


def test_damaged_trees_are_explained(copy: Path) -> None:
    text = (copy / "training_xyz.json").read_text()
    (copy / "training_xyz.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"training_xyz\.json is not valid JSON: .*cut short"):
        module(copy).setup("fit")
    (copy / "training_xyz.json").write_text(text)
    for number in range(TRAIN, 2 * TRAIN):
        (copy / "training" / "rgb" / f"{number:08d}.jpg").unlink()
    with pytest.raises(InputError, match=r"rgb lacks 12 images .*00000012\.jpg first; it has 36"):
        module(copy).setup("fit")
    module(copy, versions=["gs"]).setup("fit")
    (copy / "training" / "mask" / "00000003.jpg").unlink()
    with pytest.raises(InputError, match="mask lacks 1 images"):
        module(copy, versions=["gs"]).setup("fit")
    (copy / "evaluation" / "rgb" / "00000002.jpg").unlink()
    with pytest.raises(InputError, match=r"evaluation.rgb lacks 1 images of the 3 samples"):
        module(copy).setup("predict")
    (copy / "training_K.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"training_K\.json is missing"):
        module(copy).setup("fit")


def test_bad_settings_are_explained(tree: Path) -> None:
    for options, message in (
        ({"versions": []}, "versions must be some of gs, hom, sample, auto"),
        ({"versions": ["gs", "gs"]}, "each once"),
        ({"visibility": "depth"}, "visibility must be one of none, mesh"),
        ({"val_fraction": 1.0}, "val_fraction"),
    ):
        with pytest.raises(InputError, match=message):
            module(tree, **options)
