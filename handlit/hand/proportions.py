"""Bones longer or shorter than shape coefficients make them: ratios of lengths, and the skin that follows them.

Ratios are listed as `skeleton.BONES`: for each finger, thumb to pinky, the bone from the wrist and the three phalanges,
the last one up to the tip.
"""

import torch
from torch import Tensor

from handlit.skeleton import BONES, FINGERS, KINEMATIC_FINGERS

#: For each finger in MANO's order, the places of its four bones in `BONES`.
_CHAINS = [[4 * FINGERS.index(finger) + i for i in range(4)] for finger in KINEMATIC_FINGERS]
NUM_BONES = len(BONES)


def stretched_rest(rest: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Rest joints with other bone lengths, and how the skin of each joint's bone is stretched.

    Args:
        rest: (3, 16, n) rest joints in MANO's order.
        ratios: (n, 20) of each bone's length to its own.

    Returns:
        Rest joints (3, 16, n) and stretches (3, 3, 16, n), symmetric: along its bone a joint's part of the mesh is as
        much longer as the bone, across it stays. The palm, which five bones share, follows their mean along the
        direction to the middle finger.
    """
    by_chain = ratios.mT[torch.tensor(_CHAINS, device=ratios.device)]  # (5, 4, n)
    chains = rest[:, 1:].unflatten(1, (5, 3))
    previous, position = rest[:, :1], rest[:, :1]
    joints, bones = [], []
    for i in range(3):
        bone = chains[:, :, i] - previous
        position = position + bone * by_chain[:, i]
        previous = chains[:, :, i]
        joints.append(position)
        bones.append(bone)
    # the last phalanx has no joint at its end: it lies along the one before
    directions = torch.stack([*bones[1:], bones[2]], 2).flatten(1, 2)
    palm = (chains[:, 1:2, 0] - rest[:, :1], by_chain[:, 0].mean(0, keepdim=True))
    axes = torch.cat((palm[0], directions), 1)
    axes = axes / axes.norm(dim=0, keepdim=True)
    longer = torch.cat((palm[1], by_chain[:, 1:].flatten(0, 1))) - 1
    identity = torch.eye(3, dtype=rest.dtype, device=rest.device)[:, :, None, None]
    stretch = identity + longer * axes[:, None] * axes[None]
    return torch.cat((rest[:, :1], torch.stack(joints, 2).flatten(1, 2)), 1), stretch
