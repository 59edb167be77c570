"""Any method's hands with the spread that its errors on validation images have.

A hand is its rotation about the wrist against the point estimate, and the rest. The spread of both is multiplied; where
that does not do, differences that validation images had are added.

References:
    Gneiting, Balabdaoui and Raftery, "Probabilistic forecasts, calibration and sharpness", 2007,
    doi:10.1111/j.1467-9868.2007.00587.x; errors of other cases as an ensemble's noise: Roulston and Smith, "Combining
    dynamical and statistical ensembles", Tellus A 55, 2003, doi:10.3402/tellusa.v55i1.12082.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import roma
import torch
from torch import Tensor

from handlit.geometry.alignment import fit_similarity
from handlit.types import HandPrediction, Hypotheses

#: Draws that stated scales are estimated from.
NUM_SCALE_DRAWS = 64
#: How far a joint moves the skin around it, metres: about half of a finger's bone.
_REACH_M = 0.015
#: Smallest scale of a hand that counts as one, metres.
_MIN_SCALE_M = 1e-6


class Differences(NamedTuple):
    """How hands differ from a centre: each point is ``R (centre + rest)``, wrist at the origin.

    Attributes:
        turn: (..., 3) rotation vector of R, radians, in the camera's axes.
        rest: (..., 21, 3) metres, in the camera's axes.
    """

    turn: Tensor
    rest: Tensor


def differences(joints: Tensor, centre: Tensor) -> Differences:
    """Differences of hands from a centre, by the rotation that brings it closest to them.

    Args:
        joints: (..., 21, 3) metres, wrist at the origin.
        centre: (..., 21, 3), of a shape that expands to that.
    """
    centre = centre.expand_as(joints)
    rotation = fit_similarity(centre, joints).rotation.to(joints)
    return Differences(roma.rotmat_to_rotvec(rotation), joints @ rotation - centre)


def stated_scale(joint_scale: Tensor) -> Tensor:
    """One number (B,) for how uncertain a hand is said to be: RMS over the joints of (B, 21, 3), without the wrist."""
    return joint_scale[:, 1:].float().square().sum(-1).mean(-1).sqrt().clamp(min=_MIN_SCALE_M)


class Widening(NamedTuple):
    """What becomes of one part of the differences.

    Attributes:
        own: Factor on the method's own.
        added: Factor on those of validation images that are added, with either sign; 0 adds nothing.
        exponent: Of the hand's stated scale, relative to the usual one, to which what is added is proportional.
    """

    own: float
    added: float = 0.0
    exponent: float = 0.0


@dataclass(frozen=True)
class HandCalibration:
    """How a method's hands are widened or narrowed.

    Attributes:
        turn: Of rotations.
        rest: Of the rest.
        joints: (21,) factors on the rest of each joint, both parts of it.
        usual_scale: Stated scale for which `errors` are, metres.
        errors: (N, 3) and (N, 21, 3) of validation images, divided by their relative stated scale's powers.
    """

    turn: Widening
    rest: Widening
    joints: Tensor
    usual_scale: float
    errors: Differences

    def apply(self, prediction: HandPrediction) -> HandPrediction:
        """The prediction with this spread: the point estimate stays, scales are those of what is drawn.

        They are estimated from `NUM_SCALE_DRAWS` draws, the same for the same batch, and leave the global random
        numbers as they are.
        """
        calibrated = CalibratedHands(prediction, self)
        device = prediction.joints_root.device
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            drawn = calibrated.hypotheses(NUM_SCALE_DRAWS, vertices=True)
        assert drawn.vertices_root is not None
        return replace(
            prediction,
            vertex_scale=drawn.vertices_root.std(1),
            joint_scale=drawn.joints_root.std(1),
            distribution=calibrated,
        )


class CalibratedHands:
    """A `HandDistribution` around that of a prediction.

    It has no log-density: rotation and rest of a method's own draw have none by themselves. Pose and shape of a draw
    are no longer those of its joints, and are left out.

    Args:
        prediction: The method's.
        calibration: What becomes of its spread.
    """

    def __init__(self, prediction: HandPrediction, calibration: HandCalibration) -> None:
        self.prediction = prediction
        self.calibration = calibration

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        """See `HandDistribution.hypotheses`.

        Image points move by the prediction's weak-perspective camera as their joints do. A mesh turns with its joints,
        and its rest is widened as that of the joints nearby.
        """
        prediction, calibration = self.prediction, self.calibration
        drawn = prediction.distribution.hypotheses(count, temperature, vertices)
        joints, centre = drawn.joints_root.float(), prediction.joints_root.float()[:, None]
        factors = calibration.joints.to(joints)[:, None]
        own, added = differences(joints, centre), self._added(count, temperature)
        turned = roma.rotvec_to_rotmat(calibration.turn.own * own.turn + added.turn)
        rest = centre + factors * (calibration.rest.own * own.rest + added.rest)
        moved = rest @ turned.mT
        mesh = None
        if vertices:
            assert drawn.vertices_root is not None
            skin, middle = self._skin()[:, None], prediction.vertices_root.float()[:, None]
            mesh = drawn.vertices_root.float() @ roma.rotvec_to_rotmat(own.turn) - middle
            mesh = middle + calibration.rest.own * (skin @ factors) * mesh + skin @ (factors * added.rest)
            mesh = mesh @ turned.mT
        zoom = prediction.camera[:, None, None, :1]
        return Hypotheses(
            joints_root=moved,
            joints_2d=drawn.joints_2d + zoom * (moved - joints)[..., :2],
            vertices_root=mesh,
            root_cam=drawn.root_cam,
        )

    def _added(self, count: int, temperature: float) -> Differences:
        """What is added to the differences of (B, S) hands."""
        calibration, joints = self.calibration, self.prediction.joints_root
        shape = (len(joints), count)
        turns, rests = (part.to(joints.device) for part in calibration.errors)
        if not calibration.turn.added and not calibration.rest.added:
            zeros = joints.new_zeros(*shape, 3, dtype=torch.float32)
            return Differences(zeros, zeros[:, :, None])
        relative = stated_scale(self.prediction.joint_scale)[:, None] / calibration.usual_scale
        index = torch.randint(len(turns), shape, device=joints.device)
        sign = temperature * (2.0 * torch.randint(2, shape, device=joints.device) - 1)
        turn, rest = (
            (part.added * sign * relative**part.exponent)[..., None] for part in (calibration.turn, calibration.rest)
        )
        return Differences(turn * turns[index], rest[..., None] * rests[index])

    def _skin(self) -> Tensor:
        """(B, 778, 21) by how much each joint moves each vertex; each vertex's sum is 1."""
        distance = torch.cdist(self.prediction.vertices_root.float(), self.prediction.joints_root.float())
        return (-0.5 * (distance / _REACH_M).square()).softmax(-1)
