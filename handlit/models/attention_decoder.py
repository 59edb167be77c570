"""Mesh decoder of AMVUR: attention among joint and vertex tokens, mean and log-variance of every vertex.

Three blocks of decreasing width refine 21 joint and 195 vertex tokens; the last one predicts a Gaussian for each coarse
vertex, which a learned upsampling brings to the 778 vertices of the hand. The transformer layers are BERT's:
normalisation after each residual sum, GELU with the error function.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299. Tokens and blocks follow METRO: Lin
    et al., CVPR 2021, https://arxiv.org/abs/2012.09760. BERT: Devlin et al., 2019, https://arxiv.org/abs/1810.04805.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from handlit.errors import InputError

#: BERT's epsilon inside the square root of its layer normalisations.
NORM_EPS = 1e-12
#: Standard deviation of BERT's initial weights.
INIT_STD = 0.02
#: Whether this CPU computes convolutions of width 1 faster than the equal matrix products: see `TokenLinear`.
BY_CONVOLUTION = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


class TokenLinear(nn.Linear):
    """A linear layer on tokens, which on CPUs with AVX-512 is computed as a convolution of width 1.

    There PyTorch gives matrix products of float32 to its BLAS and convolutions to oneDNN. With MKL as BLAS, oneDNN took
    0.6 of its time on an AMD processor with AVX-512, and 1.7 times its time on one with AVX2; others were not measured.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, in_features) to (B, N, out_features)."""
        return _linear(tokens, self.weight, self.bias)


def _linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` of tokens (B, N, C), see `TokenLinear`."""
    on_cpu = tokens.device.type == "cpu" and tokens.dtype == torch.float32
    # a compiler makes its own choice
    if not (BY_CONVOLUTION and on_cpu) or torch.compiler.is_compiling():
        return F.linear(tokens, weight, bias)
    # (B, C, N, 1) in channels-last memory, where a token is a pixel: nothing is copied
    pixels = tokens.unsqueeze(2).permute(0, 3, 1, 2)
    return F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).squeeze(2)


class ConditionedLinear(nn.Linear):
    """A linear layer on ``[token, condition]`` that projects the condition once instead of once per token.

    ``W [x_n; f] + b = W_x x_n + W_f f + b``: equal to repeating the condition on every token, at 1 / N of its cost.

    Args:
        token_features: Width of a token, first in the concatenation.
        condition_features: Width of the condition, after it; 0 for a plain layer.
        out_features: Width of the result.
    """

    def __init__(self, token_features: int, condition_features: int, out_features: int) -> None:
        super().__init__(token_features + condition_features, out_features)
        self.token_features = token_features

    def forward(self, tokens: Tensor, condition: Tensor | None = None) -> Tensor:
        """Apply the layer.

        Args:
            tokens: (B or 1, N, token_features).
            condition: (B, condition_features), if the layer has them.

        Returns:
            (B, N, out_features).
        """
        if condition is None:
            return _linear(tokens, self.weight, self.bias)
        projected = F.linear(condition, self.weight[:, self.token_features :], self.bias)
        return _linear(tokens, self.weight[:, : self.token_features]) + projected[:, None]


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: float) -> Tensor:
    """Multi-head softmax attention of (B, N, H) projections; heads are concatenated again."""
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """Vertices attend to joints: without an output projection, added to the vertex tokens.

    Args:
        hidden: Width of the tokens.
        heads: Attention heads.
        dropout: Of the attention probabilities.
    """

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = TokenLinear(hidden, hidden)
        self.key_value = TokenLinear(hidden, 2 * hidden)

    def forward(self, vertices: Tensor, joints: Tensor) -> Tensor:
        """Vertex tokens (B, 195, H) updated by joint tokens (B, 21, H); returns (B, 195, H)."""
        key, value = self.key_value(joints).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        return vertices + _attend(self.query(vertices), key, value, self.heads, dropout)


