"""The way in which AMVUR's published code does a training step, written down for comparison.

What is as there: every token is joined with the whole image feature; queries, keys and values have layers of their own;
attention is a product, a softmax, a dropout and a product; features are read from the maps image by image through lists
of indices; the texture is computed in every step; tensors are in the default memory layout and in float32; Adam updates
one tensor after the other; seven losses are logged in every iteration.

What is not, in the reference's favour: its exhaustive rasteriser, the hand model that it reads from its file twice in
every forward, and its per-joint loops are handlit's own here.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from handlit.methods.amvur import AMVUR
from handlit.models.attention_decoder import AttentionDecoder
from handlit.models.texture import TextureDecoder
from handlit.types import HandBatch

_JOINTS = 21
_DROPOUT = 0.1


class LiteralAttention(nn.Module):
    """Multi-head attention with all probabilities in memory."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(B, N, H) and (B, M, H) to (B, N, H)."""
        query, key, value = (
            self._split(self.query(asking)),
            self._split(self.key(asked)),
            self._split(self.value(asked)),
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        context = self.dropout(scores.softmax(-1)) @ value
        return context.permute(0, 2, 1, 3).contiguous().flatten(2)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).permute(0, 2, 1, 3)


class LiteralLayer(nn.Module):
    """A BERT layer."""

    def __init__(self, hidden: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention = LiteralAttention(hidden, heads)
        self.out, self.expand, self.contract = (
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, feedforward),
            nn.Linear(feedforward, hidden),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-12) for _ in range(2))
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, H) to (B, N, H)."""
        tokens = self.norms[0](self.dropout(self.out(self.attention(tokens, tokens))) + tokens)
        inner = torch.nn.functional.gelu(self.expand(tokens))
        return self.norms[1](self.dropout(self.contract(inner)) + tokens)


class LiteralBlock(nn.Module):
    """Tokens, of which the first 21 are only asked, to tokens; and the states behind them."""

    def __init__(
        self, count: int, inputs: int, hidden: int, feedforward: int, heads: int, layers: int, out: int
    ) -> None:
        super().__init__()
        self.embedding, self.head, self.residual = (
            nn.Linear(inputs, hidden),
            nn.Linear(hidden, out),
            nn.Linear(inputs, out),
        )
        self.position = nn.Parameter(0.02 * torch.randn(count, hidden))
        self.dropout = nn.Dropout(_DROPOUT)
        self.cross_attention = LiteralAttention(hidden, heads)
        self.layers = nn.Sequential(*(LiteralLayer(hidden, heads, feedforward) for _ in range(layers)))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, inputs) to (B, N, out) and (B, N, hidden)."""
        embedded = self.dropout(self.embedding(tokens) + self.position)
        joints, vertices = embedded[:, :_JOINTS], embedded[:, _JOINTS:]
        states = torch.cat([joints, self.layers(self.cross_attention(vertices, joints) + vertices)], dim=1)
        return self.head(states) + self.residual(tokens), states


class LiteralDecoder(nn.Module):
    """The three blocks, as wide as those of a decoder of handlit's."""

    tokens: Tensor

    def __init__(self, decoder: AttentionDecoder, channels: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.num_joints = decoder.num_joints
        self.register_buffer("tokens", decoder.tokens)
        count = decoder.tokens.shape[1]
        outs = [*(width // 2 for width in hidden[:-1]), 3]
        inputs = [3 + channels, *outs[:-1]]
        self.blocks = nn.ModuleList(
            LiteralBlock(count, inner, width, 4 * width, 4, 4, out)
            for inner, width, out in zip(inputs, hidden, outs, strict=True)
        )
        self.log_variance_head = nn.Linear(hidden[-1], 3)
        # handlit's first variances: the losses have the same scale
        self.log_variance_head.load_state_dict(decoder.log_variance_head.state_dict())
        self.upsampling, self.upsampling_log_variance = decoder.upsampling, decoder.upsampling_log_variance

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C) to mean and log-variance (B, 778, 3)."""
        batch, count = len(feature), self.tokens.shape[1]
        repeated = feature[:, None].repeat(1, count, 1)
        tokens = torch.cat([self.tokens.repeat(batch, 1, 1), repeated], dim=2)
        # the published code blends in a mask that masks nothing
        mask = torch.ones(batch, count, 1, device=feature.device)
        tokens = tokens * mask + 0.01 * (1 - mask)
        for block in self.blocks:
            tokens, states = block(tokens)
        mean, log_variance = tokens[:, _JOINTS:], self.log_variance_head(states)[:, _JOINTS:]
        return self.upsampling(mean.mT).mT, self.upsampling_log_variance(log_variance.mT).mT


class LiteralTexture(nn.Module):
    """Features of all vertices, seen or not, read image by image; 21 vertices are treated as joints."""

    def __init__(self, texture: TextureDecoder, channels: int) -> None:
        super().__init__()
        self.block = LiteralBlock(len(texture.template), channels, 216, 216, 12, 4, 3)

    def forward(self, maps: Sequence[Tensor], points: Tensor, visible: Tensor) -> Tensor:
        """Colours (B, 778, 3)."""
        sampled = torch.cat([self._sample(features, points) for features in maps], dim=2)
        return self.block(sampled)[0] * visible[..., None]

    @staticmethod
    def _sample(features: Tensor, points: Tensor) -> Tensor:
        size = features.shape[-1]
        rows = []
        for image, image_points in zip(features, points, strict=True):
            place = ((image_points + 1) / 2 * size - 0.5).clamp(0, size - 1)
            low = place.floor()
            weight = place - low
            low = low.long()
            high = (low + 1).clamp(max=size - 1)
            x0, y0, x1, y1 = (index.tolist() for index in (low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
            top = image[:, y0, x0] * (1 - weight[:, 0]) + image[:, y0, x1] * weight[:, 0]
            bottom = image[:, y1, x0] * (1 - weight[:, 0]) + image[:, y1, x1] * weight[:, 0]
            rows.append((top * (1 - weight[:, 1]) + bottom * weight[:, 1]).T)
        return torch.stack(rows)


def make_literal(method: AMVUR, hidden: Sequence[int]) -> AMVUR:
    """Put the literal parts in the places of handlit's."""
    network, backbone = method.network, method.network.backbone
    assert network.texture is not None
    backbone.to(memory_format=torch.contiguous_format)
    backbone.register_forward_pre_hook(lambda _, inputs: tuple(image.contiguous() for image in inputs))
    network.decoder = LiteralDecoder(network.decoder, backbone.channels, hidden)  # type: ignore[assignment]
    network.texture = LiteralTexture(network.texture, sum(backbone.map_channels))  # type: ignore[assignment]
    return method


def literal_step(method: AMVUR, batch: HandBatch, optimiser: torch.optim.Optimizer) -> list[float]:
    """Forward, losses, backward, update, and the numbers that the published loop logs."""
    losses = method.losses(method.infer(batch.image), batch)
    assert losses.total is not None
    optimiser.zero_grad(set_to_none=False)
    losses.total.backward()
    optimiser.step()
    return [value.item() for value in (losses.total, *list(losses.terms.values())[:6])]
