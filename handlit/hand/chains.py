"""Fingers as chains of rigid bones: where joints are and how their bones lie, a fraction of the layer's cost.

`HandLayer` moves finger tips with the skin; here they are the ends of rigid bones, which is a few millimetres off.
"""

import torch
from torch import Tensor, nn

from handlit.hand.layer import HandLayer
from handlit.skeleton import FINGERS, KINEMATIC_FINGERS

#: Places in MANO's order of the three joints of each finger, thumb to pinky.
_JOINTS = torch.tensor([[3 * KINEMATIC_FINGERS.index(finger) + i for i in range(3)] for finger in FINGERS])


class FingerChains(nn.Module):
    """Bones of a hand model by its shape; a module without parameters and with an empty `state_dict`.

    Args:
        hand: Layer with ``pose_space="matrix"`` and kinematic joints.
    """

    _rest: Tensor
    _directions: Tensor

    def __init__(self, hand: HandLayer) -> None:
        super().__init__()
        betas = torch.cat([torch.zeros(1, 10), torch.eye(10)])
        rest = hand.joints_only(torch.eye(3).expand(11, 15, 3, 3), betas)
        chains = torch.cat([rest[:, :1, None].expand(-1, 5, 1, 3), rest[:, 1:].unflatten(1, (5, 4))], 2)
        bones = chains.diff(dim=2)
        self.register_buffer("_rest", bones[0], persistent=False)
        self.register_buffer("_directions", (bones[1:] - bones[0]).flatten(1), persistent=False)

    def bones(self, betas: Tensor, ratios: Tensor) -> Tensor:
        """Bones of the flat hand.

        Args:
            betas: (..., 10) shape coefficients.
            ratios: (..., 20) of each bone's length to the one that the shape gives it, see `hand.proportions`.

        Returns:
            (..., 5, 4, 3) metres, thumb to pinky, from the wrist to the tip, in the asset's axes.
        """
        return (self._rest + (betas @ self._directions).unflatten(-1, (5, 4, 3))) * ratios.unflatten(-1, (5, 4, 1))

    def pose(self, bones: Tensor, fingers: Tensor) -> tuple[Tensor, Tensor]:
        """Bend the fingers.

        Args:
            bones: (..., 5, 4, 3), see `bones`.
            fingers: (..., 15, 3, 3) rotations relative to the parents, in MANO's order.

        Returns:
            Joints (..., 21, 3), wrist at the origin, metres, and the axes (..., 3, 5, 3, 3) in which the rotation of
            each finger's first, second and third joint is stated; both in the asset's axes.
        """
        turns = fingers[..., _JOINTS.to(fingers.device), :, :]  # (..., 5, 3, 3, 3)
        frames = [torch.eye(3, dtype=fingers.dtype, device=fingers.device).expand_as(turns[..., 0, :, :])]
        points = [bones[..., 0, :]]
        for i in range(3):
            frames.append(frames[-1] @ turns[..., i, :, :])
            points.append(points[-1] + (frames[-1] @ bones[..., i + 1, :, None])[..., 0])
        joints = torch.stack(points, -2).flatten(-3, -2)
        return torch.cat([torch.zeros_like(joints[..., :1, :]), joints], -2), torch.stack(frames[:3], -4)
