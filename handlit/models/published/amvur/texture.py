"""Vertex colours of AMVUR's released code: its sampling of feature maps and its texture block."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from handlit.hand.asset import NUM_VERTICES
from handlit.models.attention_decoder import AttentionBlock

#: Vertices that the texture block treats as joints: a rule of the mesh decoder that the released code keeps here.
NUM_KEYS = 21
HIDDEN = 216
HEADS = 12


class ReferenceTexture(nn.Module):
    """Feature maps and image points of the vertices to vertex colours.

    Args:
        map_channels: Channels of each map.
    """

    def __init__(self, map_channels: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        self.block = AttentionBlock(
            sum(map_channels),
            0,
            HIDDEN,
            3,
            num_joints=NUM_KEYS,
            num_vertices=NUM_VERTICES - NUM_KEYS,
            layers=4,
            heads=HEADS,
            feedforward=HIDDEN,
            dropout=0.0,
            attention_dropout=0.0,
        )

    def forward(self, maps: Sequence[Tensor], points: Tensor) -> Tensor:
        """Colours of the vertices.

        Args:
            maps: Each (B, C, h, w).
            points: (B, 778, 2), used as pixels of every map whatever its size, as released.

        Returns:
            (B, 778, 3) RGB in ImageNet's normalised units, unbounded.
        """
        return self.block(torch.cat([sample_map(each, points) for each in maps], dim=2))


def sample_map(features: Tensor, points: Tensor) -> Tensor:
    """Bilinear sampling with the released code's borders.

    Inside the map and beyond its high borders this is the usual interpolation with repeated border pixels; at the low
    borders the two weights of an axis sum to 2.

    Args:
        features: (B, C, h, w).
        points: (B, N, 2) x and y, pixels of the map, from 0 at its edge.

    Returns:
        (B, N, C).
    """
    batch, channels, height, width = features.shape
    columns, column_weights = _neighbours(points[..., 0], width)
    rows, row_weights = _neighbours(points[..., 1], height)
    flat = features.flatten(2)
    sampled = flat.new_zeros(batch, channels, points.shape[1])
    for row, row_weight in zip(rows, row_weights, strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            at = (row * width + column)[:, None].expand(-1, channels, -1)
            sampled = sampled + flat.gather(2, at) * (row_weight * column_weight)[:, None]
    return sampled.mT


def _neighbours(position: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Indices and weights of the two neighbours along one axis."""
    position = position - 0.5
    # clamped before the conversion too: integers have no infinity
    floor = position.floor().clamp(-1, size)
    low, high = floor.clamp(0, size - 1), (floor + 1).clamp(0, size - 1)
    same = low == high
    weight_high = position - torch.where(same & (low == 0), low - 1, low)
    weight_low = torch.where(same, high + 1, high) - position
    return (low.long(), high.long()), (weight_low, weight_high)
