import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.errors import InputError
from handlit.models.attention_decoder import (
    AttentionBlock,
    AttentionDecoder,
    ConditionedLinear,
    CrossAttention,
    EncoderLayer,
    TokenLinear,
)

JOINTS, VERTICES = 21, 195


def decoder(image_features: int = 40, **settings: Any) -> AttentionDecoder:
    generator = torch.Generator().manual_seed(0)
    upsampling = torch.rand(778, VERTICES, generator=generator)
    return AttentionDecoder(
        image_features,
        0.1 * torch.randn(JOINTS, 3, generator=generator),
        0.1 * torch.randn(VERTICES, 3, generator=generator),
        upsampling / upsampling.sum(1, keepdim=True),
        **{"hidden": (32, 16, 8), "layers": 2, **settings},
    )


def block(**settings: Any) -> AttentionBlock:
    sizes: dict[str, Any] = {"num_joints": JOINTS, "num_vertices": VERTICES, "layers": 2, "heads": 4, "feedforward": 64}
    return AttentionBlock(3, 40, 32, 10, **{**sizes, "dropout": 0.1, "attention_dropout": 0.1, **settings})


def literal_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention head by head."""
    width = q.shape[-1] // heads
    contexts = []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        scores = torch.einsum("bnd,bmd->bnm", q[..., part], k[..., part]) / math.sqrt(width)
        contexts.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(contexts, -1)


@pytest.mark.parametrize("by_convolution", [True, False])
def test_both_ways_of_a_linear_layer_are_one(by_convolution: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlit.models.attention_decoder.BY_CONVOLUTION", by_convolution)
    convolutions = []
    whole = F.conv2d

    def counted(*arguments: Any) -> torch.Tensor:
        convolutions.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(F, "conv2d", counted)
    layer = TokenLinear(24, 10)
    tokens, direction = torch.randn(3, 216, 24, requires_grad=True), torch.randn(3, 216, 10)
    inputs = (tokens, layer.weight, layer.bias)
    expected = torch.autograd.grad(F.linear(*inputs), inputs, direction)
    torch.testing.assert_close(layer(tokens), F.linear(*inputs))
    assert len(convolutions) == by_convolution
    torch.testing.assert_close(torch.autograd.grad(layer(tokens), inputs, direction), expected, atol=1e-4, rtol=1e-5)


def test_projecting_the_condition_once_equals_repeating_it_on_every_token() -> None:
    layer = ConditionedLinear(3, 40, 16)
    tokens, condition = torch.randn(1, 216, 3), torch.randn(5, 40)
    repeated = torch.cat([tokens.expand(5, -1, -1), condition[:, None].expand(-1, 216, -1)], -1)
    torch.testing.assert_close(layer(tokens, condition), F.linear(repeated, layer.weight, layer.bias))


def test_cross_attention_against_explicit_softmax() -> None:
    layer = CrossAttention(32, 4, 0.5).eval()
    vertices, joints = torch.randn(2, VERTICES, 32), torch.randn(2, JOINTS, 32)
    key, value = layer.key_value(joints).split(32, -1)
    expected = vertices + literal_attention(layer.query(vertices), key, value, 4)
    torch.testing.assert_close(layer(vertices, joints), expected)


def test_encoder_layer_against_torchs() -> None:
    ours = EncoderLayer(32, 4, 64, 0.1, 0.1).eval()
    theirs = nn.TransformerEncoderLayer(
        32, 4, 64, activation="gelu", layer_norm_eps=1e-12, batch_first=True, norm_first=False
    ).eval()
    names = {
        "self_attn.in_proj_weight": "query_key_value.weight",
        "self_attn.in_proj_bias": "query_key_value.bias",
        "self_attn.out_proj.weight": "attention_out.weight",
        "self_attn.out_proj.bias": "attention_out.bias",
        "linear1.weight": "expand.weight",
        "linear1.bias": "expand.bias",
        "linear2.weight": "contract.weight",
        "linear2.bias": "contract.bias",
        "norm1.weight": "attention_norm.weight",
        "norm1.bias": "attention_norm.bias",
        "norm2.weight": "output_norm.weight",
        "norm2.bias": "output_norm.bias",
    }
    weights = {name: torch.randn_like(value) for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(weights)
    ours.load_state_dict({names[name]: value for name, value in weights.items()})
    tokens = torch.randn(2, VERTICES, 32)
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-4, atol=1e-4)


def test_block_against_the_steps_of_its_specification() -> None:
    module = block().eval()
    tokens, feature = torch.randn(1, JOINTS + VERTICES, 3), torch.randn(2, 40)
    x = torch.cat([tokens.expand(2, -1, -1), feature[:, None].expand(-1, JOINTS + VERTICES, -1)], -1)
    embedded = F.linear(x, module.embedding.weight, module.embedding.bias) + module.position
    joints, vertices = embedded[:, :JOINTS], embedded[:, JOINTS:]
    states = torch.cat([joints, module.layers(module.cross_attention(vertices, joints))], 1)
    expected = module.head(states) + F.linear(x, module.residual.weight, module.residual.bias)
    assert expected.shape == (2, JOINTS + VERTICES, 10)
    torch.testing.assert_close(module(tokens, feature), expected, rtol=1e-4, atol=1e-6)


def test_joint_tokens_do_not_depend_on_vertex_tokens() -> None:
    module = block().eval()
    tokens, feature = torch.randn(1, JOINTS + VERTICES, 3), torch.randn(1, 40)
    moved = tokens.clone()
    moved[:, JOINTS:] += 1
    before, after = module(tokens, feature), module(moved, feature)
    assert torch.equal(before[:, :JOINTS], after[:, :JOINTS])
    assert not torch.allclose(before[:, JOINTS:], after[:, JOINTS:])


@pytest.mark.parametrize("hidden", [(32, 16, 8), (16,)])
def test_decoder_outputs_and_gradients(hidden: tuple[int, ...]) -> None:
    module = decoder(hidden=hidden)
    mean, log_variance = module(torch.randn(2, 40))
    assert mean.shape == log_variance.shape == (2, 778, 3)
    (mean.square().sum() + log_variance.square().sum()).backward()
    dead = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_decoder_is_the_chain_of_its_blocks() -> None:
    module = decoder().eval()
    feature = torch.randn(2, 40)
    tokens = module.blocks[1](module.blocks[0](module.tokens, feature))
    coarse = module.blocks[2](tokens)[:, JOINTS:]
    mean, _ = module(feature)
    expected = torch.einsum("fc,bcd->bfd", module.upsampling.weight, coarse) + module.upsampling.bias[:, None]
    torch.testing.assert_close(mean, expected)


def test_initial_mesh_is_interpolated_and_initial_scale_is_as_asked() -> None:
    module = decoder(initial_scale=0.03).eval()
    with torch.no_grad():
        nn.init.zeros_(module.log_variance_head.weight)
        _, log_variance = module(torch.randn(2, 40))
    torch.testing.assert_close(log_variance, torch.full_like(log_variance, 2 * math.log(0.03)))


def test_default_sizes_are_the_papers() -> None:
    generator = torch.zeros(JOINTS, 3), torch.zeros(VERTICES, 3), torch.zeros(778, VERTICES)
    module: Any = AttentionDecoder(2048, *generator)
    widths = [(b.embedding.in_features, b.embedding.out_features, b.head.out_features) for b in module.blocks]
    assert widths == [(2051, 1024, 512), (512, 256, 128), (128, 64, 3)]
    assert [len(b.layers) for b in module.blocks] == [4, 4, 4]
    assert [b.layers[0].expand.out_features for b in module.blocks] == [4096, 1024, 256]
    published = 59_834_368 + 4_045_312 + 324_300
    # published tables of positions have 512 rows of which 216 are used; poolers, block-level tables and the residual of
    # the variance are never used
    unused = sum(296 * h + h * h + h + 512 * d for h, d in ((1024, 2051), (256, 512), (64, 128))) + 128 * 3 + 3
    assert sum(p.numel() for p in module.parameters()) == published - unused + 2 * (195 * 778 + 778)


def test_autocast_keeps_the_read_out_in_float32() -> None:
    module = decoder().eval()
    with torch.autocast("cpu", torch.bfloat16):
        mean, log_variance = module(torch.randn(2, 40))
    assert mean.dtype == log_variance.dtype == torch.float32


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="not a multiple"):
        decoder(hidden=(30,))


def test_before_training_every_vertex_is_about_as_uncertain_as_asked() -> None:
    torch.manual_seed(0)
    module, coarse = decoder(initial_scale=0.03), []
    module.log_variance_head.register_forward_hook(lambda *called: coarse.append(called[2]))
    with torch.no_grad():
        module(torch.randn(4, 40))
    ratio = (coarse[0] / 2).exp() / 0.03
    assert 0.85 < ratio.min() < ratio.max() < 1.15
