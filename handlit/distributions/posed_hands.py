"""A distribution over the parameters of a hand model, and its hands, as MHEntropy has it.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from handlit.distributions.flow import FlowDistribution
from handlit.geometry.bone_relative import bone_relative
from handlit.geometry.cameras import normalised_to_crop, project_weak
from handlit.hand.layer import HandLayer
from handlit.types import Hypotheses

#: Draws that scales are estimated from, with the same noise for every image: a prediction is independent of its batch.
NUM_SCALE_DRAWS = 64
_FINGERS, _ORIENT, _BETAS = 45, 3, 10


def scale_noise(features: int) -> Tensor:
    """(`NUM_SCALE_DRAWS`, 1, features) standard normal numbers, always the same."""
    return torch.randn(NUM_SCALE_DRAWS, 1, features, generator=torch.Generator().manual_seed(0))


class HandParameters(NamedTuple):
    """Parameters of hands.

    Attributes:
        fingers: (..., 45) coefficients of the hand model's principal pose components, which the mean pose is added to.
        orient: (..., 3) global rotation, axis-angle, radians.
        betas: (..., 10) shape coefficients.
    """

    fingers: Tensor
    orient: Tensor
    betas: Tensor


@dataclass(frozen=True)
class PosedHands:
    """Hands of a hand model whose pose is drawn from a flow; the rest is certain, or drawn by the flow as well.

    Attributes:
        flow: Over the 45 finger coefficients; over 58 numbers if it also moves global rotation and shape.
        hand: Layer with ``pose_space="pca"``, all 45 components, ``flat_hand_mean=False``.
        orient: (B, 3) global rotation, axis-angle.
        betas: (B, 10) shape.
        view: (B, 3) weak perspective ``(s, tx, ty)`` in [-1, 1] over the crop, of hands in units of the middle finger's
            first bone and relative to its base; s > 0.
        image_size: Side of the square crops, pixels.
    """

    flow: FlowDistribution
    hand: HandLayer
    orient: Tensor
    betas: Tensor
    view: Tensor
    image_size: int

    def tempered(self, temperature: float) -> "PosedHands":
        """The same distribution with the spread of the flow's base multiplied by the temperature."""
        return replace(self, flow=self.flow.tempered(temperature * self.flow.temperature))

    def parameters(self, drawn: Tensor) -> HandParameters:
        """Parameters (..., B, ...) of hands from what the flow drew, (..., B, 45 or 58)."""
        orient, betas = self.orient, self.betas
        fingers, rest = drawn[..., :_FINGERS], drawn[..., _FINGERS:]
        if rest.shape[-1]:
            orient, betas = orient + rest[..., :_ORIENT], betas + rest[..., _ORIENT:]
        return HandParameters(fingers, orient, betas)

    def joints(self, parameters: HandParameters) -> Tensor:
        """Joints (..., B, 21, 3) in the hand model's frame, metres; meshes are not built."""
        return self.hand.joints_only(parameters.fingers, parameters.betas, parameters.orient)

    def project(self, joints: Tensor) -> Tensor:
        """Image points (..., B, 21, 2) of joints (..., B, 21, 3), in [-1, 1] over the crop."""
        relative, _ = bone_relative(joints)
        return project_weak(relative, self.view)

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        """Draw hands, see `types.HandDistribution`; the log-density is that of the flow's coordinates.

        At temperature 0 there is none, and `Hypotheses.log_prob` is None.
        """
        flow = self.flow.tempered(temperature * self.flow.temperature)
        if flow.temperature:
            drawn, log_prob = flow.rsample_with_log_prob((count,))
            return self._hypotheses(drawn, log_prob if density else None, vertices)
        return self._hypotheses(flow.centre.expand(count, -1, -1), None, vertices)

    def centre(self) -> Hypotheses:
        """The hand at the flow's centre as a single hypothesis, mesh included: the point estimate."""
        return self._hypotheses(self.flow.centre[None], None, vertices=True)

    def of_noise(self, noise: Tensor) -> Hypotheses:
        """The hands, without meshes, that standard normal numbers (B, S, 45 or 58) give."""
        return self._hypotheses(*self.flow.of_noise(noise.transpose(0, 1)), vertices=False)

    def scales(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Standard deviations of vertices (B, 778, 3) and joints (B, 21, 3), wrist at the origin, metres.

        Args:
            noise: (N, 1, 45 or 58) of the N draws that they are estimated from, `scale_noise`.
        """
        noise = self.flow.temperature * noise.to(self.orient)
        drawn, _ = self.flow.push(noise.expand(-1, self.orient.shape[0], -1))
        hands = self._hypotheses(drawn, None, vertices=True)
        assert hands.vertices_root is not None
        return hands.vertices_root.std(1), hands.joints_root.std(1)

    def camera(self, joints: Tensor) -> Tensor:
        """Weak perspective (B, 3) in crop pixels, for joints with the wrist at the origin in metres.

        Args:
            joints: (B, 21, 3) as from `joints`.
        """
        relative, length = bone_relative(joints)
        # the camera's origin is the finger's base, not the wrist
        wrist = normalised_to_crop(project_weak(relative[:, :1], self.view)[:, 0], self.image_size)
        return torch.cat([self.view[:, :1] / length[:, None] * self.image_size / 2, wrist], dim=1)

    def _hypotheses(self, drawn: Tensor, log_prob: Tensor | None, vertices: bool) -> Hypotheses:
        """Hypotheses (B, S, ...) from what the flow drew, (S, B, D)."""
        parameters = self.parameters(drawn)
        mesh = None
        if vertices:
            mesh, joints = self.hand(parameters.fingers, parameters.betas, parameters.orient)
            mesh = (mesh - joints[..., :1, :]).transpose(0, 1)
        else:
            joints = self.joints(parameters)
        count = drawn.shape[0]
        pose = torch.cat([parameters.orient.expand(count, -1, -1), self.hand.full_pose(parameters.fingers)], dim=-1)
        return Hypotheses(
            joints_root=(joints - joints[..., :1, :]).transpose(0, 1),
            joints_2d=normalised_to_crop(self.project(joints), self.image_size).transpose(0, 1),
            vertices_root=mesh,
            log_prob=None if log_prob is None else log_prob.T,
            pose=pose.transpose(0, 1),
            betas=parameters.betas.expand(count, -1, -1).transpose(0, 1),
        )
