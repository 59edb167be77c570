"""The network against numbers recorded from AMVUR's released code, with weights, image and hand made by formulas."""

import numpy as np
import timm
import torch

from handlit.hand.coarse import COARSE_VERTICES
from handlit.hand.layer import HandLayer
from handlit.models.attention_decoder import AttentionDecoder
from handlit.models.backbones import Backbone
from tests.hand.synthetic_mano import synthetic_mano

PERIOD = 10007
TRANSFORMERS = {
    "trans_encoder.0": (2051, 1024, 4096, 512, 512),
    "trans_encoder.1": (512, 256, 1024, 128, 512),
    "trans_encoder.2": (128, 64, 256, 3, 512),
    "trans_texture": (448, 216, 216, 3, 1024),
}


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every floating-point entry of the released state_dict."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, inside: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inside), (out,)

    with torch.device("meta"):
        hrnet = timm.create_model("hrnet_w64").state_dict()
    shapes |= {f"backbone.{k}": tuple(v.shape) for k, v in hrnet.items() if not k.endswith("num_batches_tracked")}
    for prefix, (inside, hidden, feedforward, out, positions) in TRANSFORMERS.items():
        for layer in (f"{prefix}.bert.encoder.layer.{i}" for i in range(4)):
            for part in (
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
            ):
                linear(f"{layer}.{part}", hidden, hidden)
            linear(f"{layer}.intermediate.dense", feedforward, hidden)
            linear(f"{layer}.output.dense", hidden, feedforward)
            for part in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"{layer}.{part}.weight"] = shapes[f"{layer}.{part}.bias"] = (hidden,)
        for part in ("pooler.dense", "cross_attention.query", "cross_attention.key", "cross_attention.value"):
            linear(f"{prefix}.bert.{part}", hidden, hidden)
        shapes[f"{prefix}.bert.position_embeddings.weight"] = (positions, hidden)
        shapes[f"{prefix}.position_embeddings.weight"] = (positions, inside)
        linear(f"{prefix}.bert.img_embedding", hidden, inside)
        linear(f"{prefix}.cls_head", out, hidden)
        linear(f"{prefix}.residual", out, inside)
        if out == 3:
            linear(f"{prefix}.cls_head_var", 3, hidden)
            linear(f"{prefix}.residual_var", 3, inside)
    for name in ("upsampling", "upsampling_var"):
        linear(name, 778, 195)
    heads = {"orth_fc": 3, "orth_fc_var": 3, "rot_reg": 3, "trans_reg": 3, "scale_reg": 1, "ks_reg": 4, "ks_var_reg": 4}
    for name, out in heads.items():
        linear(f"{name}.0", 512, 2048)
        linear(f"{name}.1", out, 512)
    linear("pose_projection1_", 512, 2048)
    linear("pose_projection2_", 80, 512)
    linear("samp_3D_scale.0", 512, 2397)
    linear("samp_3D_scale.1", 1, 512)
    linear("samp_2D_scale.0", 1, 42)
    linear("samp_ks_scale.0", 1, 4)
    return shapes


