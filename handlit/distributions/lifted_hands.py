"""A distribution over hands given their 2D joints: rotation, hand, camera and joint definitions, in this order."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import roma
import torch
from torch import Tensor

from handlit.distributions.flow import FlowDistribution
from handlit.distributions.rotations import RotationMixture
from handlit.geometry.cameras import project
from handlit.geometry.viewing_ray import USUAL_SIZE_M, HandView
from handlit.hand.joint_angles import NUM_FREE, JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.proportions import NUM_BONES
from handlit.types import Hypotheses

NUM_BETAS = 10
#: Coordinates of a hand: joint angles, shape coefficients, log ratios of bone lengths.
NUM_COORDINATES = NUM_FREE + NUM_BETAS + NUM_BONES
#: Hands that scales are estimated from, with the same noise for every image: a prediction is independent of its batch.
NUM_SCALE_DRAWS = 32
#: Unit of the log ratios of bone lengths.
_RATIO_UNIT = 0.05


class LiftedHand(NamedTuple):
    """Parameters of hands.

    Attributes:
        free: (..., 27) joint angles, see `hand.joint_angles`.
        betas: (..., 10) shape coefficients.
        ratios: (..., 20) of bone lengths, see `hand.proportions`.
    """

    free: Tensor
    betas: Tensor
    ratios: Tensor


def to_coordinates(hand: LiftedHand) -> Tensor:
    """Parameters as the flow's coordinates (..., 57), each spread by about one."""
    return torch.cat([hand.free, hand.betas, hand.ratios.log() / _RATIO_UNIT], -1)


def from_coordinates(coordinates: Tensor) -> LiftedHand:
    """Inverse of `to_coordinates`; ratios are kept within a factor of 2."""
    free, betas, ratios = coordinates.split((NUM_FREE, NUM_BETAS, NUM_BONES), -1)
    return LiftedHand(free, betas, (_RATIO_UNIT * ratios).clamp(-math.log(2), math.log(2)).exp())


def to_place(root: Tensor, view: HandView) -> Tensor:
    """Wrists (..., B, 3) in the virtual camera's frame as coordinates (..., B, 3): in the box, and log distance."""
    place = view.project(root[..., None, :])[..., 0, :]
    return torch.cat([place, (root[..., 2:] * view.size[:, None] / USUAL_SIZE_M).clamp(min=1e-3).log()], -1)


def from_place(place: Tensor, view: HandView) -> Tensor:
    """Inverse of `to_place`; distances are kept within a factor of 20."""
    depth = place[..., 2].clamp(-3, 3).exp() * USUAL_SIZE_M / view.size
    return view.unproject(place[..., :2], depth)


class Gaussian(NamedTuple):
    """Independent Gaussians: mean and log standard deviation of the same shape."""

    mean: Tensor
    log_scale: Tensor

    def log_prob(self, value: Tensor, temperature: float = 1.0) -> Tensor:
        """Log-density of every coordinate, nats."""
        log_scale = self.log_scale + math.log(temperature)
        return -0.5 * ((value - self.mean) * (-log_scale).exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)

    def push(self, noise: Tensor) -> Tensor:
        """Values of standard normal noise."""
        return self.mean + self.log_scale.exp() * noise


class Noise(NamedTuple):
    """Random numbers that a hand is made of.

    Attributes:
        share: (S, B) in [0, 1), chooses the component of the rotation.
        turn: (S, B, 3) of the standard normal, as the others are.
        hand: (S, B, 57).
        place: (S, B, 3).
        definition: (S, B, 21, 3).
    """

    share: Tensor
    turn: Tensor
    hand: Tensor
    place: Tensor
    definition: Tensor


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _scale_noise() -> Noise:
    """The numbers (`NUM_SCALE_DRAWS`, 1, ...) that scales are estimated from, always the same."""
    generator, count = torch.Generator().manual_seed(0), NUM_SCALE_DRAWS
    share = ((torch.arange(count) + 0.5) / count)[:, None]
    sizes = ((3,), (NUM_COORDINATES,), (3,), (21, 3))
    return Noise(share, *(torch.randn(count, 1, *size, generator=generator) for size in sizes))


