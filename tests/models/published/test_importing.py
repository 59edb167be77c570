"""Released weights from file to submission, every key accounted for, and files that must be refused."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from handlit.cli import main
from handlit.errors import InputError
from handlit.methods.published import AMVURReference
from handlit.models.backbones import Backbone
from handlit.models.published.amvur_weights import convert_amvur, convert_amvur_backbone
from handlit.models.published.importing import import_file
from tests.models.published.released_amvur import released_state_dict

CONFIGS = Path(__file__).parents[3] / "configs"
BLOCK = "trans_encoder.0.bert.position_embeddings.weight"


@pytest.fixture(scope="module")
def released() -> dict[str, Tensor]:
    return released_state_dict()


@pytest.fixture(scope="module")
def shapes() -> dict[str, Tensor]:
    return AMVURReference().network.state_dict()


@pytest.fixture(scope="module")
def imported(released: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("released")
    wrapped = {"state_dict": {f"module.{key}": tensor for key, tensor in released.items()}}
    torch.save(wrapped, folder / "state_dict.bin")
    import_file(folder / "state_dict.bin", "amvur", folder / "amvur.ckpt")
    (folder / "state_dict.bin").unlink()
    yield folder / "amvur.ckpt"
    (folder / "amvur.ckpt").unlink()


def test_every_key_is_accounted_for(released: dict[str, Tensor], shapes: dict[str, Tensor], imported: Path) -> None:
    assert len(released) == 2328
    assert sum(key.startswith("backbone.") for key in released) == 1956
    assert sum(key.endswith("num_batches_tracked") for key in released) == 325
    assert sum(t.numel() for key, t in released.items() if "running" not in key and t.is_floating_point()) == 204338542
    lines = [line.split("\t") for line in Path(f"{imported}.keys.txt").read_text().splitlines()]
    assert sorted(key for _, key, _ in lines) == sorted(released)
    fates = {key: fate for fate, key, _ in lines}
    ignored = [key for key, fate in fates.items() if fate == "ignored"]
    assert len(ignored) == 20
    assert all(
        "classifier" in k or "pooler" in k or "residual_var" in k or "position" in k or "head_var" in k for k in ignored
    )
    assert list(fates.values()).count("used") == 2308
    assert {target for fate, _, target in lines if fate == "used"} == set(shapes)


def test_import_then_predict(imported: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    main(f"synth --layout ho3d_v2 --out {data} --train 2 --evaluation 2 --preset easy --workers 0".split())
    config = CONFIGS / "experiment" / "amvur_reference_ho3d_v2.yaml"
    arguments = f"--data.init_args.root {data} --data.init_args.num_workers 0 --run_dir {tmp_path / 'run'}"
    main(["predict", "--config", str(config), *arguments.split(), "--ckpt_path", str(imported)])
    with zipfile.ZipFile(tmp_path / "run" / "pred.zip") as archive:
        joints, vertices = json.loads(archive.read("pred.json"))
    assert np.shape(joints) == (2, 21, 3)
    assert np.shape(vertices) == (2, 778, 3)
    # the released middle tip, in the benchmark's joint order (thumb, index, middle, ring, pinky tips last)
    for tip, vertex in zip(joints[0][-5:], (745, 317, 445, 556, 673), strict=True):
        np.testing.assert_allclose(tip, vertices[0][vertex], atol=2e-5)


@torch.no_grad()
def test_both_meshes_can_be_answered(imported: Path) -> None:
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    method = AMVURReference("perspective", image_size=64).eval()
    method.load_state_dict(torch.load(imported, weights_only=True)["state_dict"])
    output = method.infer(image)
    for answer, mesh in (("prior", output.prior), ("attention", output.attention)):
        assert answer == "attention" or method.answer == answer
        method.answer = answer  # type: ignore[assignment]  # both of its values
        prediction = method.predict(output)
        torch.testing.assert_close(prediction.vertices_root + mesh.joints[:, :1], mesh.vertices, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(prediction.root_cam, mesh.joints[:, 0])
        scale = output.amplitude[:, None].abs() * (mesh.log_variance / 2).exp()
        torch.testing.assert_close(prediction.vertex_scale, scale.clamp(min=1e-4))
        distribution: Any = prediction.distribution
        torch.testing.assert_close(distribution.mean, prediction.vertices_root)
        regressed = method.hand.joint_matrix @ prediction.vertices_root
        torch.testing.assert_close(prediction.joints_root, regressed - regressed[:, :1], atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="not trained"):
        method.configure_optimizers()


def test_broken_weights_are_refused(released: dict[str, Tensor], shapes: dict[str, Tensor]) -> None:
    cut = {key: tensor for key, tensor in released.items() if key != "upsampling.bias"}
    with pytest.raises(InputError, match=r"1 missing \(upsampling.bias\)"):
        convert_amvur(cut, shapes)
    turned = released | {"upsampling.weight": released["upsampling.weight"].T}
    with pytest.raises(InputError, match=r"upsampling.weight \(195, 778\) instead of \(778, 195\)"):
        convert_amvur(turned, shapes)
    short = released | {BLOCK: released[BLOCK][:300]}
    with pytest.raises(InputError, match=r"instead of \(512, 1024\)"):
        convert_amvur(short, shapes)
    spoilt = released | {"rot_reg.1.bias": torch.tensor([0.0, float("nan"), 0.0])}
    with pytest.raises(InputError, match="NaN or infinity"):
        convert_amvur(spoilt, shapes)


def test_what_is_not_needed_is_reported(released: dict[str, Tensor], shapes: dict[str, Tensor]) -> None:
    fewer = {key: tensor for key, tensor in released.items() if not key.endswith("num_batches_tracked")}
    conversion = convert_amvur(fewer | {"extra.weight": torch.ones(3)}, shapes)
    assert len(conversion.missing) == 325
    assert conversion.unexpected == ["extra.weight"]
    assert conversion.weights.keys() == shapes.keys()


@pytest.mark.parametrize("sign", ["image_linear.weight", "pose_projection1.weight", BLOCK])
def test_older_variant_is_recognised(released: dict[str, Tensor], shapes: dict[str, Tensor], sign: str) -> None:
    with pytest.raises(InputError, match=r"older variant.*778 vertices"):
        convert_amvur(released | {sign: torch.zeros(1024, 1024)}, shapes)


def test_hrnet_becomes_a_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official = timm.create_model("hrnet_w64").state_dict()
    assert len(official) == 1956
    torch.save(official, tmp_path / "hrnet.pth")
    import_file(tmp_path / "hrnet.pth", "hrnet", tmp_path / "backbone.pth")
    assert "1954 used" in capsys.readouterr().out
    loaded = Backbone("hrnet_w64", checkpoint=str(tmp_path / "backbone.pth")).model.state_dict()
    assert all(torch.equal(tensor, official[key]) for key, tensor in loaded.items())
    with pytest.raises(FileExistsError):
        import_file(tmp_path / "hrnet.pth", "hrnet", tmp_path / "backbone.pth")


def test_refused_weights_leave_no_file(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "few.pth")
    with pytest.raises(InputError, match=r"few.pth.*missing"):
        import_file(tmp_path / "few.pth", "hrnet", tmp_path / "other.ckpt")
    assert not list(tmp_path.glob("other*"))


def test_backbone_of_amvur(released: dict[str, Tensor], shapes: dict[str, Tensor]) -> None:
    prefix = "backbone.model."
    own = {key.removeprefix(prefix): tensor for key, tensor in shapes.items() if key.startswith(prefix)}
    conversion = convert_amvur_backbone(released, own)
    assert len(conversion.used) == 1954
    assert len(conversion.ignored) == 2 + 372
    assert conversion.weights.keys() == own.keys()
    assert torch.equal(conversion.weights["conv1.weight"], released["backbone.conv1.weight"])