class Formula:
    """Weights of the released names, each a formula of its position."""

    def __init__(self) -> None:
        self.shapes = released_shapes()
        assert len(self.shapes) == 2003
        self.position = {name: k for k, name in enumerate(sorted(self.shapes))}

    def __call__(self, name: str) -> torch.Tensor:
        shape = self.shapes[name]
        angles = np.arange(PERIOD) * 12.9898 + (self.position[name] % 997) * 78.233
        uniform = np.resize((np.sin(angles) * 43758.5453) % 1, shape)
        if len(shape) >= 2:
            values = (2 * uniform - 1) * np.sqrt(3 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            values = 0.5 + uniform
        elif name.endswith("weight"):
            values = 0.2 + 0.3 * uniform if name.startswith("backbone.") else 0.5 + uniform
        else:
            values = 0.1 * (uniform - 0.5)
        return torch.from_numpy(values).float()

    def linear(self, *names: str) -> dict[str, torch.Tensor]:
        """Weight and bias of one linear layer, or of several stacked on their outputs."""
        return {part: torch.cat([self(f"{name}.{part}") for name in names]) for part in ("weight", "bias")}


def load_decoder(decoder: AttentionDecoder, released: Formula) -> None:
    for i, block in enumerate(decoder.blocks):
        bert = f"trans_encoder.{i}.bert"
        block.position.data.copy_(released(f"{bert}.position_embeddings.weight")[:216])
        block.embedding.load_state_dict(released.linear(f"{bert}.img_embedding"))
        cross = [f"{bert}.cross_attention.{part}" for part in ("query", "key", "value")]
        block.cross_attention.query.load_state_dict(released.linear(cross[0]))
        block.cross_attention.key_value.load_state_dict(released.linear(*cross[1:]))
        for j, layer in enumerate(block.layers):
            prefix = f"{bert}.encoder.layer.{j}"
            own = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
            layer.query_key_value.load_state_dict(released.linear(*own))
            layer.attention_out.load_state_dict(released.linear(f"{prefix}.attention.output.dense"))
            layer.attention_norm.load_state_dict(released.linear(f"{prefix}.attention.output.LayerNorm"))
            layer.expand.load_state_dict(released.linear(f"{prefix}.intermediate.dense"))
            layer.contract.load_state_dict(released.linear(f"{prefix}.output.dense"))
            layer.output_norm.load_state_dict(released.linear(f"{prefix}.output.LayerNorm"))
        block.head.load_state_dict(released.linear(f"trans_encoder.{i}.cls_head"))
        block.residual.load_state_dict(released.linear(f"trans_encoder.{i}.residual"))
    decoder.log_variance_head.load_state_dict(released.linear("trans_encoder.2.cls_head_var"))
    decoder.upsampling.load_state_dict(released.linear("upsampling"))
    decoder.upsampling_log_variance.load_state_dict(released.linear("upsampling_var"))


@torch.no_grad()
def test_released_network_gives_the_recorded_numbers():
    released = Formula()
    np.testing.assert_allclose(released("upsampling.weight")[0, :3], [0.117820, 0.078346, -0.115162], atol=1e-6)

    backbone = Backbone("hrnet_w64", maps=True).eval()
    own = backbone.model.state_dict()
    for name, tensor in own.items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(released(f"backbone.{name}"))
    y, x = np.meshgrid(np.arange(224), np.arange(224), indexing="ij")
    image = torch.tensor(np.stack([np.sin(0.05 * x + 0.03 * y * (c + 1) + c) for c in range(3)])[None]).float()
    np.testing.assert_allclose(image.double().sum(), -376.127542, atol=1e-3)
    features = backbone(image)
    feature = features.pooled
    np.testing.assert_allclose(feature[0, :4], [0.0344968587, 0.0013345375, 0.0, 0.0107192565], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        [feature.mean(), feature.std(), feature.max()], [0.0165812019, 0.0246033557, 0.1428336054], rtol=5e-4
    )
    for each, mean in zip(features.maps, (0.2386972308, 0.2860815525, 0.2806331813), strict=True):
        np.testing.assert_allclose(each.mean(), mean, rtol=1e-4)

    hand = HandLayer(synthetic_mano(), flat_hand_mean=False, tips="manopth")
    rest = hand(torch.zeros(45), global_orient=torch.zeros(3))
    decoder = AttentionDecoder(
        2048,
        rest.joints - rest.joints[0],
        rest.vertices[list(COARSE_VERTICES)] - rest.joints[0],
        torch.zeros(778, 195),
    ).eval()
    load_decoder(decoder, released)
    mean, log_variance = decoder(feature)
    close = {"rtol": 1e-4, "atol": 2e-5}
    np.testing.assert_allclose(mean[0, 0], [-4.1923270226, 0.7750875354, 0.0261033550], **close)
    np.testing.assert_allclose(mean[0, 777], [5.3437023163, -1.0168321133, -0.0693418235], **close)
    np.testing.assert_allclose(mean.mean((0, 1)), [-0.8992570043, 0.1947595775, 0.0355825871], **close)
    np.testing.assert_allclose(log_variance[0, 0], [1.2198814154, 0.2921856642, -2.2380120754], **close)
    tip = HandLayer(synthetic_mano(), tips="amvur").regress_joints(mean)[0, 20]
    np.testing.assert_allclose(tip, [-12.5297794342, 2.6083447933, 0.3992561102], **close)
