"""Lift: 2D joints to a distribution over hands, learned from hands that are never rendered."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from handlit.distributions.lifted_hands import LiftedHands
from handlit.errors import check_choice
from handlit.hand.chains import FingerChains
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.reduction import masked_mean
from handlit.methods.learned import LearnedMethod
from handlit.methods.lift_graph import LiftGraph
from handlit.methods.lift_terms import LiftWeights, fully_labelled, lift_terms
from handlit.methods.method import Losses
from handlit.models.lift import LiftNetwork
from handlit.models.lifter import DetectedJoints, Lifter, shipped_lifter
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandPrediction


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
        self._angles, self._chains = JointAngles(), FingerChains(self._hand)
        self.weights = weights or LiftWeights()

    @property
    def hand(self) -> HandLayer:
        """Hand layer that turns parameters into hands."""
        return self._hand

    @property
    def lifter(self) -> Lifter:
        """What predicts."""
        return Lifter(self.network, self._hand, self._chains, self._angles)

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
        labelled = fully_labelled(batch)
        means = {name: masked_mean(term, labelled) for name, term in lift_terms(output, batch).items()}
        total = torch.stack([getattr(self.weights, name) * mean for name, mean in means.items()]).sum()
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


def shipped_lift(mano_path: str | None = None) -> Lift:
    """The method with the package's own weights, for evaluation; arguments and errors as for `shipped_lifter`."""
    return Lift(shipped_lifter(mano_path).network).eval()
