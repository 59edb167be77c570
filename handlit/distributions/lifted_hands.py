"""A distribution over hands given their 2D joints: rotation, hand and camera, and joint definitions, in this order."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import roma
import torch
from torch import Tensor

from handlit.distributions.flow import FlowDistribution
from handlit.distributions.rotations import RotationMixture
from handlit.geometry.cameras import project
from handlit.geometry.viewing_ray import HandView
from handlit.hand.joint_angles import NUM_FREE, JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.proportions import NUM_BONES
from handlit.types import Hypotheses

NUM_BETAS = 10
#: Coordinates of a hand: joint angles, shape coefficients, log ratios of bone lengths, and the camera's three.
NUM_COORDINATES = NUM_FREE + NUM_BETAS + NUM_BONES + 3
#: Hands that scales are estimated from, with the same noise for every image: a prediction is independent of its batch.
NUM_SCALE_DRAWS = 32
#: Units of the flow's coordinates: log ratios of bone lengths; distance times angular size, metres.
_RATIO_UNIT, _SIZE_UNIT_M = 0.05, 0.14


class LiftedHand(NamedTuple):
    """Parameters of hands.

    Attributes:
        free: (..., 27) joint angles, see `hand.joint_angles`.
        betas: (..., 10) shape coefficients.
        ratios: (..., 20) of bone lengths, see `hand.proportions`.
        root: (..., 3) the wrist in the virtual camera's frame, metres.
    """

    free: Tensor
    betas: Tensor
    ratios: Tensor
    root: Tensor


def to_coordinates(hand: LiftedHand, view: HandView) -> Tensor:
    """Parameters (..., B, ...) as the flow's coordinates (..., B, 60), each spread by about one."""
    place = view.project(hand.root[..., None, :])[..., 0, :]
    distance = (hand.root[..., 2] * view.size / _SIZE_UNIT_M).log()[..., None]
    ratios = hand.ratios.log() / _RATIO_UNIT
    return torch.cat([hand.free, hand.betas, ratios, 2 * place, 3 * distance], -1)


def from_coordinates(coordinates: Tensor, view: HandView) -> LiftedHand:
    """Inverse of `to_coordinates`; ratios are kept within a factor of 2, distances within one of 20."""
    free, betas, ratios, place, distance = coordinates.split((NUM_FREE, NUM_BETAS, NUM_BONES, 2, 1), -1)
    depth = (distance[..., 0] / 3).clamp(-3, 3).exp() * _SIZE_UNIT_M / view.size
    log_ratios = (_RATIO_UNIT * ratios).clamp(-math.log(2), math.log(2))
    return LiftedHand(free, betas, log_ratios.exp(), view.unproject(place / 2, depth))


