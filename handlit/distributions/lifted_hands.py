"""A distribution over hands given their 2D joints, drawn from the wrist outwards.

A hand is drawn in steps, each given what the ones before leave unexplained of what was seen: its rotation; shape and
proportions; the joints of the fingers, the first of each, the second, the third; place; and what a joint is said to be.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import roma
import torch
from torch import Tensor

from handlit.distributions.flow import FlowDistribution
from handlit.distributions.rotations import RotationMixture
from handlit.geometry.cameras import project
from handlit.geometry.viewing_ray import USUAL_SIZE_M, HandView
from handlit.hand.chains import FingerChains
from handlit.hand.joint_angles import FREE_ANGLES, NUM_FREE, JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.proportions import NUM_BONES
from handlit.skeleton import FINGERS, JOINTS
from handlit.types import Hypotheses

NUM_BETAS = 10
#: Coordinates of a build: shape coefficients and log ratios of bone lengths.
NUM_BUILD = NUM_BETAS + NUM_BONES
#: Places among the free angles of those of the fingers' first, second and third joints.
BENDS = tuple(torch.from_numpy(FREE_ANGLES[:, 0] % 3 == i).nonzero()[:, 0] for i in range(3))
#: Coordinates of a hand.
NUM_COORDINATES = NUM_BUILD + NUM_FREE
#: Numbers that say what is unexplained when the joints of a finger are drawn, see `LiftedHands`.
NUM_UNEXPLAINED = 3 * 21 + 3 * len(FINGERS) + NUM_FREE + 1
#: Hands that scales are estimated from, with the same noise for every image: a prediction is independent of its batch.
NUM_SCALE_DRAWS = 32
#: Unit of the log ratios of bone lengths.
_RATIO_UNIT = 0.05
#: Unit of places beside the best one.
_PLACE_UNIT = 0.02
#: Joints that do not move when fingers bend.
_PALM = torch.tensor([JOINTS.index("wrist"), *(JOINTS.index(f"{finger}_1") for finger in FINGERS)])


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


def to_build(hand: LiftedHand) -> Tensor:
    """Shape and proportions as coordinates (..., 30), each spread by about one."""
    return torch.cat([hand.betas, hand.ratios.log() / _RATIO_UNIT], -1)


def from_build(coordinates: Tensor) -> LiftedHand:
    """Inverse of `to_build`, with every joint in the middle of its range; ratios are kept within a factor of 2."""
    betas, ratios = coordinates.split((NUM_BETAS, NUM_BONES), -1)
    free = coordinates.new_zeros(*coordinates.shape[:-1], NUM_FREE)
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


class LiftSteps(Protocol):
    """What is known of each step, given the ones before. Leading shapes (...) are those of the hands drawn so far."""

    @property
    def view(self) -> HandView:
        """The virtual camera, and the joints that were seen."""

    @property
    def rotation(self) -> RotationMixture:
        """Of the hand in the virtual camera's axes."""

    def build(self, rotation: Tensor) -> FlowDistribution:
        """Over `to_build` (..., B, 30), given rotations (..., B, 3, 3)."""

    def bend(self, step: int, unexplained: Tensor) -> FlowDistribution:
        """Over the free angles `BENDS[step]`, given what the joints before leave unexplained (..., B, 106)."""

    def place(self, gap: Tensor) -> FlowDistribution:
        """Over the difference of `to_place` (..., B, 3) from where the hand fits best, in units of 0.02, given the gaps
        (..., B, 21, 2) that are left there from its joints to those seen, box-normalised."""

    def definition(self, gap: Tensor) -> Gaussian:
        """Of joints beside the model's (..., B, 21, 3), metres, in the virtual camera's axes, given the gaps."""


class Noise(NamedTuple):
    """Random numbers that a hand is made of.

    Attributes:
        share: (S, B) in [0, 1), chooses the component of the rotation.
        turn: (S, B, 3) of the standard normal, as the others are.
        hand: (S, B, 57) of shape and proportions, then of the three steps of joint angles.
        place: (S, B, 3).
        definition: (S, B, 21, 3).
    """

    share: Tensor
    turn: Tensor
    hand: Tensor
    place: Tensor
    definition: Tensor


