"""Exported hypotheses: what is drawn is what is written, for every method, for left hands, and in place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import trimesh

from handlit.callbacks.output.hand_of_hypotheses import SIDE, HandOfHypotheses
from handlit.callbacks.output.hypothesis_export import HypothesisExport
from handlit.errors import InputError
from handlit.files import file_stem
from handlit.geometry import crops
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.deterministic import Deterministic
from handlit.methods.mean_hand import MeanHand
from handlit.methods.method import HandMethod
from handlit.render import overlays as drawing
from handlit.skeleton import BONES
from handlit.types import HandBatch, HandPrediction, HandSample, Hypotheses
from tests.callbacks.output.test_pictures import INTRINSICS, batch_and_prediction
from tests.methods.hands import SIZE, hand_samples, loader
from tests.methods.test_amvur import method as amvur
from tests.methods.test_amvur import network
from tests.methods.test_mhentropy import method as mhentropy

FILES = {"crop.png", "hypotheses.npz", "mean.ply", "mean_scale.png", "skeletons.png", "skeletons_side.png"}
#: Folders of the first hands.
FIRST, SECOND, THIRD = (file_stem(f"hand/{number:04d}") for number in range(3))


def mean_hand() -> MeanHand:
    module = MeanHand(image_size=SIZE)
    module.vertex_count.fill_(1)
    module.vertex_mean.copy_(hand_samples(1)[0].vertices_cam - hand_samples(1)[0].root_cam)
    module.vertex_squares.fill_(1e-4)
    return module


METHODS: dict[str, Callable[[], HandMethod[Any]]] = {
    "amvur": amvur,
    "mhentropy": mhentropy,
    "deterministic": lambda: Deterministic(network, image_size=SIZE),
    "mean_hand": mean_hand,
}


def export(
    module: HandMethod[Any], samples: list[HandSample], folder: Path, batch_size: int = 2, **options: Any
) -> HypothesisExport:
    callback = HypothesisExport(**{"num_hypotheses": 6, "num_meshes": 2, "mesh_format": "ply", **options})
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", devices=1, default_root_dir=folder, callbacks=[callback], **quiet)
    trainer.predict(module, loader(samples, batch_size), return_predictions=False)
    return callback


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_exported_unchanged(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # an untrained network's hand may fill the picture many times over: a small one is quick
    monkeypatch.setattr("handlit.callbacks.output.hand_of_hypotheses.SIDE", 64)
    export(METHODS[name](), hand_samples(3), tmp_path, count=1, keys=["hand/0002"])
    folder = tmp_path / "hypotheses"
    assert {path.name for path in folder.iterdir()} == {"hypotheses.png", FIRST, THIRD}
    meshes = {"hypothesis_0.ply", "hypothesis_1.ply"}
    assert {path.name for path in (folder / FIRST).iterdir()} == FILES | meshes
    # a row of crop, skeletons, side, mean and two meshes for each hand
    assert cv2.imread(str(folder / "hypotheses.png")).shape == (28 + 2 * 228, 6 * 228, 3)
    numbers = np.load(folder / THIRD / "hypotheses.npz", allow_pickle=False)
    assert str(numbers["key"]) == "hand/0002"
    assert (int(numbers["index"]), float(numbers["temperature"])) == (2, 1.0)
    shapes = {"vertices_cam": (6, 778, 3), "joints_cam": (6, 21, 3), "joints_2d": (6, 21, 2), "root_cam": (6, 3)}
    shapes |= {"joints_2d_crop": (6, 21, 2), "log_prob": (6,), "camera": (3,), "crop_transform": (2, 3)}
    shapes |= {"visible": (21,), "vertex_scale": (778, 3), "point_joints_cam": (21, 3), "faces": (1538, 3)}
    if name == "mhentropy":
        shapes |= {"pose": (6, 48), "betas": (6, 10)}
    for key, shape in shapes.items():
        assert numbers[key].shape == shape, key
        assert np.isfinite(numbers[key]).all(), key
    assert ("pose" in numbers.files) == (name == "mhentropy")
    for key in numbers.files:
        if key not in ("key", "index", "hand", "conventions", "intrinsics", "faces"):
            assert key.removeprefix("point_") in str(numbers["conventions"]).replace("*_scale", "vertex_scale"), key
    assert numbers["joints_cam"].std(0)[1:].min() > 0
    for number in range(2):
        mesh: Any = trimesh.load(folder / THIRD / f"hypothesis_{number}.ply", process=False)
        np.testing.assert_allclose(mesh.vertices * (1, -1, -1), numbers["vertices_cam"][number], atol=1e-5)
    mean: Any = trimesh.load(folder / THIRD / "mean.ply", process=False)
    colours = drawing.scale_colours(torch.from_numpy(numbers["vertex_scale"]))
    np.testing.assert_allclose(mean.visual.vertex_colors[:, :3] / 255, colours, atol=0.003)


def test_the_numbers_are_the_hypotheses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MHEntropy's parameters, put through the hand layer, give the written meshes again."""
    monkeypatch.setattr("handlit.callbacks.output.hand_of_hypotheses.SIDE", 64)
    module = mhentropy(stochastic="all")
    export(module, hand_samples(2), tmp_path, indices=[1], temperature=0.5, num_hypotheses=4)
    numbers = np.load(tmp_path / "hypotheses" / SECOND / "hypotheses.npz")
    pose, betas, root = (torch.from_numpy(numbers[name]) for name in ("pose", "betas", "root_cam"))
    mesh = HandLayer(load_hand(None), tips="ho3d")(pose[:, 3:], betas, pose[:, :3])
    shift = root[:, None] - mesh.joints[:, :1]
    np.testing.assert_allclose(numbers["vertices_cam"], (mesh.vertices + shift).detach(), atol=1e-5)
    np.testing.assert_allclose(numbers["joints_cam"], (mesh.joints + shift).detach(), atol=1e-5)
    assert float(numbers["temperature"]) == 0.5


