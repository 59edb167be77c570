"""AMVUR's prior: a hand model driven by the image feature, with a scale for every vertex.

Where the published code departs from the paper's intent, this follows the intent: its two-layer heads have a
non-linearity, shape coefficients are learned, the log-variance is predicted as such, and the global rotation is about
the wrist.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import roma
import torch
from torch import Tensor, nn

from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.hand.asset import NUM_VERTICES
from handlit.hand.layer import HandLayer

#: Standard deviation of the initial weights of a head's last layer: outputs start close to the head's bias.
_INIT_STD = 1e-3


class RegressionHead(nn.Sequential):
    """Two-layer network whose output starts at a given value.

    Args:
        in_features: Width of the image feature.
        hidden: Width between the two layers.
        initial: The output before training; its length is the number of outputs.
    """

    def __init__(self, in_features: int, hidden: int, initial: Sequence[float]) -> None:
        last = nn.Linear(hidden, len(initial))
        nn.init.normal_(last.weight, std=_INIT_STD)
        with torch.no_grad():
            last.bias.copy_(torch.tensor(initial))
        super().__init__(nn.Linear(in_features, hidden), nn.ReLU(), last)

    def forward(self, feature: Tensor) -> Tensor:
        """Features (B, in_features) to (B, outputs), in the precision of the weights, also under autocast."""
        with torch.autocast(feature.device.type, enabled=False):
            return super().forward(feature.to(next(self.parameters()).dtype))


@dataclass
class HandPrior:
    """The hand model's prediction for a batch of images.

    Attributes:
        distribution: Over wrist-relative vertices (B, 778, 3), metres, camera axes.
        finger_pose: (B, 45) axis-angle with the mean pose included, radians.
        rotation: (B, 3, 3) global rotation from the hand model's frame to camera axes.
        betas: (B, 10) shape coefficients.
        pose_coefficients: (B, num_components) principal components of the finger pose about its mean, radians.
    """

    distribution: MeshGaussian
    finger_pose: Tensor
    rotation: Tensor
    betas: Tensor
    pose_coefficients: Tensor

    @property
    def pose(self) -> Tensor:
        """(B, 48) axis-angle, radians, as in `HandBatch.pose`; not differentiable."""
        return torch.cat([roma.rotmat_to_rotvec(self.rotation.detach()), self.finger_pose.detach()], dim=1)


class PriorNet(nn.Module):
    """Image feature to a hand model's mesh and the scale of each of its vertices.

    The global rotation is predicted as the first two columns of its matrix: unlike axis-angle this has no jump at half
    a turn, where many photographed hands are.

    Args:
        in_features: Width of the image feature.
        hand: Hand layer with ``pose_space="pca"``.
        num_components: Pose coefficients that the hand layer takes.
        hidden: Width inside each head.
        initial_scale: Standard deviation of a vertex coordinate before training, metres.

    References:
        Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019,
        https://arxiv.org/abs/1812.07035.
    """

    def __init__(
        self,
        in_features: int,
        hand: HandLayer,
        *,
        num_components: int = 30,
        hidden: int = 512,
        initial_scale: float = 0.02,
    ) -> None:
        super().__init__()
        self.hand = hand
        self.pose_head = RegressionHead(in_features, hidden, [0.0] * num_components)
        self.betas_head = RegressionHead(in_features, hidden, [0.0] * 10)
        self.rotation_head = RegressionHead(in_features, hidden, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        self.log_variance_head = RegressionHead(in_features, hidden, [2 * math.log(initial_scale)] * (NUM_VERTICES * 3))

    def forward(self, feature: Tensor) -> HandPrior:
        """Predict the hand.

        Args:
            feature: (B, in_features).

        Returns:
            The mesh's distribution and the parameters of its mean.
        """
        pose, betas, columns, log_variance = (
            head(feature) for head in (self.pose_head, self.betas_head, self.rotation_head, self.log_variance_head)
        )
        with torch.autocast(feature.device.type, enabled=False):
            columns = columns.unflatten(1, (2, 3)).mT
            rotation = roma.special_gramschmidt(columns)
            mesh = self.hand(pose, betas)
            # a global rotation moves the hand rigidly about its wrist, so it can follow the hand layer; this avoids
            # axis-angle, whose gradient has no limit at half a turn
            vertices = (mesh.vertices - mesh.joints[:, :1]) @ rotation.mT
        distribution = MeshGaussian.from_log_variance(vertices, log_variance.unflatten(1, (NUM_VERTICES, 3)))
        return HandPrior(distribution, self.hand.full_pose(pose), rotation, betas, pose)
