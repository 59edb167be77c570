"""MHEntropy (ICCV 2023): many hands for one image, learned from its visible joints."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import override

from handlit.distributions.posed_hands import PosedHands, scale_noise
from handlit.errors import check_choice, check_number
from handlit.geometry.bone_relative import bone_relative
from handlit.geometry.cameras import crop_to_normalised
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.soft_uniform import laplace_log_likelihood, soft_ball, soft_box
from handlit.methods.graph import BATCH, DRAWN, HYPOTHESES, PointGraph, Port, tensors_of
from handlit.methods.learned import LearnedMethod
from handlit.methods.method import Losses
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandPrediction

#: Which labels the likelihood is of.
LikelihoodLabels = Literal["visible_2d", "all_2d", "2d_and_3d"]


@dataclass
class MHEntropyWeights:
    """Weights of the loss terms and the widths behind them; the defaults are published.

    Attributes:
        likelihood_2d: Log-likelihood of image points.
        likelihood_3d: Log-likelihood of joints, with 3D supervision only.
        prior_pose: Soft box that keeps the finger coefficients within +-2.
        prior_orient: Soft ball that keeps the global rotation within pi radians.
        prior_shape: Soft box that keeps the shape coefficients within +-0.03.
        entropy: Mean log-density of the draws: what keeps hypotheses apart. 0 lets them collapse.
        scale_2d: b of the Laplace distribution of image points, in [-1, 1] over the crop.
        scale_3d: The same of joints, in lengths of the middle finger's first bone.
    """

    likelihood_2d: float = 1.0
    likelihood_3d: float = 1.0
    prior_pose: float = 1.0
    prior_orient: float = 1.0
    prior_shape: float = 1.0
    entropy: float = 1.0
    scale_2d: float = 0.03
    scale_3d: float = 0.03

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            check_number(name, weight, least=0)
        check_number("scale_2d", self.scale_2d, above=0)
        check_number("scale_3d", self.scale_3d, above=0)


class MHEntropy(LearnedMethod[PosedHands]):
    """Maximises the likelihood of the visible joints and the entropy of the hands that explain them.

    ``loss = mean_b { -mean_n [log p(uv | hand_n) + log p(hand_n)] + mean_n log q(hand_n | image) }`` over N hands drawn
    from the flow q: minus the evidence lower bound, whose last term is minus the entropy. Hidden joints are ignored by
    the likelihood, so only priors and entropy shape them; the log-likelihood of a joint is multiplied by its confidence
    (`HandBatch.confidence`), where the data has that.

    The point estimate is the hand at the centre of the flow's base.

    Args:
        network: The network.
        mano_path: MANO file or folder; the stand-in hand without it.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops, pixels.
        weights: Of the loss terms.
        supervision: ``"visible_2d"``: image points of visible joints, as published; an image whose joints' visibility
            is not known contributes priors and entropy only. ``"all_2d"``: all image points. ``"2d_and_3d"``: all image
            points, and joints.
        num_draws: N, hypotheses of each training image.
        learning_rate: Of Adam; the highest one for ``one_cycle``.
        milestones: Epochs after which the learning rate falls to a tenth.
        **optimizer: Schedule, see `LearnedMethod`.

    References:
        Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023;
        https://github.com/GloryyrolG/MHEntropy at commit 2a4c775, the branch for hands.
    """

    scale_noise: Tensor

    def __init__(
        self,
        network: MHEntropyNetwork,
        mano_path: str | None = None,
        tips: TipConvention = "ho3d",
        image_size: int = 256,
        weights: MHEntropyWeights | None = None,
        supervision: LikelihoodLabels = "visible_2d",
        num_draws: int = 10,
        learning_rate: float = 2e-4,
        milestones: Sequence[int] = (150, 250),
        **optimizer: Any,
    ) -> None:
        super().__init__(image_size, learning_rate, milestones=milestones, **optimizer)
        check_choice("tips", tips, TipConvention)
        check_choice("supervision", supervision, LikelihoodLabels)
        check_number("num_draws", num_draws, least=1, whole=True)
        self.network = network
        self._hand = HandLayer(load_hand(mano_path), pose_space="pca", flat_hand_mean=False, tips=tips)
        self.weights = weights or MHEntropyWeights()
        self.supervision: LikelihoodLabels = supervision
        self.num_draws = num_draws
        self.register_buffer("scale_noise", scale_noise(network.flow.features), persistent=False)

    @property
    def hand(self) -> HandLayer:
        """Hand layer that turns drawn coefficients into hands."""
        return self._hand

    def infer(self, image: Tensor) -> PosedHands:
        """Distribution over hands for images (B, 3, H, W), uint8."""
        output = self.network(self.network.normalise(image))
        return PosedHands(output.flow, self.hand, output.orient, output.betas, output.view, self.image_size)

    def losses(self, output: PosedHands, batch: HandBatch) -> Losses:
        """Weighted sum of the terms of `MHEntropyWeights`, each a mean over draws and images."""
        weights = self.weights
        drawn, log_density = output.flow.rsample_with_log_prob((self.num_draws,))
        parameters = output.parameters(drawn)
        joints = output.joints(parameters)

        weight_2d = batch.weight_2d
        if self.supervision == "visible_2d":
            weight_2d = weight_2d * (batch.visible & batch.valid["visible"][:, None])
        target = crop_to_normalised(batch.joints_2d, self.image_size)
        terms = {
            "likelihood_2d": -laplace_log_likelihood(output.project(joints), target, weight_2d, weights.scale_2d),
            "prior_pose": -soft_box(parameters.fingers, 2.0, 50.0),
            "prior_orient": -soft_ball(parameters.orient, pi, 5.0),
            "prior_shape": -soft_box(parameters.betas, 0.03, 50.0),
            "entropy": log_density,
        }
        if self.supervision == "2d_and_3d":
            labelled = batch.valid["joints_cam"][:, None].expand(-1, joints.shape[-2])
            relative, true = bone_relative(joints)[0], bone_relative(batch.joints_cam)[0]
            terms["likelihood_3d"] = -laplace_log_likelihood(relative, true, labelled, weights.scale_3d)
        means = {name: term.mean() for name, term in terms.items()}
        total = torch.stack([getattr(weights, name) * mean for name, mean in means.items()]).sum()
        return Losses(total, means)

    def predict(self, output: PosedHands) -> HandPrediction:
        """The hand at the flow's centre; scales are those of its draws."""
        centre = output.centre()
        assert centre.vertices_root is not None
        assert centre.pose is not None
        assert centre.betas is not None
        vertex_scale, joint_scale = output.scales(self.scale_noise)
        joints = centre.joints_root[:, 0]
        return HandPrediction(
            vertices_root=centre.vertices_root[:, 0],
            joints_root=joints,
            joints_2d=centre.joints_2d[:, 0],
            vertex_scale=vertex_scale,
            joint_scale=joint_scale,
            camera=output.camera(joints),
            distribution=output,
            pose=centre.pose[:, 0],
            betas=centre.betas[:, 0],
        )

    @override
    def graph(self) -> PointGraph:
        """Also hypotheses, from noise that is given with the image."""
        return MHEntropyGraph(self)


class MHEntropyGraph(PointGraph):
    """Image and noise to the point estimate, its scales and hypotheses.

    Args:
        method: The method.
    """

    sampling = "noise is standard normal; times a factor below 1 it draws closer to the point estimate"
    method: MHEntropy

    def __init__(self, method: MHEntropy) -> None:
        super().__init__(method, method.image_size)
        features = method.network.flow.features
        noise = Port("noise", (BATCH, HYPOTHESES, features), "standard normal numbers, those of each hypothesis")
        self.inputs = (*self.inputs, noise)
        self.outputs = (*self.outputs, *DRAWN)

    @override
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        image, noise = inputs
        hands = self.method.infer(image)
        drawn = hands.of_noise(noise)
        assert drawn.log_prob is not None
        return (*tensors_of(self.method.predict(hands)), drawn.joints_root, drawn.joints_2d, drawn.log_prob)

    @override
    def example(self, batch: int, hypotheses: int) -> tuple[Tensor, ...]:
        shape = (batch, hypotheses, self.method.network.flow.features)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        return (*super().example(batch, hypotheses), noise)
