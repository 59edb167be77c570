"""The network that lifts 2D joints to a distribution over hands.

A feature of what was seen, and a small network for each step in which `distributions.lifted_hands` draws a hand: a
mixture on SO(3) for the global rotation, flows for shape and proportions, for the joint angles and for the place, and
Gaussians for what is left between the model's joints and the labels'. Each is conditioned on the feature and on what
the steps before leave unexplained.

References:
    Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery", ICCV 2021, https://arxiv.org/abs/2108.11944
    (a conditional flow over model parameters whose centre is trained as a point estimate);
    Sengupta et al., "HuManiFlow", CVPR 2023, https://arxiv.org/abs/2305.06968 (each joint's rotation given those of
    its parents).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.distributions.flow import ConditionedMLP, FlowDistribution
from handlit.distributions.joint_flow import JointFlow
from handlit.distributions.lifted_hands import BENDS, NUM_BUILD, NUM_UNEXPLAINED, Gaussian
from handlit.distributions.rotations import RotationMixture
from handlit.errors import check_number
from handlit.geometry.viewing_ray import HandView
from handlit.hand.kinematics import columns_to_matrix
from handlit.skeleton import NUM_JOINTS

_INPUTS = 2 * NUM_JOINTS + NUM_JOINTS + 1
#: Numbers of `turn_back`.
_TURNED = 3 * NUM_JOINTS + 9


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
    """Distributions for a batch of hands, in the frame and units of a `HandView`: `lifted_hands.LiftSteps`.

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

    def build(self, rotation: Tensor) -> FlowDistribution:
        """`LiftSteps.build`."""
        return self.network.build(self.feature, turn_back(self.view, rotation))

    def bend(self, step: int, unexplained: Tensor) -> FlowDistribution:
        """`LiftSteps.bend`."""
        inputs = torch.cat([unexplained, self.confidence.expand(*unexplained.shape[:-1], -1)], -1)
        return self.network.bends[step](self.feature, inputs)

    def place(self, gap: Tensor) -> FlowDistribution:
        """`LiftSteps.place`."""
        return self.network.place(self.feature, self._gaps(gap))

    def definition(self, gap: Tensor) -> Gaussian:
        """`LiftSteps.definition`."""
        offset = self.network.offset
        values = offset(self._gaps(gap), offset.project(self.feature))
        mean, log_scale = values.unflatten(-1, (NUM_JOINTS, 6)).chunk(2, -1)
        return Gaussian(0.003 * mean, 3 * (log_scale / 3).tanh() + _LOG_DEFINITION)

    def _gaps(self, gap: Tensor) -> Tensor:
        return torch.cat([10 * gap.flatten(-2), self.confidence.expand(*gap.shape[:-2], -1)], -1)


def turn_back(view: HandView, rotation: Tensor) -> Tensor:
    """What was seen in the axes of a hand of rotation (..., B, 3, 3), and that rotation: (..., B, 72)."""
    flat = torch.cat([view.points, torch.zeros_like(view.points[..., :1])], -1)
    return torch.cat([2 * (flat @ rotation).flatten(-2), rotation.flatten(-2)], -1)


class _Step(nn.Module):
    """Flow over some coordinates of a hand, given the feature and inputs of its own.

    Args:
        coordinates: Number of them.
        inputs: Number of inputs.
        features: C, width of the feature.
        hidden: Width inside the networks.
        context: Width of what the inputs add to the condition.
        couplings: Of its flow.
    """

    def __init__(self, coordinates: int, inputs: int, features: int, hidden: int, context: int, couplings: int) -> None:
        super().__init__()
        self.context = ConditionedMLP(inputs, features, (2 * context,), context)
        self.flow = JointFlow(coordinates, features + context, hidden, couplings)

    def forward(self, feature: Tensor, inputs: Tensor) -> FlowDistribution:
        """Distribution of batch shape (..., B) for features (B, C) and inputs (..., B, n)."""
        context = self.context(inputs, self.context.project(feature))
        return self.flow((feature, F.silu(context)))


class LiftNetwork(nn.Module):
    """2D joints, their confidences and which are missing to a distribution over hands.

    Args:
        width: Of the encoder.
        blocks: Residual blocks of the encoder.
        features: C, width of the condition.
        hidden: Width inside the steps' networks.
        context: Width of what earlier steps add to the condition.
        couplings: Of the flow of each step.
        components: Orientations of the mixture.

    Attributes:
        settings: The arguments by name.
    """

    start: Tensor

    def __init__(
        self,
        width: int = 416,
        blocks: int = 3,
        features: int = 128,
        hidden: int = 112,
        context: int = 64,
        couplings: int = 2,
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
        self.orientation = nn.Sequential(nn.Linear(width, width // 2), nn.SiLU(), nn.Linear(width // 2, components * 6))
        self.refined = ConditionedMLP(_TURNED, features, (2 * context, 2 * context), 13)
        sizes = (features, hidden, context, couplings)
        self.build = _Step(NUM_BUILD, _TURNED, *sizes)
        self.bends = nn.ModuleList(_Step(len(places), NUM_UNEXPLAINED + NUM_JOINTS, *sizes) for places in BENDS)
        self.place = _Step(3, 3 * NUM_JOINTS, *sizes)
        self.offset = ConditionedMLP(3 * NUM_JOINTS, features, (2 * context,), 6 * NUM_JOINTS)

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
            feature = self.feature(hidden)
            return LiftOutput(view, confidence, feature, self._rotation(hidden, feature, view), self)

    def _rotation(self, hidden: Tensor, feature: Tensor, view: HandView) -> RotationMixture:
        """A guess for each component, and what it should have been, read off what was seen in the guess's axes."""
        guess = columns_to_matrix(self.orientation(hidden).unflatten(1, (-1, 6)) + self.start).transpose(0, 1)
        values = self.refined(turn_back(view, guess), self.refined.project(feature)).transpose(0, 1)
        logits, columns, log_scale, below = values.split((1, 6, 3, 3), -1)
        turn = columns_to_matrix(0.3 * columns + columns.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        scale = torch.diag_embed((3 * (log_scale / 3).tanh() - 1).exp())
        row, column = torch.tril_indices(3, 3, -1, device=scale.device)
        scale[..., row, column] = 0.3 * below
        return RotationMixture(logits[..., 0], guess.transpose(0, 1) @ turn, scale)


#: Log spread of joint definitions that the network starts from, metres.
_LOG_DEFINITION = -6.0
