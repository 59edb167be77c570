"""The methods `Lift` and `PixelLift` as tensors in and tensors out."""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from handlit.distributions.lifted_hands import NUM_COORDINATES, LiftedHands, Noise
from handlit.methods.graph import BATCH, DRAWN, HYPOTHESES, HandGraph, Port, ports_of, tensors_of
from handlit.types import HandPrediction

#: Numbers that a hypothesis is made of: which orientation, its turn, coordinates, place, joint definitions.
_SIZES = (1, 3, NUM_COORDINATES, 3, 63)
_NOISE = Port("noise", (BATCH, HYPOTHESES, sum(_SIZES)), "standard normal numbers, those of each hypothesis")


class LiftedGraph(HandGraph):
    """What is seen, and noise, to the point estimate, its scales and hypotheses.

    Args:
        method: The `Lift` or `PixelLift`.
    """

    sampling = "noise is standard normal, of each hypothesis its own"

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.method: Any = method
        with torch.no_grad():
            prediction = self.lifted(*self.example(1, 1)[:-1])[1]
        self.outputs = (*ports_of(prediction), *DRAWN[:2])

    @abstractmethod
    def lifted(self, *seen: Tensor) -> tuple[LiftedHands, HandPrediction]:
        """Distribution over hands and prediction for the inputs but the noise."""

    @override
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs and outputs as stated."""
        hands, prediction = self.lifted(*inputs[:-1])
        # hypotheses first, as `LiftedHands` has them
        share, turn, hand, place, definition = inputs[-1].transpose(0, 1).split(_SIZES, -1)
        uniform = 0.5 + 0.5 * torch.erf(share[..., 0] / math.sqrt(2))
        drawn = hands.push(Noise(uniform, turn, hand, place, definition.unflatten(-1, (21, 3))))
        return (*tensors_of(prediction), drawn.joints_root, drawn.joints_2d)


class LiftGraph(LiftedGraph):
    """2D joints and noise to hands; see `LiftedGraph`."""

    inputs = (
        Port("detected_2d", (BATCH, 21, 2), "joints of a right hand, pixels; a left hand is mirrored in x before"),
        Port("confidence", (BATCH, 21), "of each joint, 0 to 1; 0: not found"),
        Port("intrinsics", (BATCH, 3, 3), "pinhole camera of the same pixels, without skew"),
        _NOISE,
    )

    @override
    def lifted(self, *seen: Tensor) -> tuple[LiftedHands, HandPrediction]:
        hands = self.method.infer(seen)
        return hands, self.method.predict(hands)

    @override
    def example(self, batch: int, hypotheses: int) -> tuple[Tensor, ...]:
        """Points around the middle of an image, of which some are not found."""
        generator = torch.Generator().manual_seed(0)
        joints = 320 + 40 * torch.randn(batch, 21, 2, generator=generator)
        confidence = (torch.rand(batch, 21, generator=generator) - 0.1).clamp(min=0)
        intrinsics = torch.tensor([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]).expand(batch, 3, 3)
        return joints, confidence, intrinsics.clone(), _noise(batch, hypotheses, generator)


class PixelLiftGraph(LiftedGraph):
    """Crops, their cameras and noise to hands; see `LiftedGraph`."""

    def __init__(self, method: nn.Module, image_size: int) -> None:
        self.image_size = image_size
        meaning = "RGB crop of a right hand, 0 to 255; a left hand is mirrored in x before, and the answer after"
        self.inputs = (
            Port("image", (BATCH, 3, image_size, image_size), meaning),
            Port("intrinsics", (BATCH, 3, 3), "pinhole camera of the crop's pixels, without skew"),
            _NOISE,
        )
        super().__init__(method)

    @override
    def lifted(self, *seen: Tensor) -> tuple[LiftedHands, HandPrediction]:
        output = self.method.infer(self.method.of_crops(*seen))
        return output.hands, self.method.predict(output)

    @override
    def example(self, batch: int, hypotheses: int) -> tuple[Tensor, ...]:
        """Noise as images, whose camera looks at their middle."""
        generator, side = torch.Generator().manual_seed(0), self.image_size
        image = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, generator=generator)
        middle = (side - 1) / 2
        intrinsics = torch.tensor([[2.0 * side, 0.0, middle], [0.0, 2.0 * side, middle], [0.0, 0.0, 1.0]])
        return image, intrinsics.repeat(batch, 1, 1), _noise(batch, hypotheses, generator)


def _noise(batch: int, hypotheses: int, generator: torch.Generator) -> Tensor:
    return torch.randn(batch, hypotheses, sum(_SIZES), generator=generator)
