"""MHEntropy's released weights: the imported network is the released one, and files that must be refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from handlit.cli import main
from handlit.errors import InputError
from handlit.methods.published import MHEntropyReference
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.models.published.importing import import_file
from handlit.models.published.mhentropy_weights import check_mano, convert_mhentropy
from tests.hand.mano_file import write_mano
from tests.hand.synthetic_mano import synthetic_mano
from tests.models.published.released_mhentropy import mano_buffers, mask, released_state_dict

LAST_BIAS = "q_z_giv_i.s.11.l.2.bias"


@pytest.fixture(scope="module")
def released() -> dict[str, Tensor]:
    return released_state_dict(synthetic_mano())


@pytest.fixture(scope="module")
def shapes() -> dict[str, Tensor]:
    return MHEntropyNetwork(Backbone("resnet50")).state_dict()


def save(weights: dict[str, Tensor], path: Path) -> Path:
    torch.save({"decoderPose": {}, "encoderRGB": weights}, path)
    return path


def literal_flow(weights: dict[str, Tensor], f: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The released flow as the paper's formulas have it: full width, masked, row by row."""
    log_det = torch.zeros(len(z))
    for i, keep in enumerate(mask()):
        answers = {}
        for kind in ("t", "s"):
            p = {name.split(".", 3)[3]: w for name, w in weights.items() if name.startswith(f"q_z_giv_i.{kind}.{i}.")}
            h = F.linear(keep * z, p["l.0.weight"], p["l.0.bias"]) + F.linear(f, p["c.0.weight"], p["c.0.bias"])
            h = F.linear(F.leaky_relu(h, 0.01), p["l.1.weight"], p["l.1.bias"])
            h = h + F.linear(f, p["c.1.weight"], p["c.1.bias"])
            answers[kind] = (1 - keep) * F.linear(F.leaky_relu(h, 0.01), p["l.2.weight"], p["l.2.bias"])
        s = (1 - keep) * torch.tanh(answers["s"])
        z = keep * z + (1 - keep) * (z * torch.exp(s) + answers["t"])
        log_det = log_det + s.sum(-1)
    return z, log_det


