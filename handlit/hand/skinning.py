"""Linear blend skinning as two large matrix products, with the batch first and the coordinates before the vertices."""

import torch
from torch import Tensor

from handlit.hand.asset import NUM_VERTICES

#: Vertices skinned at a time. A CPU is fastest while the blended transforms of a block stay in its cache (64 hands);
#: an accelerator only needs them bounded (16,384 hands, 0.6 GB).
CPU_BLOCK = 64 * NUM_VERTICES
ACCELERATOR_BLOCK = 16384 * NUM_VERTICES


def skin(template: Tensor, basis: Tensor, weights: Tensor, features: Tensor, transforms: Tensor) -> Tensor:
    """Pose points of a mesh.

    Args:
        template: (3P,) rest points, coordinate by coordinate.
        basis: (K, 3P) what each feature adds to them.
        weights: (16, P) skinning weights.
        features: (K, n) of each hand.
        transforms: (12, 16, n) rows of the 3x4 transforms of each joint.

    Returns:
        (n, P, 3) posed points.
    """
    if torch.compiler.is_compiling():
        # the compiler fuses the blocks away
        return _skin_block(template, basis, weights, features, transforms)
    n, points = features.shape[-1], weights.shape[-1]
    size = max((CPU_BLOCK if features.device.type == "cpu" else ACCELERATOR_BLOCK) // points, 1)
    parts = zip(features.split(size, -1), transforms.split(size, -1), strict=True)
    blocks = (_skin_block(template, basis, weights, *part) for part in parts)
    if transforms.requires_grad:
        return torch.cat(list(blocks))
    posed = features.new_empty(n, points, 3)
    for target, block in zip(posed.split(size), blocks, strict=True):
        target.copy_(block)
    return posed


def _skin_block(template: Tensor, basis: Tensor, weights: Tensor, features: Tensor, transforms: Tensor) -> Tensor:
    """`skin` in one piece."""
    n, points = features.shape[-1], weights.shape[-1]
    rest = torch.addmm(template, features.mT, basis).view(n, 3, 1, points)
    blend = (transforms.permute(2, 0, 1).reshape(n * 12, 16) @ weights).view(n, 3, 4, points)
    # unbind and not indices: its backward writes one tensor, where each index would write a whole one of zeros
    along_x, along_y, along_z, offset = blend.unbind(2)
    x, y, z = rest.unbind(1)
    return offset.addcmul(along_x, x).addcmul_(along_y, y).addcmul_(along_z, z).mT