class EncoderLayer(nn.Module):
    """One BERT layer: self-attention and a two-layer network, each added and then normalised.

    Args:
        hidden: Width of the tokens.
        heads: Attention heads.
        feedforward: Width inside the two-layer network.
        dropout: Of the two residual branches.
        attention_dropout: Of the attention probabilities.
    """

    def __init__(self, hidden: int, heads: int, feedforward: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.query_key_value = TokenLinear(hidden, 3 * hidden)
        self.attention_out = TokenLinear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps=NORM_EPS)
        self.expand = TokenLinear(hidden, feedforward)
        self.contract = TokenLinear(feedforward, hidden)
        self.output_norm = nn.LayerNorm(hidden, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, H) to tokens of the same shape."""
        dropout = self.attention_dropout if self.training else 0.0
        query, key, value = self.query_key_value(tokens).chunk(3, dim=-1)
        context = _attend(query, key, value, self.heads, dropout)
        tokens = self.attention_norm(self.dropout(self.attention_out(context)) + tokens)
        return self.output_norm(self.dropout(self.contract(F.gelu(self.expand(tokens)))) + tokens)


class AttentionBlock(nn.Module):
    """Embedding, cross-attention of vertices to joints, self-attention among vertices, readout.

    Joint tokens are only keys and values; the block passes on their embeddings unchanged.

    Args:
        in_features: Width of the incoming tokens.
        condition_features: Width of the image feature that joins every token; 0 for none.
        hidden: Width inside the block.
        out_features: Width of the outgoing tokens.
        num_joints: Tokens that stand for joints; they come first.
        num_vertices: Tokens that stand for vertices.
        layers: BERT layers.
        heads: Attention heads; divides ``hidden``.
        feedforward: Width inside the BERT layers' two-layer networks.
        dropout: Of embeddings and residual branches.
        attention_dropout: Of the attention probabilities.
        activation_checkpointing: Compute the BERT layers again in the backward pass, dropout included, instead of
            keeping what they computed.
    """

    def __init__(
        self,
        in_features: int,
        condition_features: int,
        hidden: int,
        out_features: int,
        *,
        num_joints: int,
        num_vertices: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
        attention_dropout: float,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        if hidden % heads:
            raise InputError(f"the hidden width {hidden} of an attention block is not a multiple of its {heads} heads")
        self.num_joints = num_joints
        self.embedding = ConditionedLinear(in_features, condition_features, hidden)
        self.position = nn.Parameter(torch.empty(num_joints + num_vertices, hidden))
        self.dropout = nn.Dropout(dropout)
        self.cross_attention = CrossAttention(hidden, heads, attention_dropout)
        self.layers = nn.Sequential(
            *(EncoderLayer(hidden, heads, feedforward, dropout, attention_dropout) for _ in range(layers))
        )
        self.head = TokenLinear(hidden, out_features)
        self.residual = ConditionedLinear(in_features, condition_features, out_features)
        self.apply(_initialise)
        nn.init.normal_(self.position, std=INIT_STD)

    def encode(self, tokens: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states of joints (B, 21, H) and vertices (B, 195, H).

        Args:
            tokens: (B or 1, 216, in_features), joints first.
            condition: (B, condition_features), if the block has them.
        """
        embedded = self.dropout(self.embedding(tokens, condition) + self.position)
        joints, vertices = embedded[:, : self.num_joints], embedded[:, self.num_joints :]
        vertices = self.cross_attention(vertices, joints)
        for layer in self.layers:
            if self.activation_checkpointing:
                vertices = recompute(layer, vertices, use_reentrant=False)
            else:
                vertices = layer(vertices)
        return joints, vertices

    def read_out(self, states: Tensor, tokens: Tensor, condition: Tensor | None = None) -> Tensor:
        """Outgoing tokens (B, N, out_features): a linear head on the states plus a linear map of incoming tokens."""
        return self.head(states) + self.residual(tokens, condition)

    def forward(self, tokens: Tensor, condition: Tensor | None = None) -> Tensor:
        """Tokens (B or 1, 216, in_features) and condition to tokens (B, 216, out_features)."""
        return self.read_out(torch.cat(self.encode(tokens, condition), dim=1), tokens, condition)


