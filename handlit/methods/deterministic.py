"""The baseline that shows what a distribution is worth: AMVUR's network without prior and without scales."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from handlit.distributions.cameras import Camera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import check_choice, check_number
from handlit.geometry.cameras import crop_to_normalised, normalised_to_crop, view_to_crop
from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.gaussian import scale_nll
from handlit.losses.points import l1_distance
from handlit.losses.reduction import masked_mean
from handlit.methods.graph import GaussianGraph
from handlit.methods.labels import mesh_labels
from handlit.methods.learned import LearnedMethod
from handlit.methods.method import Losses
from handlit.models.amvur import AMVURNetwork
from handlit.skeleton import WRIST, TipConvention
from handlit.types import HandBatch, HandPrediction


@dataclass
class MeshAndCamera:
    """Output of the network for a batch of images.

    Attributes:
        mesh: Over wrist-relative vertices, with one scale for all.
        camera: Projects root-relative points to [-1, 1] over the crop.
    """

    mesh: MeshGaussian
    camera: Camera


class Deterministic(LearnedMethod[MeshAndCamera]):
    """Backbone, attention decoder and camera of `AMVURNetwork`, trained with absolute errors alone.

    Like every method it predicts a distribution: all vertex coordinates share one standard deviation, a parameter that
    only the likelihood of the training meshes fits. AMVUR's scales are fitted to the same data by the same criterion,
    so likelihoods can be compared.

    The network's heads for the prior and for log-variances exist, since the network is the same, but are neither
    computed nor trained.

    Args:
        network: Builds the network from the hand model and the finger-tip convention.
        mano_path: MANO file or folder; the stand-in hand without it.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops, pixels.
        vertices: Weight of the mean absolute error of the mesh, per metre.
        joints: The same of the joints regressed from it, wrist at the origin, per metre.
        joints_2d: The same of their projections, per unit of normalised crop coordinates (the crop is 2 wide).
        initial_scale: Standard deviation of a vertex coordinate before training, metres.
        **optimizer: Learning rate and schedule, see `LearnedMethod`.
    """

    def __init__(
        self,
        network: Callable[[HandAsset, TipConvention], AMVURNetwork],
        mano_path: str | None = None,
        tips: TipConvention = "ho3d",
        image_size: int = 224,
        vertices: float = 100.0,
        joints: float = 100.0,
        joints_2d: float = 5.0,
        initial_scale: float = 0.02,
        **optimizer: Any,
    ) -> None:
        super().__init__(image_size, **optimizer)
        check_choice("tips", tips, TipConvention)
        check_number("initial_scale", initial_scale, above=0)
        for name, weight in {"vertices": vertices, "joints": joints, "joints_2d": joints_2d}.items():
            check_number(name, weight, least=0)
        self.network = network(load_hand(mano_path), tips)
        decoder = self.network.decoder
        for unused in (self.network.prior_net, decoder.log_variance_head, decoder.upsampling_log_variance):
            unused.requires_grad_(False)
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(initial_scale)))
        self.weights = {"vertices": vertices, "joints": joints, "joints_2d": joints_2d, "nll": 1.0}

    @property
    def hand(self) -> HandLayer:
        """Hand layer that regresses the joints."""
        return self.network.hand

    def infer(self, image: Tensor) -> MeshAndCamera:
        """Mesh and camera for images (B, 3, H, W), uint8."""
        feature = self.network.backbone(self.network.backbone.normalise(image)).pooled
        vertices, _ = self.network.decoder(feature)
        log_variance = (2 * self.log_scale).expand_as(vertices)
        return MeshAndCamera(MeshGaussian.from_log_variance(vertices, log_variance), self.network.camera_head(feature))

    def losses(self, output: MeshAndCamera, batch: HandBatch) -> Losses:
        """Absolute errors of vertices, joints and projections, and the likelihood that fits the scale alone."""
        labels = mesh_labels(batch, self.hand.joint_matrix)
        joints = output.mesh.marginal(self.hand.joint_matrix, relative_to=WRIST)
        projected = output.camera.project(joints).mean
        target_2d = crop_to_normalised(labels.joints_2d, self.image_size)
        terms = {
            "vertices": masked_mean(l1_distance(output.mesh.mean, labels.vertices_root), labels.vertices_valid),
            "joints": masked_mean(l1_distance(joints.mean, labels.joints_root), labels.joints_valid),
            "joints_2d": masked_mean(
                l1_distance(projected, target_2d, labels.joints_2d_weight), labels.joints_2d_valid
            ),
            "nll": masked_mean(scale_nll(output.mesh, labels.vertices_root), labels.vertices_valid),
        }
        return Losses(torch.stack([self.weights[name] * value for name, value in terms.items()]).sum(), terms)

    def predict(self, output: MeshAndCamera) -> HandPrediction:
        """The mesh with its one scale."""
        joints = output.mesh.marginal(self.hand.joint_matrix, relative_to=WRIST)
        return HandPrediction(
            vertices_root=output.mesh.mean,
            joints_root=joints.mean,
            joints_2d=normalised_to_crop(output.camera.project(joints).mean, self.image_size),
            vertex_scale=output.mesh.stddev,
            joint_scale=joints.stddev,
            camera=view_to_crop(output.camera.view, self.image_size),
            distribution=GaussianHands(output.mesh, self.hand.joint_matrix, output.camera, self.image_size),
            root_cam=output.camera.root_cam,
        )

    @override
    def graph(self) -> GaussianGraph:
        """Also the matrix that regresses the joints of a drawn mesh."""
        return GaussianGraph(self, self.image_size, self.hand.joint_matrix)