@torch.no_grad()
def test_the_imported_network_is_the_released_one(released: dict[str, Tensor], tmp_path: Path) -> None:
    import_file(save(released, tmp_path / "ent.pth"), "mhentropy", tmp_path / "mhentropy.ckpt")
    method = MHEntropyReference(MHEntropyNetwork(Backbone("resnet50")), image_size=64).eval()
    method.load_state_dict(torch.load(tmp_path / "mhentropy.ckpt", weights_only=True)["state_dict"])
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    trunk = torchvision.models.resnet50(weights=None)
    trunk.fc = torch.nn.Identity()
    prefix = "feat_extractor.res."
    trunk.load_state_dict({k.removeprefix(prefix): v for k, v in released.items() if k.startswith(prefix)}, strict=True)
    pooled = trunk.eval()((images / 255 - 0.5) / 0.5)
    f = F.linear(pooled, released["feat_extractor.l1.0.weight"], released["feat_extractor.l1.0.bias"])
    hidden = F.relu(F.linear(f, released["det_head.0.weight"], released["det_head.0.bias"]))
    head = F.linear(hidden, released["det_head.2.weight"], released["det_head.2.bias"])
    noise = torch.randn(2, 45, generator=torch.Generator().manual_seed(1))
    theta, log_det = literal_flow(released, f, noise)

    output = method.network(method.network.normalise(images))
    assert pooled.std() > 0.1, "a dead trunk would compare nothing"
    torch.testing.assert_close(output.flow.condition, f, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.orient, head[:, :3], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.betas, head[:, 3:13], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.view[:, 0], head[:, 13].exp(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.view[:, 1:], head[:, 14:], rtol=1e-5, atol=1e-5)
    drawn, found = output.flow.push(noise)
    torch.testing.assert_close(drawn, theta, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, log_det, rtol=1e-4, atol=1e-4)
    # a released point in [-1, 1] is the pixel that the released code makes of it
    hands = method.infer(images)
    joints = hands.joints(hands.parameters(theta[None]))
    own = hands.hypotheses(1, temperature=0).joints_2d[:, 0]
    centre = hands.joints(hands.parameters(output.flow.centre[None]))[0]
    relative = (centre - centre[:, 9:10]) / (centre[:, 10:11] - centre[:, 9:10]).norm(dim=-1, keepdim=True)
    uv = head[:, 13].exp()[:, None, None] * relative[..., :2] + head[:, None, 14:]
    torch.testing.assert_close(own, (uv + 1) / 2 * 64, rtol=1e-4, atol=1e-3)
    tips = method.hand(theta, output.betas, output.orient)
    torch.testing.assert_close(tips.vertices[:, [745, 317, 444, 556, 673]], joints[0][:, [4, 8, 12, 16, 20]])


def test_torchvision_and_timm_have_the_same_resnet() -> None:
    torch.manual_seed(0)
    trunk = torchvision.models.resnet50(weights=None).eval()
    with torch.no_grad():
        for name, buffer in trunk.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        own = timm.create_model("resnet50", num_classes=0).eval()
        state = {name: tensor for name, tensor in trunk.state_dict().items() if not name.startswith("fc.")}
        assert list(state) == list(own.state_dict())
        own.load_state_dict(state)
        trunk.fc = torch.nn.Identity()
        image = torch.randn(2, 3, 96, 96)
        expected = trunk(image)
        assert expected.std() > 0.01
        torch.testing.assert_close(own(image), expected, rtol=1e-5, atol=1e-5)


def test_every_key_is_accounted_for(released: dict[str, Tensor], shapes: dict[str, Tensor]) -> None:
    assert len(released) == 577
    trained = [k for k in released if "mano" not in k and "running" not in k and "tracked" not in k and "mask" not in k]
    assert sum(released[key].numel() for key in trained) == 45_907_592
    assert sum(tensor.numel() for tensor in released.values()) == 46_335_684
    conversion = convert_mhentropy(released, shapes)
    assert len(conversion.used) == 564
    assert set(conversion.ignored) == set(released) - set(conversion.used)
    assert len(conversion.ignored) == 2 + 1 + 10
    assert not conversion.unexpected
    assert conversion.weights.keys() == shapes.keys()
    # nothing of the hand model is in what is written
    assert not any(tensor.shape[-2:] in ((778, 3), (45, 45)) for tensor in conversion.weights.values())


def test_what_is_not_needed_may_lack_and_what_is_unknown_is_named(
    released: dict[str, Tensor], shapes: dict[str, Tensor]
) -> None:
    kept = {k: v for k, v in released.items() if not k.startswith(("feat_extractor.l2.", "mano_dec."))}
    more = {"p_uv.t.0.l.0.weight": torch.ones(3), "q_z_giv_z.mask": torch.ones(2), "other.weight": torch.ones(1)}
    conversion = convert_mhentropy(kept | more, shapes)
    assert conversion.unexpected == ["other.weight"]
    assert "older code" in conversion.ignored["p_uv.t.0.l.0.weight"]
    assert "older code" in conversion.ignored["q_z_giv_z.mask"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({LAST_BIAS: None}, rf"1 missing \({LAST_BIAS}\)"),
        ({"feat_extractor.res.bn1.num_batches_tracked": None}, "counters"),
        ({LAST_BIAS: torch.zeros(23)}, r"\(23,\) instead of \(45,\)"),
        ({"q_z_giv_i.t.0.l.0.weight": torch.zeros(512, 23)}, r"\(512, 23\) instead of \(512, 45\)"),
        ({LAST_BIAS: torch.full((45,), torch.nan)}, "NaN or infinity"),
        ({"q_z_giv_i.mask": mask().flip(0)}, "another flow"),
        ({"q_z_giv_i.mask": None}, "another flow"),
    ],
    ids=["missing", "counter", "shape", "halves", "nan", "mask", "no mask"],
)
def test_broken_weights_are_refused(
    released: dict[str, Tensor], shapes: dict[str, Tensor], change: dict[str, Tensor | None], message: str
) -> None:
    weights = {key: tensor for key, tensor in (released | change).items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        convert_mhentropy(weights, shapes)


def test_the_hand_model_behind_the_weights_is_compared() -> None:
    asset = synthetic_mano()
    buffers = mano_buffers(asset)
    assert check_mano(buffers, asset) == 9
    assert check_mano({}, asset) == 0
    flat = buffers | {"mano_dec.mano_layer.th_hands_mean": torch.zeros(1, 45)}
    with pytest.raises(InputError, match=r"th_hands_mean differ \(the weights were trained about a flat hand\)"):
        check_mano(flat, asset)
    with pytest.raises(InputError, match="another mean pose"):
        check_mano(buffers, replace(asset, pose_mean=asset.pose_mean + 0.01))
    with pytest.raises(InputError, match="th_weights differ\\."):
        check_mano(buffers, replace(asset, weights=np.roll(asset.weights, 1, axis=0)))
    mirrored = replace(asset, template=asset.template * (-1, 1, 1))
    with pytest.raises(InputError, match="one is of a left hand"):
        check_mano(buffers, mirrored)
    with pytest.raises(InputError, match="a left one"):
        check_mano(buffers, replace(asset, side="left"))


def test_command_compares_the_users_file(
    released: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save({key: tensor for key, tensor in released.items() if "l2" not in key}, tmp_path / "ent.pth")
    write_mano(synthetic_mano(), tmp_path / "MANO_RIGHT.pkl")
    command = f"import-weights --from mhentropy {file} --mano_path {tmp_path}".split()
    with pytest.warns(UserWarning, match="not the distributed right hand"):
        main([*command, "--out", str(tmp_path / "same.ckpt")])
    said = capsys.readouterr().out
    assert "564 used" in said
    assert "9 arrays are those of" in said

    other = replace(synthetic_mano(), pose_mean=np.zeros(45))
    write_mano(other, tmp_path / "MANO_RIGHT.pkl")
    with pytest.warns(UserWarning, match="not the distributed"), pytest.raises(SystemExit):
        main([*command, "--out", str(tmp_path / "other.ckpt")])
    assert "th_hands_mean differ" in capsys.readouterr().err
    assert not (tmp_path / "other.ckpt").exists()
    with pytest.raises(InputError, match="whole"):
        import_file(file, "mhentropy", tmp_path / "x.ckpt", part="backbone")
