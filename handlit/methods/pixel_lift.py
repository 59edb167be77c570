"""PixelLift: an image to a distribution over hands, by way of distributions of its joints in the image."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
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
from handlit.methods.lift_graph import PixelLiftGraph
from handlit.methods.lift_terms import LiftWeights, fully_labelled, lift_terms
from handlit.methods.method import Losses
from handlit.models.keypoints import Keypoints
from handlit.models.lifter import Lifter
from handlit.models.pixel_lift import PixelLiftNetwork
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandPrediction

#: Which labels are learned from; images that lack those of joints in space give what they have in either case.
PixelLiftLabels = Literal["2d_and_3d", "2d"]


@dataclass
class PixelLiftWeights(LiftWeights):
    """Weights of the loss terms: those of `LiftWeights`, here of a twentieth, and:

    Attributes:
        cells: Negative log-probability of the cells of the heat maps that the joints are in, per nat and joint.
        keypoints: Negative log-likelihood of the joints in the crop, per nat and joint.
        distance: Mean distance of their means from the labels, per hundredth of the crop's side.
        seen: Cross-entropy of what the image shows, per nat and joint.
    """

    rotation: float = 0.05
    hand: float = 0.05
    place: float = 0.05
    definition: float = 0.05
    joints: float = 0.05
    reprojection: float = 0.05
    cells: float = 10.0
    keypoints: float = 1.0
    distance: float = 3.0
    seen: float = 1.0


class CropsAndCameras(NamedTuple):
    """What `PixelLift` sees.

    Attributes:
        image: (B, 3, S, S) uint8 RGB crops.
        intrinsics: (B, 3, 3) of their pixels.
    """

    image: Tensor
    intrinsics: Tensor


class PixelHands(NamedTuple):
    """Output for a batch of images.

    Attributes:
        keypoints: The joints in the crops.
        hands: Distribution over hands.
    """

    keypoints: Keypoints
    hands: LiftedHands


class PixelLift(LearnedMethod[PixelHands]):
    """Finds the joints in the image as Gaussians, lifts these to hands as `Lift` does, and sees which way they face.

    All learns together: the likelihood of hands also moves the keypoints. A pretrained lifting network stays as it was.
    From 2D labels alone the keypoints are learned.

    Args:
        network: The network.
        mano_path: MANO file or folder; the stand-in hand without it. The package's pretrained lifting network is of the
            stand-in hand.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops, pixels.
        weights: Of the loss terms.
        supervision: ``"2d_and_3d"``: whatever labels an image has. ``"2d"``: its 2D joints and their visibility.
        learning_rate: Of Adam; the highest one for ``one_cycle``.
        **optimizer: Schedule, see `LearnedMethod`.
    """

    def __init__(
        self,
        network: PixelLiftNetwork,
        mano_path: str | None = None,
        tips: TipConvention = "ho3d",
        image_size: int = 224,
        weights: PixelLiftWeights | None = None,
        supervision: PixelLiftLabels = "2d_and_3d",
        learning_rate: float = 1e-3,
        **optimizer: Any,
    ) -> None:
        super().__init__(image_size, learning_rate, **optimizer)
        check_choice("tips", tips, TipConvention)
        check_choice("supervision", supervision, PixelLiftLabels)
        self.network = network
        self._hand = HandLayer(load_hand(mano_path), pose_space="matrix", tips=tips)
        self._angles, self._chains = JointAngles(), FingerChains(self._hand)
        self.weights = weights or PixelLiftWeights()
        self.supervision: PixelLiftLabels = supervision

    @property
    def hand(self) -> HandLayer:
        """Hand layer that turns parameters into hands."""
        return self._hand

    @override
    def of_crops(self, image: Tensor, intrinsics: Tensor) -> CropsAndCameras:
        """Crops and their cameras."""
        return CropsAndCameras(image, intrinsics)

    def infer(self, observed: CropsAndCameras) -> PixelHands:
        """Keypoints and distribution over hands for crops."""
        image = self.network.backbone.normalise(observed.image)
        output = self.network(image, observed.intrinsics)
        return PixelHands(output.keypoints, LiftedHands(output.steps, self._hand, self._chains, self._angles))

    def losses(self, output: PixelHands, batch: HandBatch) -> Losses:
        """Weighted sum of the terms of `PixelLiftWeights`; labels that an image lacks are ignored."""
        labelled = fully_labelled(batch)
        if self.supervision == "2d":
            labelled = torch.zeros_like(labelled)
        means = {name: masked_mean(term, labelled) for name, term in lift_terms(output.hands, batch).items()}
        keypoints, weight = output.keypoints, batch.weight_2d
        labels = torch.where(weight[..., None] > 0, batch.joints_2d, keypoints.mean.detach())
        total = weight.sum(1).clamp(min=1e-6)
        distance = 100 / self.image_size * (keypoints.mean - labels).norm(dim=-1)
        missed = F.binary_cross_entropy_with_logits(keypoints.seen_logit, batch.visible.float(), reduction="none")
        means |= {
            "cells": masked_mean(-(weight * keypoints.cell_log_prob(labels)).sum(1) / total, weight.any(1)),
            "keypoints": masked_mean(-(weight * keypoints.log_prob(labels)).sum(1) / total, weight.any(1)),
            "distance": masked_mean((weight * distance).sum(1) / total, weight.any(1)),
            "seen": masked_mean(missed.mean(1), batch.valid["visible"]),
        }
        return Losses(torch.stack([getattr(self.weights, name) * mean for name, mean in means.items()]).sum(), means)

    def predict(self, output: PixelHands) -> HandPrediction:
        """The centre of the distribution over hands; scales are those of its draws."""
        return Lifter(self.network.lifter, self._hand, self._chains, self._angles).predict(output.hands)

    @override
    def graph(self) -> PixelLiftGraph:
        """Crops, their cameras and noise in; the point estimate and hypotheses of the noise out."""
        return PixelLiftGraph(self, self.image_size)