class LogDensity(NamedTuple):
    """Log-densities of the steps of a hand, nats, (..., B) each.

    Attributes:
        rotation: With respect to the Haar measure.
        hand: Of `to_build` and the joint angles.
        place: Of `to_place`.
        definition: Of the joints but the wrist, per metre.
    """

    rotation: Tensor
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

    Attributes:
        steps: The network's.
        hand: Layer with ``pose_space="matrix"``.
        chains: Of that hand.
        angles: Between joint angles and rotations.
        temperature: Factor on the spread of all steps.
    """

    steps: LiftSteps
    hand: HandLayer
    chains: FingerChains
    angles: JointAngles
    temperature: float = 1.0

    @property
    def view(self) -> HandView:
        """The virtual camera."""
        return self.steps.view

    @property
    def rotation(self) -> RotationMixture:
        """Distribution of the rotation in the virtual camera's axes."""
        return self.steps.rotation.tempered(self.temperature)

    def tempered(self, temperature: float) -> "LiftedHands":
        """The same distribution with its spread multiplied by the temperature."""
        return replace(self, temperature=temperature * self.temperature)

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        """Draw hands, see `types.HandDistribution`. At temperature 0 there is no density, and no log_prob."""
        shape, like = (count, self.view.size.shape[0]), self.view.size
        sizes = ((3,), (NUM_COORDINATES,), (3,), (21, 3))
        normal = (like.new_empty(*shape, *size).normal_() for size in sizes)
        noise = Noise(like.new_empty(shape).uniform_(), *normal)
        drawn = self.tempered(temperature).push(noise, vertices)
        return drawn if density else replace(drawn, log_prob=None)

    def centre(self) -> Hypotheses:
        """The point estimate as a single hypothesis, mesh included: the centre of each step given the one before."""
        return self.at(self.rotation.centre, vertices=True)

    def at(self, rotation: Tensor, vertices: bool = False) -> Hypotheses:
        """The centre of the distribution given rotations (B, 3, 3), as a single hypothesis."""
        zeros = rotation.new_zeros(1, rotation.shape[0], 1)
        hand, place = (zeros.expand(-1, -1, size) for size in (NUM_COORDINATES, 3))
        noise = Noise(zeros[..., 0], place, hand, place, zeros[..., None].expand(-1, -1, 21, 3))
        with self._single_precision():
            return self._draw(rotation[None], noise, vertices)[0]

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
        mixture = self.rotation
        with self._single_precision():
            rotation = mixture.push(noise.share, noise.turn)
            drawn, log_prob = self._draw(rotation, noise, vertices)
            return replace(drawn, log_prob=(log_prob + mixture.log_prob(rotation)).T if self.temperature else None)

    def log_prob(self, hand: LiftedHand, rotation: Tensor, root: Tensor, joints: Tensor) -> LogDensity:
        """Log-density of hands.

        Args:
            hand: Parameters (..., B, n).
            rotation: (..., B, 3, 3), in the virtual camera's axes.
            root: (..., B, 3) wrist in the virtual camera's frame, metres.
            joints: (..., B, 21, 3) as the source of the labels says they are, wrist at the origin, in these axes.
        """
        temperature = self.temperature
        with self._single_precision():
            of_hand = self.steps.build(rotation).tempered(temperature).log_prob(to_build(hand))
            drawn = hand._replace(free=torch.zeros_like(hand.free))
            near = self._palm_root(drawn, rotation)
            for step, places in enumerate(BENDS):
                angles = hand.free[..., places]
                of_hand = of_hand + self._bend(step, drawn, rotation, near).tempered(temperature).log_prob(angles)
                drawn = _with_angles(drawn, step, angles)
            model = self.model_joints(hand, rotation)
            best, beside = self._place(model)
            defined = self.defined(model, root)
            return LogDensity(
                self.rotation.log_prob(rotation),
                of_hand,
                beside.tempered(temperature).log_prob((to_place(root, self.view) - best) / _PLACE_UNIT)
                - 3 * math.log(_PLACE_UNIT),
                defined.log_prob(joints, temperature)[..., 1:, :].sum((-1, -2)),
            )

    def model_joints(self, hand: LiftedHand, rotation: Tensor) -> Tensor:
        """Joints (..., B, 21, 3) of the hand model, wrist at the origin, in the virtual camera's axes, metres."""
        joints = self.hand.joints_only(self.angles.matrices(hand.free), hand.betas, rotation, ratios=hand.ratios)
        return joints - joints[..., :1, :]

    def _palm_root(self, hand: LiftedHand, rotation: Tensor) -> Tensor:
        """Wrist (..., B, 3) from which the palm, that no finger moves, looks most like what was seen."""
        palm = self.chains.bones(hand.betas, hand.ratios)[..., 0, :] @ rotation.mT
        joints = torch.cat([torch.zeros_like(palm[..., :1, :]), palm], -2).detach()
        seen = replace(self.view, points=self.view.points[:, _PALM], known=self.view.known[:, _PALM])
        return seen.fit_root(joints)

    def _place(self, joints: Tensor) -> tuple[Tensor, FlowDistribution]:
        """Where the model's joints (..., B, 21, 3) fit best, as `to_place`, and the distribution beside that."""
        # a place is fitted anew to every hand: hands do not learn to move it
        best = self.view.fit_root(joints.detach())
        return to_place(best, self.view), self.steps.place(_gap(self.view, joints.detach(), best))

    def defined(self, joints: Tensor, root: Tensor) -> Gaussian:
        """Distribution of joints (..., B, 21, 3), given those of the model there and the wrist (..., B, 3)."""
        beside = self.steps.definition(_gap(self.view, joints, root))
        # the wrist is the origin, by definition
        return Gaussian(joints + beside.mean - beside.mean[..., :1, :], beside.log_scale)

    def _single_precision(self) -> torch.autocast:
        return torch.autocast(self.view.size.device.type, enabled=False)

    def _bend(self, step: int, hand: LiftedHand, rotation: Tensor, root: Tensor) -> FlowDistribution:
        """Distribution of the next joint angles; those of later steps are still in the middle of their range.

        What the network is told is in each finger's own axes, where angles are read off most easily: in units of a
        hand's size the gaps that are left, and the direction of the camera.
        """
        with torch.no_grad():
            fingers = self.angles.matrices(hand.free)
            joints, frames = self.chains.pose(self.chains.bones(hand.betas, hand.ratios), fingers)
            distance = root[..., 2] * self.view.size / USUAL_SIZE_M
            gap = _gap(self.view, joints @ rotation.mT, root) * (10 * distance[..., None, None])
            gap = torch.cat([gap, torch.zeros_like(gap[..., :1])], -1)
            axes = rotation[..., None, :, :] @ frames[..., step, :, :, :]
            of_fingers = gap[..., 1:, :].unflatten(-2, (5, 4)) @ axes
            parts = (gap[..., :1, :] @ rotation, of_fingers.flatten(-3, -2), axes[..., 2, :])
            known = torch.cat([part.flatten(-2) for part in parts], -1)
            unexplained = torch.cat([known, 0.5 * hand.free, distance.clamp(min=0.05).log()[..., None]], -1)
        return self.steps.bend(step, unexplained)

    def _draw(self, rotation: Tensor, noise: Noise, vertices: bool) -> tuple[Hypotheses, Tensor]:
        """Hands (B, S, ...) of rotations (S, B, 3, 3), and the log-density (S, B) of what is drawn beside them."""
        build, *bends = noise.hand.split((NUM_BUILD, *map(len, BENDS)), -1)
        values, log_prob = _pushed(self.steps.build(rotation), build, self.temperature)
        hand = from_build(values)
        near = self._palm_root(hand, rotation)
        for step, numbers in enumerate(bends):
            values, density = _pushed(self._bend(step, hand, rotation, near), numbers, self.temperature)
            hand, log_prob = _with_angles(hand, step, values), log_prob + density
        fingers, mesh = self.angles.matrices(hand.free), None
        if vertices:
            posed = self.hand(fingers, hand.betas, rotation, ratios=hand.ratios)
            model = posed.joints - posed.joints[..., :1, :]
            mesh = self.view.to_camera(posed.vertices - posed.joints[..., :1, :]).transpose(0, 1)
        else:
            model = self.model_joints(hand, rotation)
        best, beside = self._place(model)
        values, density = _pushed(beside, noise.place, self.temperature)
        root = from_place(best + _PLACE_UNIT * values, self.view)
        defined = self.defined(model, root)
        joints = defined.push(self.temperature * noise.definition)
        joints = torch.cat([torch.zeros_like(joints[..., :1, :]), joints[..., 1:, :]], -2)
        if self.temperature:
            of_joints = defined.log_prob(joints, self.temperature)[..., 1:, :].sum((-1, -2))
            log_prob = log_prob + density - 3 * math.log(_PLACE_UNIT) + of_joints
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


def _with_angles(hand: LiftedHand, step: int, values: Tensor) -> LiftedHand:
    """The hand with the joint angles of a step set."""
    return hand._replace(free=hand.free.index_copy(-1, BENDS[step].to(values.device), values))


def _pushed(flow: FlowDistribution, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Values of standard normal noise and their log-density; 0 at temperature 0, where there is none."""
    if temperature:
        return flow.tempered(temperature).of_noise(noise)
    values, log_determinant = flow.push(0 * noise)
    return values, torch.zeros_like(log_determinant)


def _gap(view: HandView, joints: Tensor, root: Tensor) -> Tensor:
    """(..., B, n, 2) from joints of a hand at a place to those seen, box-normalised; 0 for those not seen."""
    gap = view.points - view.project(joints + root[..., None, :])
    # a hand that was drawn too near the camera has joints beside it
    return torch.where(view.known[..., None], gap, 0.0).clamp(-1, 1)
