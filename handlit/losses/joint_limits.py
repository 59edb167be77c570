"""Anatomical limits of the finger joints, on MANO's axis-angle components."""

import math

import torch
from torch import Tensor, nn

_FINGER = {
    "1": ((-5, -10, -10), (5, 10, 100)),
    "2": ((-5, -5, -10), (5, 5, 100)),
    "3": ((-5, -5, -10), (5, 5, 100)),
}
#: Lowest and highest rotation about x, y and z of each joint in the order of a MANO pose, degrees.
_LIMITS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    **{f"index_{joint}": limits for joint, limits in _FINGER.items()},
    **{f"middle_{joint}": limits for joint, limits in _FINGER.items()},
    "pinky_1": ((-20, -10, -10), (5, 20, 100)),
    "pinky_2": _FINGER["2"],
    "pinky_3": _FINGER["3"],
    **{f"ring_{joint}": limits for joint, limits in _FINGER.items()},
    "thumb_1": ((0, -22.5, -22.5), (90, 33.75, 22.5)),
    "thumb_2": ((-5, -5, -22.5), (5, 5, 22.5)),
    "thumb_3": ((-5, -5, -20), (5, 5, 100)),
}
#: Bending (about z) weighs twice.
_AXIS_WEIGHTS = (1.0, 1.0, 2.0)


class JointLimits(nn.Module):
    """Excess of finger rotations over their anatomical range.

    AMVUR's twist-splay-bend prior with the limits of its released code: the excess of each raw axis-angle component
    over its limits, bending weighted twice, averaged over joints and axes. The global rotation, which that code holds
    fixed and counts as a sixteenth joint, has no limits here.

    References:
        Jiang et al., CVPR 2023, https://arxiv.org/abs/2304.14299; https://github.com/ZhehengJiangLancaster/AMVUR at
        commit 991150e.
    """

    low: Tensor
    high: Tensor
    axis_weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        low, high = zip(*_LIMITS.values(), strict=True)
        self.register_buffer("low", torch.tensor(low) * (math.pi / 180), persistent=False)
        self.register_buffer("high", torch.tensor(high) * (math.pi / 180), persistent=False)
        self.register_buffer("axis_weights", torch.tensor(_AXIS_WEIGHTS), persistent=False)

    def forward(self, finger_pose: Tensor) -> Tensor:
        """Mean excess per item.

        Args:
            finger_pose: (B, 45) axis-angle with the mean pose included, radians, MANO's joint order and frame.

        Returns:
            (B,) radians; 0 inside the limits.
        """
        pose = finger_pose.unflatten(-1, (15, 3))
        excess = (pose - self.high).clamp(min=0) + (self.low - pose).clamp(min=0)
        return (excess * self.axis_weights).flatten(1).mean(1)
