"""The method `Lift` as tensors in and tensors out."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from handlit.distributions.lifted_hands import NUM_COORDINATES, LiftedHands, Noise
from handlit.methods.graph import BATCH, DRAWN, HYPOTHESES, HandGraph, Port, ports_of, tensors_of

#: Numbers that a hypothesis is made of: which orientation, its turn, coordinates, place, joint definitions.
_SIZES = (1, 3, NUM_COORDINATES, 3, 63)


class LiftGraph(HandGraph):
    """2D joints and noise to the point estimate, its scales and hypotheses.

    Args:
        method: The `Lift`.
    """

    sampling = "noise is standard normal, of each hypothesis its own"
    inputs = (
        Port("joints_2d", (BATCH, 21, 2), "joints of a right hand, pixels; a left hand is mirrored in x before"),
        Port("confidence", (BATCH, 21), "of each joint, 0 to 1; 0: not found"),
        Port("intrinsics", (BATCH, 3, 3), "pinhole camera of the same pixels, without skew"),
        Port("noise", (BATCH, HYPOTHESES, sum(_SIZES)), "standard normal numbers, those of each hypothesis"),
    )

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.method: Any = method
        with torch.no_grad():
            prediction = method.predict(method.infer(self.example(1, 1)[:3]))  # type: ignore[operator]
        self.outputs = (*ports_of(prediction), *DRAWN[:2])

    @override
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs and outputs as stated."""
        hands: LiftedHands = self.method.infer(inputs[:3])
        # hypotheses first, as `LiftedHands` has them
        share, turn, hand, place, definition = inputs[3].transpose(0, 1).split(_SIZES, -1)
        uniform = 0.5 + 0.5 * torch.erf(share[..., 0] / math.sqrt(2))
        drawn = hands.push(Noise(uniform, turn, hand, place, definition.unflatten(-1, (21, 3))))
        return (*tensors_of(self.method.predict(hands)), drawn.joints_root, drawn.joints_2d)

    @override
    def example(self, batch: int, hypotheses: int) -> tuple[Tensor, ...]:
        """Points around the middle of an image, of which some are not found."""
        generator = torch.Generator().manual_seed(0)
        joints = 320 + 40 * torch.randn(batch, 21, 2, generator=generator)
        confidence = (torch.rand(batch, 21, generator=generator) - 0.1).clamp(min=0)
        intrinsics = torch.tensor([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]).expand(batch, 3, 3)
        noise = torch.randn(batch, hypotheses, sum(_SIZES), generator=generator)
        return joints, confidence, intrinsics.clone(), noise
