"""Comparison of a rendered hand with the image, at the pixels of that hand.

References:
    Jiang et al., CVPR 2023, https://arxiv.org/abs/2304.14299 (the photometric loss of AMVUR).
"""

import torch
from torch import Tensor

from handlit.types import HandBatch

#: Added to the squared colour difference, as in AMVUR, so that its root has a gradient at 0.
_SQUARED_MARGIN = 1e-6


def hand_pixels(batch: HandBatch) -> Tensor:
    """Pixels that may show the hand: those of the hand's mask where it is known, never those of a known object.

    Args:
        batch: Its masks are used where they are valid.

    Returns:
        (B, H, W) bool.
    """
    hand_known, object_known = (batch.valid[name][:, None, None] for name in ("hand_mask", "object_mask"))
    return (batch.hand_mask | ~hand_known) & ~(batch.object_mask & object_known)


def photometric_distance(rendered: Tensor, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean length of the colour difference over an image's masked pixels, ``sqrt(1e-6 + |I - R|^2)``.

    Other pixels are left out, not weighted by zero: a NaN there cannot reach the gradient.

    Args:
        rendered: (B, H, W, 3) RGB in [0, 1].
        image: (B, 3, H, W) uint8 RGB.
        mask: (B, H, W) bool.

    Returns:
        (B,) distance, 0 with zero gradient for an image without such a pixel; and (B,) bool, whether it has one.
    """
    target = image.permute(0, 2, 3, 1).to(rendered.dtype) / 255
    difference = torch.where(mask[..., None], rendered - target, 0)
    length = (difference.square().sum(dim=-1) + _SQUARED_MARGIN).sqrt()
    count = mask.flatten(1).sum(dim=1)
    return torch.where(mask, length, 0).flatten(1).sum(dim=1) / count.clamp(min=1), count > 0
