"""The MHEntropy network: an image feature, a deterministic head, and a flow over the finger pose.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023;
    https://github.com/GloryyrolG/MHEntropy at commit 2a4c775.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from handlit.distributions.flow import FlowDistribution
from handlit.distributions.realnvp import ConditionalRealNVP
from handlit.distributions.spline_flow import ConditionalSplineFlow
from handlit.errors import check_choice, check_number
from handlit.models.backbones import Backbone

_FINGERS, _ORIENT, _BETAS = 45, 3, 10
_FLOWS: dict[str, type[ConditionalRealNVP] | type[ConditionalSplineFlow]] = {
    "realnvp": ConditionalRealNVP,
    "spline": ConditionalSplineFlow,
}


@dataclass
class MHEntropyOutput:
    """Output of the network for a batch of images.

    Attributes:
        flow: Over the finger coefficients, or over them, global rotation and shape.
        orient: (B, 3) global rotation, axis-angle, radians.
        betas: (B, 10) shape coefficients.
        view: (B, 3) weak perspective ``(s, tx, ty)``, see `distributions.posed_hands.PosedHands`.
    """

    flow: FlowDistribution
    orient: Tensor
    betas: Tensor
    view: Tensor


class MHEntropyNetwork(nn.Module):
    """Image to a distribution over hand poses, a shape and a camera.

    Args:
        backbone: Image network; the paper's is ResNet-50.
        features: Width of the image feature, the condition of the flow and the input of the deterministic head.
        hidden: Widths inside the flow's networks.
        steps: Pairs of couplings in the flow.
        stochastic: ``"fingers"``: the flow draws the finger pose, as published; the palm is then the same in every
            hypothesis. ``"all"``: it also draws offsets of global rotation and shape from the deterministic head's.
        pixel_range: ``"unit"``: pixels from -1 to 1, as published. ``"backbone"``: the statistics of the backbone's
            own training.
        flow: ``"realnvp"``: affine couplings, as published. ``"spline"``: rational-quadratic splines in their place.
    """

    def __init__(
        self,
        backbone: Backbone,
        features: int = 512,
        hidden: Sequence[int] = (512, 512),
        steps: int = 6,
        stochastic: Literal["fingers", "all"] = "fingers",
        pixel_range: Literal["unit", "backbone"] = "unit",
        flow: Literal["realnvp", "spline"] = "realnvp",
    ) -> None:
        super().__init__()
        for name, value in {"features": features, "steps": steps, "hidden": min(hidden, default=0)}.items():
            check_number(name, value, least=1, whole=True)
        check_choice("stochastic", stochastic, ("fingers", "all"))
        check_choice("pixel_range", pixel_range, ("unit", "backbone"))
        check_choice("flow", flow, _FLOWS)
        self.backbone = backbone
        self.pixel_range = pixel_range
        self.feature = nn.Linear(backbone.channels, features)
        self.det_head = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, 16))
        drawn = _FINGERS if stochastic == "fingers" else _FINGERS + _ORIENT + _BETAS
        self.flow = _FLOWS[flow](drawn, features, hidden, steps)

    def normalise(self, images: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) uint8 RGB to the network's range, float32."""
        if self.pixel_range == "backbone":
            return self.backbone.normalise(images)
        return images.contiguous(memory_format=self.backbone.memory_format).float() / 127.5 - 1

    def forward(self, images: Tensor) -> MHEntropyOutput:
        """Predict hands from images (B, 3, H, W), from `normalise`."""
        pooled = self.backbone(images).pooled
        # autocast would round the camera by half a pixel, and the condition of the flow
        with torch.autocast(pooled.device.type, enabled=False):
            feature = self.feature(pooled.to(self.feature.weight.dtype))
            orient, betas, log_magnification, offset = self.det_head(feature).split((3, 10, 1, 2), dim=1)
            view = torch.cat([log_magnification.exp(), offset], dim=1)
            return MHEntropyOutput(self.flow(feature), orient, betas, view)
