"""The hand-model prior of AMVUR's released code."""

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor, nn

from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.skeleton import JOINTS, KINEMATIC_FINGERS, permutation

#: Principal components of the finger pose that are predicted.
NUM_COMPONENTS = 30
#: The 21 points that the released code keeps in front of the 778 vertices: MANO's order, each tip after its finger.
POINTS = ("wrist", *(f"{f}_{i}" for f in KINEMATIC_FINGERS for i in (1, 2, 3, 4)))
#: Rotation of the hand model's root, held fixed: half a turn about x.
ROOT = (math.pi, 0.0, 0.0)


class LinearHead(nn.Sequential):
    """Two linear layers with nothing between them, as released: an affine map.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        hidden: Width between the layers.
    """

    def __init__(self, in_features: int, out_features: int, hidden: int = 512) -> None:
        super().__init__(nn.Linear(in_features, hidden), nn.Linear(hidden, out_features))


@dataclass
class ReferencePriorOutput:
    """Output of the prior for a batch of images.

    Attributes:
        points: (B, 799, 3) 21 points in the order of `POINTS` and 778 vertices, metres.
        log_variance: (B, 799, 3) of the same.
        translation: (B, 3) that is part of the points, metres.
        pose: (B, 48) axis-angle as in `HandBatch.pose`, radians.
    """

    points: Tensor
    log_variance: Tensor
    translation: Tensor
    pose: Tensor


class ReferencePrior(nn.Module):
    """Image feature to a scaled hand mesh, and to a second mesh whose coordinates serve as its log-variances.

    The shape is always the mean hand's, and the global rotation is about the origin of the hand model's frame.

    Args:
        asset: The hand model.
        in_features: Width of the image feature.
    """

    def __init__(self, asset: HandAsset, in_features: int = 2048) -> None:
        super().__init__()
        self.hand = HandLayer(
            asset, pose_space="pca", num_components=NUM_COMPONENTS, flat_hand_mean=False, tips="freihand"
        )
        self._order = permutation(JOINTS, POINTS)
        self.rotation_head = LinearHead(in_features, 3)
        self.scale_head = LinearHead(in_features, 1)
        self.translation_head = LinearHead(in_features, 3)
        # coefficients of the mean's pose, then of the log-variances'
        self.pose_head = LinearHead(in_features, 2 * NUM_COMPONENTS)

    def forward(self, feature: Tensor) -> ReferencePriorOutput:
        """Predict the hand from features (B, in_features)."""
        coefficients = torch.stack(self.pose_head(feature).split(NUM_COMPONENTS, dim=1))
        root = feature.new_tensor(ROOT)
        mesh = self.hand(coefficients, global_orient=root)
        rotation = roma.rotvec_to_rotmat(self.rotation_head(feature))
        points = torch.cat([mesh.joints[:, :, self._order], mesh.vertices], dim=2) @ rotation.mT
        scale, translation = self.scale_head(feature), self.translation_head(feature)
        whole_rotation = rotation @ roma.rotvec_to_rotmat(root)
        finger_pose = self.hand.full_pose(coefficients[0])
        return ReferencePriorOutput(
            points=translation[:, None] + scale.abs()[:, None] * points[0],
            log_variance=scale.square().log()[:, None] + points[1],
            translation=translation,
            pose=torch.cat([roma.rotmat_to_rotvec(whole_rotation), finger_pose], dim=1),
        )
