"""A toy method: pose and camera are a linear function of an 8x8 thumbnail of the crop."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.distributions.cameras import WeakPerspectiveCamera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.geometry.cameras import normalised_to_crop, view_to_crop
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.reduction import masked_mean
from handlit.methods.labels import mesh_labels
from handlit.methods.learned import LearnedMethod
from handlit.methods.method import Losses
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandPrediction


class ThumbnailHand(LearnedMethod[GaussianHands]):
    def __init__(
        self, mano_path: str | None = None, tips: TipConvention = "ho3d", image_size: int = 224, **optimizer: Any
    ) -> None:
        super().__init__(image_size, **optimizer)
        self._hand = HandLayer(load_hand(mano_path), tips=tips)
        self.linear = nn.Linear(3 * 8 * 8, 45 + 3 + 3)
        self.log_variance = nn.Parameter(torch.tensor(2 * math.log(0.02)))

    @property
    def hand(self) -> HandLayer:
        return self._hand

    def infer(self, image: Tensor) -> GaussianHands:
        thumbnail = F.adaptive_avg_pool2d(image / 255, 8).flatten(1)
        pose, orient, view = self.linear(thumbnail).split((45, 3, 3), dim=1)
        hand = self.hand(pose, global_orient=orient)
        vertices = hand.vertices - hand.joints[:, :1]
        mesh = MeshGaussian.from_log_variance(vertices, self.log_variance.expand_as(vertices))
        camera = WeakPerspectiveCamera(view + view.new_tensor([5.0, 0.0, 0.0]))
        return GaussianHands(mesh, self.hand.joint_matrix, camera, self.image_size)

    def losses(self, output: GaussianHands, batch: HandBatch) -> Losses:
        labels = mesh_labels(batch, self.hand.joint_matrix)
        nll = masked_mean(-output.log_prob(labels.vertices_root), labels.vertices_valid)
        errors = (self.predict(output).joints_2d - labels.joints_2d).abs().mean((1, 2)) / self.image_size
        joints_2d = masked_mean(errors, labels.joints_2d_valid)
        return Losses(nll / 2334 + joints_2d, {"nll": nll, "joints_2d": joints_2d})

    def predict(self, output: GaussianHands) -> HandPrediction:
        joints = output.marginal(self.hand.joint_matrix, relative_to=0)
        joints_2d = normalised_to_crop(output.camera.project(joints).mean, self.image_size)
        camera = view_to_crop(output.camera.view, self.image_size)
        return HandPrediction(output.mean, joints.mean, joints_2d, output.stddev, joints.stddev, camera, output)
