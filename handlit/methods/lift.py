"""Lift: 2D joints to a distribution over hands, learned from hands that are never rendered."""

from dataclasses import dataclass
from typing import Any

import roma
import torch
from torch import Tensor
from typing_extensions import override

from handlit.distributions.lifted_hands import LiftedHand, LiftedHands, to_coordinates, to_place
from handlit.errors import check_choice, check_number
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.reduction import masked_mean
from handlit.methods.learned import LearnedMethod
from handlit.methods.lift_graph import LiftGraph
from handlit.methods.method import Losses
from handlit.metrics.functional import MILLIMETRES_PER_METRE
from handlit.models.lift import LiftNetwork
from handlit.models.lifter import DetectedJoints, Lifter, shipped_lifter
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandPrediction


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


class Lift(LearnedMethod[LiftedHands]):
    """Maximises the likelihood of hands given their 2D joints, and fits the point estimate.

    What is seen are 2D joints with confidences, and the camera; not the image. Where a batch has no detected joints its
    2D labels stand for them. Hands are learned from where pose, shape and place are known.

    Args:
        network: The network.
        mano_path: MANO file or folder; the stand-in hand without it.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops that a dataset states its 2D joints in, pixels; any serves.
        weights: Of the loss terms.
        learning_rate: Of Adam; the highest one for ``one_cycle``.
        **optimizer: Schedule, see `LearnedMethod`.
    """

    def __init__(
        self,
        network: LiftNetwork,
        mano_path: str | None = None,
        tips: TipConvention = "ho3d",
        image_size: int = 224,
        weights: LiftWeights | None = None,
        learning_rate: float = 1e-3,
        **optimizer: Any,
    ) -> None:
        super().__init__(image_size, learning_rate, **optimizer)
        check_choice("tips", tips, TipConvention)
        self.network = network
        self._hand = HandLayer(load_hand(mano_path), pose_space="matrix", tips=tips)
        self._angles = JointAngles()
        self.weights = weights or LiftWeights()

    @property
    def hand(self) -> HandLayer:
        """Hand layer that turns parameters into hands."""
        return self._hand

    @property
    def lifter(self) -> Lifter:
        """What predicts."""
        return Lifter(self.network, self._hand, self._angles)

    def observe(self, batch: HandBatch) -> DetectedJoints:
        """Detected joints, or the 2D labels where there are none."""
        seen = batch.visible | ~batch.valid["visible"][:, None]
        labels = torch.cat([batch.joints_2d, (seen * batch.weight_2d)[..., None]], -1)
        joints = torch.where(batch.valid["detected"][:, None, None], batch.detected, labels)
        return DetectedJoints(joints[..., :2], joints[..., 2], batch.intrinsics)

    def infer(self, observed: DetectedJoints) -> LiftedHands:
        """Distribution over hands for their 2D joints."""
        return self.lifter.infer(observed)

    def losses(self, output: LiftedHands, batch: HandBatch) -> Losses:
        """Weighted sum of the terms of `LiftWeights`; hands that lack a label are ignored."""
        weights, view = self.weights, output.view
        labelled = batch.valid["pose"] & batch.valid["betas"] & batch.valid["root_cam"] & batch.valid["joints_cam"]
        rotation = view.rotation.mT @ roma.rotvec_to_rotmat(batch.pose[:, :3])
        joints = view.to_view(batch.joints_cam - batch.root_cam[:, None])
        hand, root = self._true_hand(batch), self._true_root(output, batch)
        with torch.no_grad():
            model = output.model_joints(hand, rotation)
        definition = output.defined(model, root).log_prob(joints)[:, 1:].sum((1, 2))
        place = output.place(model).log_prob(to_place(root, view)).sum(1)

        estimate = output.at(output.rotation.means[torch.arange(len(batch)), self._likely(output, rotation)])
        assert estimate.root_cam is not None
        error = (view.to_view(estimate.joints_root[:, 0]) - joints).norm(dim=-1)
        shown = view.to_view(estimate.joints_root[:, 0]) + view.to_view(estimate.root_cam)
        distance = (view.project(shown) - view.project(joints + root[:, None])).norm(dim=-1)
        terms = {
            "rotation": -output.rotation.log_prob(rotation),
            "hand": -output.flow(rotation).log_prob(to_coordinates(hand)),
            "place": -place,
            "definition": -definition,
            "joints": MILLIMETRES_PER_METRE * error.mean(1),
            # a hand that is far off learns from its joints in space
            "reprojection": 100 * distance.clamp(max=0.5).mean(1),
        }
        means = {name: masked_mean(term, labelled) for name, term in terms.items()}
        total = torch.stack([getattr(weights, name) * mean for name, mean in means.items()]).sum()
        return Losses(total, means)

    def predict(self, output: LiftedHands) -> HandPrediction:
        """The centre of the distribution; scales are those of its draws."""
        return self.lifter.predict(output)

    @override
    def graph(self) -> LiftGraph:
        """2D joints, their confidences and the camera in; the point estimate and hypotheses of noise out."""
        return LiftGraph(self)

    def lift(self, joints_2d: Tensor, confidence: Tensor, intrinsics: Tensor) -> HandPrediction:
        """Hands of detected joints; right hands only. Arguments and result as for `models.lifter.Lifter.lift`."""
        return self.lifter.lift(joints_2d, confidence, intrinsics)

    def _true_hand(self, batch: HandBatch) -> LiftedHand:
        """The parameters that the labels state."""
        fingers = roma.rotvec_to_rotmat(batch.pose[:, 3:].unflatten(1, (15, 3)))
        ratios = torch.where(batch.valid["ratios"][:, None], batch.ratios, 1.0)
        return LiftedHand(self._angles.free(fingers), batch.betas, ratios)

    @staticmethod
    def _true_root(output: LiftedHands, batch: HandBatch) -> Tensor:
        """The wrist in the virtual camera's frame; a hand without labels stands somewhere in front of the camera."""
        placed = batch.valid["root_cam"] & (batch.root_cam[:, 2] > 0)
        root = torch.where(placed[:, None], batch.root_cam, batch.root_cam.new_tensor([0.0, 0.0, 1.0]))
        return output.view.to_view(root[:, None])[:, 0]

    @staticmethod
    @torch.no_grad()
    def _likely(output: LiftedHands, rotation: Tensor) -> Tensor:
        """(B,) component of the mixture that most likely drew a rotation (B, 3, 3)."""
        return (output.rotation.logits.log_softmax(-1) + output.rotation.component_log_prob(rotation)).argmax(-1)


def shipped_lift(mano_path: str | None = None) -> Lift:
    """The method with the package's own weights, for evaluation; arguments and errors as for `shipped_lifter`."""
    return Lift(shipped_lifter(mano_path).network).eval()
