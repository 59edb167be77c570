"""Textured meshes lie where the predicted hands lie, with their colours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import trimesh

from handlit.callbacks.output.meshes import TexturedMeshes
from handlit.callbacks.output.predicted_hand import PredictedHand
from handlit.errors import InputError
from handlit.files import file_stem
from handlit.formats.hand_files import write_mesh
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.mean_hand import MeanHand
from handlit.render import vertex_normals
from handlit.types import HandBatch
from tests.callbacks.output.test_pictures import batch_and_prediction
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur_texture import method


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
def test_vertices_and_colours_survive_every_format(tmp_path: Path, left: bool, suffix: str) -> None:
    batch, prediction, layer = batch_and_prediction(left)
    hand = PredictedHand(prediction, batch, 0, layer.faces)
    colours = torch.rand(778, 3, generator=torch.Generator().manual_seed(0))
    write_mesh(tmp_path / f"hand.{suffix}", hand.vertices_cam, hand.faces, colours)
    assert [path.name for path in tmp_path.iterdir()] == [f"hand.{suffix}"]
    mesh: Any = trimesh.load(tmp_path / f"hand.{suffix}", process=False, force="mesh")
    np.testing.assert_allclose(mesh.vertices * (1, -1, -1), hand.vertices_cam.numpy(), atol=1e-5)
    assert np.array_equal(mesh.faces, hand.faces.numpy())
    if suffix == "glb":
        # glTF's vertex colours are linear light, and trimesh leaves them out beside a material
        stored, colours = vertex_values((tmp_path / "hand.glb").read_bytes(), "COLOR_0"), linear_light(colours)
    else:
        stored = mesh.visual.vertex_colors
    np.testing.assert_allclose(stored[:, :3] / 255, colours.numpy(), atol=0.003)
    # faces look outwards on either side
    assert mesh.volume > 0


def linear_light(srgb: torch.Tensor) -> torch.Tensor:
    """By the standard's formula, for one number at a time."""

    def of(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return torch.tensor([of(value) for value in srgb.flatten().tolist()]).view_as(srgb)


@pytest.mark.parametrize("coloured", [False, True])
def test_a_glb_says_that_it_is_skin_and_smooth(tmp_path: Path, coloured: bool) -> None:
    layer = HandLayer(load_hand())
    vertices = layer(torch.zeros(1, 45), torch.zeros(1, 10)).vertices[0]
    write_mesh(tmp_path / "hand.glb", vertices, layer.faces, torch.rand(778, 3) if coloured else None)
    content = (tmp_path / "hand.glb").read_bytes()
    text = described(content)
    (mesh,), (material,) = text["meshes"], text["materials"]
    (primitive,) = mesh["primitives"]
    assert primitive["material"] == 0
    assert material["pbrMetallicRoughness"] == {"metallicFactor": 0.0, "roughnessFactor": 0.8}
    assert material["doubleSided"]
    assert ("COLOR_0" in primitive["attributes"]) == coloured
    normals = vertex_values(content, "NORMAL")
    expected = vertex_normals(vertices[None], layer.faces)[0].numpy() * (1, -1, -1)
    # alike but for how faces are weighed
    assert (normals * expected).sum(1).min() > 0.7
    assert np.median((normals * expected).sum(1)) > 0.99


def described(content: bytes) -> Any:
    """The JSON of a glb."""
    return json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])


def vertex_values(content: bytes, name: str) -> np.ndarray:
    """What a glb holds of its one mesh's 778 vertices."""
    text, header = described(content), 28 + int.from_bytes(content[12:16], "little")
    accessor = text["accessors"][text["meshes"][0]["primitives"][0]["attributes"][name]]
    columns, kind = int(accessor["type"][-1]), {5121: "u1", 5126: "<f4"}[accessor["componentType"]]
    start = header + text["bufferViews"][accessor["bufferView"]]["byteOffset"]
    return np.frombuffer(content, kind, 778 * columns, start).reshape(778, columns)


@pytest.mark.parametrize("count", [3, 100])
def test_predict_writes_the_chosen_hands(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = hand_samples(5)
    module = method()
    calls = []
    colours = module.colours

    def counted(batch: HandBatch) -> Any:
        calls.append(batch.key)
        return colours(batch)

    monkeypatch.setattr(module, "colours", counted)
    callback = TexturedMeshes(count=count, format="ply")
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    run = pl.Trainer(accelerator="cpu", devices=1, default_root_dir=tmp_path, callbacks=[callback], **quiet)
    run.predict(module, loader(samples, 1))
    chosen = [0, 2, 4] if count == 3 else range(5)
    assert sorted(path.name for path in (tmp_path / "meshes").iterdir()) == sorted(
        f"{file_stem(f'hand/{i:04d}')}.ply" for i in chosen
    )
    # batches without a chosen hand are not coloured
    assert len(calls) == len(chosen)
    written: Any = trimesh.load(tmp_path / "meshes" / f"{file_stem('hand/0002')}.ply", process=False)
    with torch.no_grad():
        expected = module.eval().colours(next(iter(loader(samples[2:3], 1))))
    np.testing.assert_allclose(written.visual.vertex_colors[:, :3] / 255, expected[0].numpy(), atol=0.003)


def test_methods_without_colours_are_refused(tmp_path: Path) -> None:
    run = pl.Trainer(accelerator="cpu", devices=1, logger=False, callbacks=[TexturedMeshes()])
    with pytest.raises(InputError, match="MeanHand does not colour"):
        run.predict(MeanHand(image_size=64), loader(hand_samples(1), 1))


def test_count_must_be_positive() -> None:
    with pytest.raises(InputError, match="count"):
        TexturedMeshes(count=0)
