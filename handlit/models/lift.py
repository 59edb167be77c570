"""The network that lifts 2D joints to a distribution over hands.

Four distributions in a row, each conditioned on the ones before: the global rotation (a mixture on SO(3)), the hand (a
flow over joint angles, shape and proportions), its place and what is left between the model's joints and the labels'
(Gaussians).

References:
    Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery", ICCV 2021, https://arxiv.org/abs/2108.11944
    (a conditional flow over model parameters whose centre is trained as a point estimate);
    Sengupta et al., "HuManiFlow", CVPR 2023, https://arxiv.org/abs/2305.06968 (rotation first, the rest given it).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.distributions.flow import (
    ConditionalFlow,
    ConditionedAffine,
    ConditionedMLP,
    FlowDistribution,
    Shuffle,
)
from handlit.distributions.lifted_hands import NUM_COORDINATES, Gaussian
from handlit.distributions.realnvp import AffineCoupling
from handlit.distributions.rotations import RotationMixture
from handlit.errors import check_number
from handlit.geometry.viewing_ray import HandView
from handlit.hand.kinematics import columns_to_matrix
from handlit.skeleton import NUM_JOINTS

_INPUTS = 2 * NUM_JOINTS + NUM_JOINTS + 1


class _Residual(nn.Module):
    """``x + W2 a(W1 norm(x))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(self.norm(x))))


@dataclass(frozen=True)
class LiftOutput:
    """Distributions for a batch of hands, in the frame and units of a `HandView`; see `LiftedHands`.

    Attributes:
        view: The joints that were seen, and from where.
        confidence: (B, 21), 0 for a joint that was not.
        feature: (B, C).
        rotation: Of the hand in the virtual camera's axes.
        network: That draws the rest.
    """

    view: HandView
    confidence: Tensor
    feature: Tensor
    rotation: RotationMixture
    network: "LiftNetwork"

    def hands(self, rotation: Tensor) -> FlowDistribution:
        """Distribution over the (..., B, 57) coordinates of hands of these rotations (..., B, 3, 3)."""
        flat = torch.cat([self.view.points, torch.zeros_like(self.view.points[..., :1])], -1)
        # what was seen, in the hand's own axes: how far fingers bend is to be read there
        turned = torch.cat([(flat @ rotation).flatten(-2), rotation.flatten(-2)], -1)
        network = self.network
        context = network.context(turned, network.context.project(self.feature))
        return network.flow((self.feature, F.silu(context)))

    def camera(self, gap: Tensor) -> Gaussian:
        """`LiftedHands.camera`."""
        mean, log_scale = self._beside(self.network.place, gap).chunk(2, -1)
        return Gaussian(0.02 * mean, 3 * (log_scale / 3).tanh() + _LOG_PLACE)

    def definition(self, gap: Tensor) -> Gaussian:
        """`LiftedHands.definition`."""
        mean, log_scale = self._beside(self.network.offset, gap).unflatten(-1, (NUM_JOINTS, 6)).chunk(2, -1)
        return Gaussian(0.003 * mean, 3 * (log_scale / 3).tanh() + _LOG_DEFINITION)

    def _beside(self, network: ConditionedMLP, gap: Tensor) -> Tensor:
        inputs = torch.cat([10 * gap.flatten(-2), self.confidence.expand(*gap.shape[:-1])], -1)
        return network(inputs, network.project(self.feature))


class LiftNetwork(nn.Module):
    """2D joints, their confidences and which are missing to a distribution over hands.

    Args:
        width: Of the encoder.
        blocks: Residual blocks of the encoder.
        features: C, width of the condition.
        hidden: Width inside the flow's networks.
        context: Width of what a drawn rotation adds to the condition.
        couplings: Of the flow.
        components: Orientations of the mixture.

    Attributes:
        settings: The arguments by name.
    """

    start: Tensor

    def __init__(
        self,
        width: int = 384,
        blocks: int = 3,
        features: int = 128,
        hidden: int = 128,
        context: int = 64,
        couplings: int = 8,
        components: int = 6,
    ) -> None:
        super().__init__()
        settings = {"width": width, "blocks": blocks, "features": features, "hidden": hidden}
        settings |= {"context": context, "couplings": couplings}
        for name, value in {**settings, "components": components}.items():
            check_number(name, value, least=1, whole=True)
        self.settings = {**settings, "components": components}
        # orientations that start apart from each other
        start = torch.randn(components, 6, generator=torch.Generator().manual_seed(0))
        self.register_buffer("start", start)
        self.inner = nn.Linear(_INPUTS, width)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(blocks)), nn.LayerNorm(width))
        self.feature = nn.Linear(width, features)
        self.orientation = nn.Sequential(
            nn.Linear(width, width // 2), nn.SiLU(), nn.Linear(width // 2, components * 13)
        )
        self.context = ConditionedMLP(3 * NUM_JOINTS + 9, features, (hidden,), context)
        condition = features + context
        steps: list[AffineCoupling | Shuffle | ConditionedAffine] = []
        for i in range(couplings):
            coupling = AffineCoupling(NUM_COORDINATES, condition, (hidden, hidden), freeze_first=bool(i % 2))
            steps += [coupling, Shuffle(NUM_COORDINATES, i)] if i % 2 else [coupling]
        self.flow = ConditionalFlow(
            NUM_COORDINATES, [*steps, ConditionedAffine(NUM_COORDINATES, condition, 2 * hidden)]
        )
        self.place = ConditionedMLP(3 * NUM_JOINTS, features, (hidden,), 6)
        self.offset = ConditionedMLP(3 * NUM_JOINTS, features, (hidden,), 6 * NUM_JOINTS)

    def forward(self, view: HandView, confidence: Tensor) -> LiftOutput:
        """Predict distributions; float32 under autocast too.

        Args:
            view: Joints as a virtual camera sees them.
            confidence: (B, 21) in [0, 1]; taken as 0 where the view knows no joint.
        """
        with torch.autocast(view.points.device.type, enabled=False):
            confidence = torch.where(view.known, confidence, 0.0)
            inputs = torch.cat([2 * view.points.flatten(1), 2 * confidence - 1, view.size.log()[:, None] + 1.3], 1)
            hidden = self.blocks(self.inner(inputs))
            return LiftOutput(view, confidence, self.feature(hidden), self._rotation(hidden), self)

    def _rotation(self, hidden: Tensor) -> RotationMixture:
        values = self.orientation(hidden).unflatten(1, (-1, 13))
        logits, columns, log_scale, below = values.split((1, 6, 3, 3), -1)
        scale = torch.diag_embed((3 * (log_scale / 3).tanh() - 1).exp())
        row, column = torch.tril_indices(3, 3, -1, device=scale.device)
        scale[..., row, column] = 0.3 * below
        return RotationMixture(logits[..., 0], columns_to_matrix(columns + self.start), scale)


#: Spreads that the network starts from: of places, shares of the box; of joint definitions, metres.
_LOG_PLACE, _LOG_DEFINITION = -4.0, -6.0