class AttentionDecoder(nn.Module):
    """Image feature to the mean and the log-variance of every vertex of the hand.

    Args:
        image_features: Width of the image feature.
        template_joints: (21, 3) joints of the template hand, wrist at the origin, metres.
        template_vertices: (195, 3) coarse vertices of the same hand.
        upsampling: (778, 195) matrix that interpolates the full mesh from the coarse one.
        hidden: Width of each block.
        layers: BERT layers in each block.
        heads: Attention heads in each block.
        feedforward_ratio: Width of the BERT layers' two-layer networks relative to ``hidden``.
        dropout: Of embeddings and residual branches.
        attention_dropout: Of the attention probabilities. Where attention has no fused kernel with dropout (CPUs),
            0 makes small decoders markedly faster.
        activation_checkpointing: See `AttentionBlock`.
        initial_scale: Standard deviation of a vertex coordinate before training, metres.
    """

    tokens: Tensor

    def __init__(
        self,
        image_features: int,
        template_joints: Tensor,
        template_vertices: Tensor,
        upsampling: Tensor,
        *,
        hidden: Sequence[int] = (1024, 256, 64),
        layers: int = 4,
        heads: int = 4,
        feedforward_ratio: int = 4,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_checkpointing: bool = False,
        initial_scale: float = 0.02,
    ) -> None:
        super().__init__()
        if not hidden:
            raise InputError("the decoder needs at least one block: hidden is empty")
        self.num_joints = len(template_joints)
        self.register_buffer("tokens", torch.cat([template_joints, template_vertices])[None], persistent=False)
        outs = [*(width // 2 for width in hidden[:-1]), 3]
        self.blocks = nn.ModuleList(
            AttentionBlock(
                in_features,
                image_features if position == 0 else 0,
                width,
                out_features,
                num_joints=self.num_joints,
                num_vertices=len(template_vertices),
                layers=layers,
                heads=heads,
                feedforward=feedforward_ratio * width,
                dropout=dropout,
                attention_dropout=attention_dropout,
                activation_checkpointing=activation_checkpointing,
            )
            for position, (in_features, width, out_features) in enumerate(
                zip([3, *outs[:-1]], hidden, outs, strict=True)
            )
        )
        self.log_variance_head = nn.Linear(hidden[-1], 3)
        _initialise(self.log_variance_head)
        nn.init.constant_(self.log_variance_head.bias, 2 * math.log(initial_scale))
        # The paper's code starts from random matrices, which first have to learn what a hand's surface is. An
        # interpolation of neighbouring coarse vertices gives a smooth mesh and sensible variances from the start.
        self.upsampling = _upsampler(upsampling)
        self.upsampling_log_variance = _upsampler(upsampling)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Decode a mesh.

        Args:
            feature: (B, image_features).

        Returns:
            Mean (B, 778, 3), metres, and log-variance (B, 778, 3) of log square metres; float32 also under autocast.
        """
        tokens: Tensor = self.tokens
        condition: Tensor | None = feature
        inner: list[AttentionBlock]
        last: AttentionBlock
        *inner, last = self.blocks  # type: ignore[assignment]
        for block in inner:
            tokens, condition = block(tokens, condition), None
        _, vertices = last.encode(tokens, condition)
        # half precision would round a vertex 10 cm from the wrist by up to a quarter of a millimetre
        with torch.autocast(feature.device.type, enabled=False):
            vertices, tokens = vertices.float(), tokens[:, self.num_joints :].float()
            mean = last.read_out(vertices, tokens, None if condition is None else condition.float())
            log_variance = self.log_variance_head(vertices)
            return self.upsampling(mean.mT).mT, self.upsampling_log_variance(log_variance.mT).mT


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)


def _upsampler(matrix: Tensor) -> nn.Linear:
    """A learnable linear layer over the vertex axis that starts as the given interpolation."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0])
    with torch.no_grad():
        layer.weight.copy_(matrix)
        layer.bias.zero_()
    return layer