ROOT = torch.tensor([0.0, 0.02, 0.7])


def growing(prediction: HandPrediction, batch: HandBatch, count: int) -> Hypotheses:
    """Hands with one wrist in the crop's camera, each larger than the one before."""
    grow = 1 + 0.1 * torch.arange(count).view(1, count, 1, 1)
    joints = prediction.joints_root[:, None] * grow
    image_points = project(joints + ROOT, batch.intrinsics[:, None])
    return Hypotheses(joints, image_points, prediction.vertices_root[:, None] * grow)


@pytest.mark.parametrize("left", [False, True])
def test_hands_lie_where_they_are_in_the_source_picture(left: bool) -> None:
    batch, prediction, layer = batch_and_prediction(left)
    hand = HandOfHypotheses(prediction, growing(prediction, batch, 3), batch, 0, layer.faces, 1.0)
    numbers = hand.numbers()
    assert numbers["hand"] == ("left" if left else "right")
    np.testing.assert_allclose(numbers["intrinsics"], INTRINSICS, rtol=1e-5, atol=1e-3)
    in_crop = crops.apply(numbers["crop_transform"], numbers["joints_2d"].reshape(-1, 2)).reshape(3, 21, 2)
    np.testing.assert_allclose(in_crop, numbers["joints_2d_crop"], atol=0.05)
    for number in range(3):
        pixels = project(torch.from_numpy(numbers["joints_cam"][number]), torch.tensor(INTRINSICS).float())
        np.testing.assert_allclose(pixels, numbers["joints_2d"][number], atol=0.02)
    sign = -1 if left else 1
    np.testing.assert_allclose(numbers["root_cam"], np.tile(ROOT, (3, 1)) * (sign, 1, 1), atol=1e-3)
    assert np.isnan(numbers["log_prob"]).all()


def test_skeletons_are_blue_where_seen_and_green_where_hidden() -> None:
    batch, prediction, layer = batch_and_prediction(left=False)
    batch.valid["visible"] = torch.ones(1, dtype=torch.bool)
    batch.visible = torch.arange(21)[None] < 5  # wrist and thumb
    prediction = replace(
        prediction, joints_2d=torch.rand(1, 21, 2, generator=torch.Generator().manual_seed(1)) * 90 + 3
    )
    one = Hypotheses(prediction.joints_root[:, None], prediction.joints_2d[:, None], prediction.vertices_root[:, None])
    hand = HandOfHypotheses(prediction, one, batch, 0, layer.faces, 1.0)
    picture = hand.skeletons(0.03)
    grow = SIDE / batch.image.shape[-1]
    joints = (prediction.joints_2d[0] * grow + (grow - 1) / 2).numpy()
    colours = {"seen": np.array(drawing.SEEN), "hidden": np.array(drawing.HIDDEN)}
    right = 0
    for parent, child in BONES:
        # a point of the bone that may lie under another one
        x, y = (0.5 * (joints[parent] + joints[child])).round().astype(int)
        expected = colours["seen" if child < 5 else "hidden"]
        right += int(np.abs(picture[y - 1 : y + 2, x - 1 : x + 2].astype(int) - expected).sum(-1).min() < 90)
    assert right >= 18
    numbers = hand.numbers()
    assert numbers["visible"].tolist() == [1] * 5 + [0] * 16
    # not known: coloured by spread, which is none for one hypothesis
    batch.valid["visible"] = torch.zeros(1, dtype=torch.bool)
    unknown = HandOfHypotheses(prediction, one, batch, 0, layer.faces, 1.0)
    assert unknown.numbers()["visible"].tolist() == [-1] * 21
    dark = unknown.skeletons(0.03)
    assert dark[..., 1].max() < 60


def test_it_costs_nothing_when_nothing_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandOfHypotheses, "__init__", lambda *_: pytest.fail("a hand was looked at"))
    module = mhentropy()
    monkeypatch.setattr("handlit.distributions.posed_hands.PosedHands.hypotheses", lambda *_: pytest.fail("drawn"))
    export(module, hand_samples(2), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_hypothesis_at_temperature_zero_is_the_point_estimate(tmp_path: Path) -> None:
    export(mhentropy(), hand_samples(1), tmp_path, count=1, temperature=0.0, num_hypotheses=1, num_meshes=1)
    numbers = np.load(tmp_path / "hypotheses" / FIRST / "hypotheses.npz")
    np.testing.assert_allclose(numbers["joints_cam"][0], numbers["point_joints_cam"], atol=1e-6)
    assert np.isnan(numbers["log_prob"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": ["hand/0001", "nobody"]}, "no hand with the key nobody"),
        ({"indices": [2]}, "hand 2 was asked for; the dataset has hands 0 to 1"),
        ({"count": -1}, "count of HypothesisExport must be"),
        ({"num_hypotheses": 0}, "num_hypotheses of the hypothesis export must be"),
        ({"num_meshes": 7}, "num_meshes must be"),
        ({"scale_range_mm": 0}, "scale_range_mm must be"),
    ],
)
def test_wrong_choices_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export(mean_hand(), hand_samples(2), tmp_path, **options)