@dataclass(frozen=True)
class LiftedHands:
    """Hands that explain 2D joints, one distribution for each item of a batch.

    A hand is drawn in three steps: its rotation, its joint angles, shape, proportions and place given the rotation, and
    where its joints lie beside the hand model's, given all that. Its log-density is the sum of theirs: with respect to
    the Haar measure, to the coordinates of `to_coordinates`, and to metres.

    Attributes:
        rotation: Of the hand in the virtual camera's axes.
        flow: Distribution over coordinates (..., B, 60), given rotations (..., B, 3, 3).
        residual: Mean and log standard deviation (..., B, 21, 3) of the joints' distance from the model's, metres, in
            the virtual camera's axes, given the box-normalised projections (..., B, 21, 2) of the model's joints.
        hand: Layer with ``pose_space="matrix"``.
        angles: Between joint angles and rotations.
        view: The virtual camera.
        temperature: Factor on the spread of all three.
    """

    rotation: RotationMixture
    flow: Callable[[Tensor], FlowDistribution]
    residual: Callable[[Tensor], tuple[Tensor, Tensor]]
    hand: HandLayer
    angles: JointAngles
    view: HandView
    temperature: float = 1.0

    def tempered(self, temperature: float) -> "LiftedHands":
        """The same distribution with its spread multiplied by the temperature."""
        return replace(self, temperature=temperature * self.temperature)

    def hypotheses(self, count: int, temperature: float = 1.0, vertices: bool = False) -> Hypotheses:
        """Draw hands, see `types.HandDistribution`. At temperature 0 there is no density, and no log_prob."""
        shape = (count, len(self.view.size))
        options = {"dtype": self.view.size.dtype, "device": self.view.size.device}
        numbers = [torch.rand(shape, **options), torch.randn(*shape, 3, **options)]
        numbers += [torch.randn(*shape, NUM_COORDINATES, **options), torch.randn(*shape, 21, 3, **options)]
        return self.tempered(temperature)._push(*numbers, vertices=vertices)

    def centre(self) -> Hypotheses:
        """The point estimate as a single hypothesis, mesh included: the centre of each step given the one before."""
        return self.at(self.rotation.centre, vertices=True)

    def at(self, rotation: Tensor, vertices: bool = False) -> Hypotheses:
        """The centre of the distribution given rotations (B, 3, 3), as a single hypothesis."""
        coordinates = self.flow(rotation[None]).tempered(0).centre
        return self._hypotheses(rotation[None], coordinates, None, None, vertices)

    def scales(self) -> tuple[Tensor, Tensor]:
        """Standard deviations of vertices (B, 778, 3) and joints (B, 21, 3), wrist at the origin, metres.

        Estimated from `NUM_SCALE_DRAWS` draws.
        """
        generator, count, like = torch.Generator().manual_seed(0), NUM_SCALE_DRAWS, self.view.size
        share = ((torch.arange(count) + 0.5) / count)[:, None]
        sizes = ((3,), (NUM_COORDINATES,), (21, 3))
        noise = [torch.randn(count, 1, *size, generator=generator) for size in sizes]
        numbers = (x.to(like).expand(count, len(like), *x.shape[2:]) for x in (share, *noise))
        hands = self._push(*numbers, vertices=True)
        assert hands.vertices_root is not None
        return hands.vertices_root.std(1), hands.joints_root.std(1)

    def parameters(self, coordinates: Tensor) -> LiftedHand:
        """Parameters of hands from the flow's coordinates (..., B, 60)."""
        return from_coordinates(coordinates, self.view)

    def model_joints(self, hand: LiftedHand, rotation: Tensor) -> Tensor:
        """Joints (..., B, 21, 3) of the hand model, wrist at the origin, in the virtual camera's axes, metres."""
        matrices = self.angles.matrices(hand.free)
        joints = self.hand.joints_only(matrices, hand.betas, rotation, ratios=hand.ratios)
        return joints - joints[..., :1, :]

    def residual_at(self, joints: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        """`residual` for joints (..., B, 21, 3) of the model, wrist at the origin, and wrists (..., B, 3)."""
        mean, log_scale = self.residual(self.view.project(joints + root[..., None, :]))
        # the wrist is the origin, by definition
        return mean - mean[..., :1, :], log_scale

    def _push(self, share: Tensor, turn: Tensor, noise: Tensor, offset: Tensor, vertices: bool) -> Hypotheses:
        """Hands of given random numbers: (S, B), (S, B, 3), (S, B, 60) and (S, B, 21, 3)."""
        rotation_mixture = self.rotation.tempered(self.temperature)
        rotation = rotation_mixture.push(share, turn)
        flow = self.flow(rotation)
        coordinates, log_determinant = flow.push(self.temperature * noise)
        log_prob = None
        if self.temperature:
            log_base = torch.distributions.Normal(0.0, self.temperature).log_prob(self.temperature * noise).sum(-1)
            log_prob = rotation_mixture.log_prob(rotation) + log_base - log_determinant
        return self._hypotheses(rotation, coordinates, log_prob, self.temperature * offset, vertices)

    def _hypotheses(
        self, rotation: Tensor, coordinates: Tensor, log_prob: Tensor | None, offset: Tensor | None, vertices: bool
    ) -> Hypotheses:
        """Hypotheses (B, S, ...) from rotations (S, B, 3, 3), coordinates (S, B, 60) and noise of the joints."""
        hand = self.parameters(coordinates)
        joints, mesh = self.model_joints(hand, rotation), None
        mean, log_scale = self.residual_at(joints, hand.root)
        if vertices:
            posed = self.hand(self.angles.matrices(hand.free), hand.betas, rotation, ratios=hand.ratios)
            mesh = self.view.to_camera(posed.vertices - posed.joints[..., :1, :]).transpose(0, 1)
        joints = joints + mean
        if offset is not None:
            moved = log_scale.exp() * offset
            joints = torch.cat([joints[..., :1, :], joints[..., 1:, :] + moved[..., 1:, :]], -2)
        if log_prob is not None and offset is not None:
            normal = torch.distributions.Normal(0.0, self.temperature).log_prob(offset) - log_scale
            log_prob = log_prob + normal[..., 1:, :].sum((-1, -2))
        in_camera = self.view.to_camera(joints)
        root = self.view.to_camera(hand.root[..., None, :])
        turned = self.view.rotation @ rotation
        fingers = roma.rotmat_to_rotvec(self.angles.matrices(hand.free)).flatten(-2)
        return Hypotheses(
            joints_root=in_camera.transpose(0, 1),
            joints_2d=project(in_camera + root, self.view.intrinsics).transpose(0, 1),
            vertices_root=mesh,
            log_prob=None if log_prob is None else log_prob.T,
            pose=torch.cat([roma.rotmat_to_rotvec(turned), fingers], -1).transpose(0, 1),
            betas=hand.betas.transpose(0, 1),
        )
