"""How far distributions over hands are from labels: what `Lift` and `PixelLift` minimise."""

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from handlit.distributions.lifted_hands import LiftedHand, LiftedHands
from handlit.errors import check_number
from handlit.metrics.functional import MILLIMETRES_PER_METRE
from handlit.types import HandBatch


@dataclass
class LiftWeights:
    """Weights of the loss terms.

    Attributes:
        rotation: Negative log-likelihood of the global rotation, per nat.
        hand: The same of joint angles, shape and proportions.
        place: The same of where the hand is.
        definition: The same of the joints beside the hand model's.
        joints: Mean distance of the point estimate's joints from the true ones, per millimetre, wrist at the origin, in
            the orientation of the mixture that is most likely the true one.
        reprojection: Mean distance of its projection from the true 2D joints, per hundredth of the joints' box.
    """

    rotation: float = 1.0
    hand: float = 1.0
    place: float = 1.0
    definition: float = 1.0
    joints: float = 1.0
    reprojection: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            check_number(name, weight, least=0)


def fully_labelled(batch: HandBatch) -> Tensor:
    """(B,) bool, hands that `lift_terms` can be computed of."""
    valid = batch.valid
    return valid["pose"] & valid["betas"] & valid["root_cam"] & valid["joints_cam"]


def lift_terms(output: LiftedHands, batch: HandBatch) -> dict[str, Tensor]:
    """Terms (B,) of `LiftWeights`; those of hands that are not `fully_labelled` are finite and mean nothing.

    They are computed in float32 under autocast too, which would round rotations away.
    """
    with torch.autocast(batch.pose.device.type, enabled=False):
        return _terms(output, batch)


def _terms(output: LiftedHands, batch: HandBatch) -> dict[str, Tensor]:
    view = output.view
    rotation = view.rotation.mT @ roma.rotvec_to_rotmat(batch.pose[:, :3])
    joints = view.to_view(batch.joints_cam - batch.root_cam[:, None])
    hand, root = _true_hand(output, batch), _true_root(output, batch)
    density = output.log_prob(hand, rotation, root, joints)

    estimate = output.at(output.rotation.means[torch.arange(len(batch)), _likely(output, rotation)])
    assert estimate.root_cam is not None
    error = (view.to_view(estimate.joints_root[:, 0]) - joints).norm(dim=-1)
    shown = view.to_view(estimate.joints_root[:, 0]) + view.to_view(estimate.root_cam)
    distance = (view.project(shown) - view.project(joints + root[:, None])).norm(dim=-1)
    return {
        **{name: -value for name, value in density._asdict().items()},
        "joints": MILLIMETRES_PER_METRE * error.mean(1),
        # a hand that is far off learns from its joints in space
        "reprojection": 100 * distance.clamp(max=0.5).mean(1),
    }


def _true_hand(output: LiftedHands, batch: HandBatch) -> LiftedHand:
    """The parameters that the labels state."""
    fingers = roma.rotvec_to_rotmat(batch.pose[:, 3:].unflatten(1, (15, 3)))
    ratios = torch.where(batch.valid["ratios"][:, None], batch.ratios, 1.0)
    return LiftedHand(output.angles.free(fingers), batch.betas, ratios)


def _true_root(output: LiftedHands, batch: HandBatch) -> Tensor:
    """The wrist in the virtual camera's frame; a hand without labels stands somewhere in front of the camera."""
    placed = batch.valid["root_cam"] & (batch.root_cam[:, 2] > 0)
    root = torch.where(placed[:, None], batch.root_cam, batch.root_cam.new_tensor([0.0, 0.0, 1.0]))
    return output.view.to_view(root[:, None])[:, 0]


@torch.no_grad()
def _likely(output: LiftedHands, rotation: Tensor) -> Tensor:
    """(B,) component of the mixture that most likely drew a rotation (B, 3, 3)."""
    return (output.rotation.logits.log_softmax(-1) + output.rotation.component_log_prob(rotation)).argmax(-1)
