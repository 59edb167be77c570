"""Where the joints are in an image: a Gaussian for each, and whether the image shows it.

A heat map per joint is read by its mean (integral regression: differentiable, and finer than its cells); how far
off that may be is learned from what the image shows there.

References:
    Sun et al., "Integral Human Pose Regression", ECCV 2018, https://arxiv.org/abs/1711.08229 (means of heat maps);
    Kumar et al., "LUVLi Face Alignment", CVPR 2020, https://arxiv.org/abs/2004.02980 (locations, covariances and
    visibilities learned by one likelihood).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from handlit.errors import check_number
from handlit.skeleton import NUM_JOINTS

#: Variance of a joint that is anywhere in a cell, squared cells.
_CELL_VARIANCE = 1 / 12


@dataclass(frozen=True)
class Keypoints:
    """Joints in the crops of a batch.

    Attributes:
        mean: (B, 21, 2) pixels.
        scale_tril: (B, 21, 2, 2) Cholesky factors of the covariances, pixels.
        seen_logit: (B, 21) of the probability that the image shows the joint.
        heat: (B, 21, h, w) logits of the cells that the joint may be in.
        cell: (2,) width and height of a cell, pixels.
        features: (B, 21, C) of what the image shows at each joint: the mean over its cells.
    """

    mean: Tensor
    scale_tril: Tensor
    seen_logit: Tensor
    heat: Tensor
    cell: Tensor
    features: Tensor

    @property
    def scale(self) -> Tensor:
        """(B, 21) standard deviation per coordinate, pixels: the root of the mean variance."""
        return (0.5 * self.scale_tril.square().sum((-1, -2))).sqrt()

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density (B, 21), nats, of pixels (B, 21, 2)."""
        log_prob: Tensor = MultivariateNormal(self.mean, scale_tril=self.scale_tril, validate_args=False).log_prob(
            points
        )
        return log_prob

    def cell_log_prob(self, points: Tensor) -> Tensor:
        """Log-probability (B, 21), nats, of the cells around pixels (B, 21, 2), each weighted by how near it is.

        The weights are those of bilinear interpolation, so that the likeliest map has its mean at the point. A point
        outside the crop is taken to its edge.
        """
        height, width = self.heat.shape[-2:]
        place = (points + 0.5) / self.cell - 0.5
        columns, rows = _nearness(place[..., 0], width), _nearness(place[..., 1], height)
        share = self.heat.flatten(2).log_softmax(-1).unflatten(-1, (height, width))
        return ((share * columns[..., None, :]).sum(-1) * rows).sum(-1)


def _nearness(place: Tensor, count: int) -> Tensor:
    """Weights (..., count) of linear interpolation at places (...) among cells that are counted from 0."""
    cells = torch.arange(count, dtype=place.dtype, device=place.device)
    return (1 - (place.clamp(0, count - 1)[..., None] - cells).abs()).clamp(min=0)


class KeypointHead(nn.Module):
    """Feature maps to `Keypoints`.

    Args:
        map_channels: Channels of each map, finest first.
        pooled_channels: Width of the pooled feature.
        width: Channels inside.
    """

    def __init__(self, map_channels: Sequence[int], pooled_channels: int, width: int = 64) -> None:
        super().__init__()
        check_number("width", width, least=1, whole=True)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in map_channels)
        self.whole = nn.Linear(pooled_channels, width)
        self.merge = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.heat = nn.Conv2d(width, NUM_JOINTS, 1)
        # of each joint, from what the image shows there and how spread its heat map is: log standard deviations of x
        # and y, y's dependence on x, and whether it is seen
        self.beside = nn.Conv1d(NUM_JOINTS * (width + 2), NUM_JOINTS * 4, 1, groups=NUM_JOINTS)
        nn.init.zeros_(self.beside.weight)
        nn.init.zeros_(self.beside.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor], pooled: Tensor, image_size: int) -> Keypoints:
        """Read the maps; float32 from the heat maps on.

        Args:
            maps: (B, C_k, h_k, w_k), finest first.
            pooled: (B, C).
            image_size: Side of the crops, pixels.
        """
        finest = maps[0].shape[-2:]
        merged = self.lateral[0](maps[0])
        for lateral, features in zip(self.lateral[1:], maps[1:], strict=True):
            merged = merged + F.interpolate(lateral(features), finest, mode="bilinear", align_corners=False)
        merged = self.merge(merged + self.whole(pooled)[..., None, None])
        heat = self.heat(merged).float()
        with torch.autocast(heat.device.type, enabled=False):
            mean, deviation = heat_moments(heat)
            cell = image_size / heat.new_tensor([finest[1], finest[0]])
            features = heat.flatten(2).softmax(-1) @ merged.float().flatten(2).mT
            at_joint = torch.cat([features, deviation.log()], -1).flatten(1)[..., None]
            beside = self.beside(at_joint)[..., 0].unflatten(1, (NUM_JOINTS, 4))
            # cells are counted from the centre of the first, pixels too
            return Keypoints(cell * (mean + 0.5) - 0.5, _tril(beside, cell), beside[..., 3], heat, cell, features)


def heat_moments(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of heat maps.

    Args:
        heat: (B, J, h, w) logits.

    Returns:
        (B, J, 2) cells each, x and y, (0, 0) being the first cell's centre; the deviation is at least that of a cell.
    """
    height, width = heat.shape[-2:]
    share = heat.flatten(2).softmax(-1).unflatten(-1, (height, width))
    x = torch.arange(width, dtype=heat.dtype, device=heat.device)
    y = torch.arange(height, dtype=heat.dtype, device=heat.device)
    columns, rows = share.sum(-2), share.sum(-1)
    mean = torch.stack([(columns * x).sum(-1), (rows * y).sum(-1)], -1)
    dx, dy = x - mean[..., :1], y - mean[..., 1:]
    variance = torch.stack([(columns * dx.square()).sum(-1), (rows * dy.square()).sum(-1)], -1)
    return mean, (variance + _CELL_VARIANCE).sqrt()


def _tril(beside: Tensor, cell: Tensor) -> Tensor:
    """Cholesky factors (..., 2, 2), pixels, of numbers (..., 4); deviations stay within a factor of 20 of a cell."""
    x, y = ((3 * (beside[..., :2] / 3).tanh()).exp() * cell).unbind(-1)
    return torch.stack([x, torch.zeros_like(x), beside[..., 2] * cell[1], y], -1).unflatten(-1, (2, 2))