@dataclass(frozen=True)
class LiftedHands:
    """Hands that explain 2D joints, one distribution for each item of a batch.

    A hand is drawn in four steps: its rotation; its joint angles, shape and proportions given that; its place, beside
    the one from which it looks most like what was seen; and where its joints lie beside the hand model's, given all
    that. Its log-density is the sum of theirs: with respect to the Haar measure, to the coordinates of
    `to_coordinates` and `to_place`, and to metres.

    Attributes:
        rotation: Of the hand in the virtual camera's axes.
        flow: Distribution over coordinates (..., B, 57), given rotations (..., B, 3, 3).
        camera: Of the difference of `to_place` from that of the best place, (..., B, 3), given the gaps
            (..., B, 21, 2) that are left there between the model's joints and those seen, box-normalised.
        definition: Of the joints beside the model's (..., B, 21, 3), metres, in the virtual camera's axes, given the
            gaps that are left at the hand's own place.
        hand: Layer with ``pose_space="matrix"``.
        angles: Between joint angles and rotations.
        view: The virtual camera.
        temperature: Factor on the spread of all four.
    """

    rotation: RotationMixture
    flow: Callable[[Tensor], FlowDistribution]
    camera: Callable[[Tensor], Gaussian]
    definition: Callable[[Tensor], Gaussian]
    hand: HandLayer
    angles: JointAngles
    view: HandView
    temperature: float = 1.0

    def tempered(self, temperature: float) -> "LiftedHands":
        """The same distribution with its spread multiplied by the temperature."""
        return replace(self, temperature=temperature * self.temperature)

    def hypotheses(self, count: int, temperature: float = 1.0, vertices: bool = False) -> Hypotheses:
        """Draw hands, see `types.HandDistribution`. At temperature 0 there is no density, and no log_prob."""
        shape, like = (count, len(self.view.size)), self.view.size
        sizes = ((3,), (NUM_COORDINATES,), (3,), (21, 3))
        normal = (like.new_empty(*shape, *size).normal_() for size in sizes)
        noise = Noise(like.new_empty(shape).uniform_(), *normal)
        return self.tempered(temperature).push(noise, vertices)

    def centre(self) -> Hypotheses:
        """The point estimate as a single hypothesis, mesh included: the centre of each step given the one before."""
        return self.at(self.rotation.centre, vertices=True)

    def at(self, rotation: Tensor, vertices: bool = False) -> Hypotheses:
        """The centre of the distribution given rotations (B, 3, 3), as a single hypothesis."""
        coordinates = self.flow(rotation[None]).tempered(0).centre
        return self._hypotheses(rotation[None], coordinates, None, vertices)[0]

    def scales(self) -> tuple[Tensor, Tensor]:
        """Standard deviations of vertices (B, 778, 3) and joints (B, 21, 3), wrist at the origin, metres.

        Estimated from `NUM_SCALE_DRAWS` draws.
        """
        like = self.view.size
        numbers = (x.to(like).expand(-1, like.shape[0], *x.shape[2:]) for x in _scale_noise())
        hands = self.push(Noise(*numbers), vertices=True)
        assert hands.vertices_root is not None
        return hands.vertices_root.std(1), hands.joints_root.std(1)

    def push(self, noise: Noise, vertices: bool = False) -> Hypotheses:
        """Hands of given random numbers, with their log-density unless the temperature is 0."""
        mixture = self.rotation.tempered(self.temperature)
        rotation = mixture.push(noise.share, noise.turn)
        coordinates, log_determinant = self.flow(rotation).push(self.temperature * noise.hand)
        drawn, log_prob = self._hypotheses(rotation, coordinates, noise, vertices)
        if not self.temperature:
            return drawn
        base = Gaussian(torch.zeros(()), torch.zeros(())).log_prob(self.temperature * noise.hand, self.temperature)
        log_prob = log_prob + mixture.log_prob(rotation) + base.sum(-1) - log_determinant
        return replace(drawn, log_prob=log_prob.T)

    def model_joints(self, hand: LiftedHand, rotation: Tensor) -> Tensor:
        """Joints (..., B, 21, 3) of the hand model, wrist at the origin, in the virtual camera's axes, metres."""
        joints = self.hand.joints_only(self.angles.matrices(hand.free), hand.betas, rotation, ratios=hand.ratios)
        return joints - joints[..., :1, :]

    def place(self, joints: Tensor) -> Gaussian:
        """Distribution of the place (..., B, 3), see `to_place`, of the model's joints (..., B, 21, 3)."""
        # a place is fitted anew to every hand: hands do not learn to move it
        best = self.view.fit_root(joints.detach())
        beside = self.camera(self._gap(joints, best))
        return Gaussian(to_place(best, self.view) + beside.mean, beside.log_scale)

    def defined(self, joints: Tensor, root: Tensor) -> Gaussian:
        """Distribution of joints (..., B, 21, 3), given those of the model there and the wrist (..., B, 3)."""
        beside = self.definition(self._gap(joints, root))
        # the wrist is the origin, by definition
        return Gaussian(joints + beside.mean - beside.mean[..., :1, :], beside.log_scale)

    def _gap(self, joints: Tensor, root: Tensor) -> Tensor:
        """(..., B, 21, 2) from joints of a hand at a place to those seen, box-normalised; 0 for those not seen."""
        gap = self.view.points - self.view.project(joints + root[..., None, :])
        # a hand that was drawn too near the camera has joints beside it
        return torch.where(self.view.known[..., None], gap, 0.0).clamp(-1, 1)

    def _hypotheses(
        self, rotation: Tensor, coordinates: Tensor, noise: Noise | None, vertices: bool
    ) -> tuple[Hypotheses, Tensor]:
        """Hands (B, S, ...) from rotations (S, B, 3, 3) and coordinates (S, B, 57), their places and joints drawn.

        Without noise, and at temperature 0, both are at their centres. Also the log-density (S, B) of these draws.
        """
        hand, mesh = from_coordinates(coordinates), None
        fingers = self.angles.matrices(hand.free)
        if vertices:
            posed = self.hand(fingers, hand.betas, rotation, ratios=hand.ratios)
            joints = posed.joints - posed.joints[..., :1, :]
            mesh = self.view.to_camera(posed.vertices - posed.joints[..., :1, :]).transpose(0, 1)
        else:
            joints = self.hand.joints_only(fingers, hand.betas, rotation, ratios=hand.ratios)
            joints = joints - joints[..., :1, :]
        place = self.place(joints)
        where = place.push(self.temperature * noise.place) if noise else place.mean
        root = from_place(where, self.view)
        defined = self.defined(joints, root)
        joints = defined.push(self.temperature * noise.definition) if noise else defined.mean
        joints = torch.cat([torch.zeros_like(joints[..., :1, :]), joints[..., 1:, :]], -2)
        log_prob = torch.zeros_like(where[..., 0])
        if noise and self.temperature:
            of_joints = defined.log_prob(joints, self.temperature)[..., 1:, :].sum((-1, -2))
            log_prob = place.log_prob(where, self.temperature).sum(-1) + of_joints
        in_camera, root = self.view.to_camera(joints), self.view.to_camera(root[..., None, :])
        turned = torch.cat([(self.view.rotation @ rotation)[..., None, :, :], fingers], -3)
        drawn = Hypotheses(
            joints_root=in_camera.transpose(0, 1),
            joints_2d=project(in_camera + root, self.view.intrinsics).transpose(0, 1),
            vertices_root=mesh,
            pose=roma.rotmat_to_rotvec(turned).flatten(-2).transpose(0, 1),
            betas=hand.betas.transpose(0, 1),
            root_cam=root[..., 0, :].transpose(0, 1),
        )
        return drawn, log_prob
