"""The whole forward pass of AMVUR's released code, built from handlit's blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from handlit.hand.asset import NUM_VERTICES, HandAsset
from handlit.hand.coarse import COARSE_VERTICES, NUM_COARSE_VERTICES
from handlit.hand.layer import HandLayer
from handlit.models.attention_decoder import AttentionDecoder
from handlit.models.backbones import Backbone
from handlit.models.published.amvur.cameras import (
    ReferenceCamera,
    ReferenceOrthographicCamera,
    ReferencePerspectiveCamera,
)
from handlit.models.published.amvur.prior import POINTS, LinearHead, ReferencePrior
from handlit.models.published.amvur.texture import ReferenceTexture

#: ``"orthographic"`` of the supervised experiments, ``"perspective"`` of the weakly supervised ones.
ReferenceCameraModel = Literal["orthographic", "perspective"]


@dataclass
class ReferenceMesh:
    """A mesh, the joints regressed from it and their image points; metres, camera axes, not wrist-relative.

    Attributes:
        vertices: (B, 778, 3).
        log_variance: (B, 778, 3) of the vertices.
        joints: (B, 21, 3).
        joint_log_variance: (B, 21, 3).
        joints_2d: (B, 21, 2) in the camera's unit.
        joint_2d_log_variance: (B, 21, 2), of whatever unit the released code gives it.
    """

    vertices: Tensor
    log_variance: Tensor
    joints: Tensor
    joint_log_variance: Tensor
    joints_2d: Tensor
    joint_2d_log_variance: Tensor


@dataclass
class ReferenceOutput:
    """Output of the network for a batch of images.

    Attributes:
        attention: The attention branch's mesh.
        prior: The hand model's mesh.
        pose: (B, 48) the hand model's pose, as in `HandBatch.pose`.
        camera: The predicted camera.
        amplitude: (B, 1) learned factor of the standard deviations when meshes and joints are drawn; any sign.
        amplitude_2d: (B, 1) the same for image points.
        maps: Feature maps, for the texture.
    """

    attention: ReferenceMesh
    prior: ReferenceMesh
    pose: Tensor
    camera: ReferenceCamera
    amplitude: Tensor
    amplitude_2d: Tensor
    maps: tuple[Tensor, ...]


class AMVURReferenceNetwork(nn.Module):
    """Image to both meshes, camera and, on request, vertex colours, numerically as released.

    Backbone, mesh decoder and attention blocks are handlit's own. Weights come from
    ``handlit import-weights --from amvur``.

    Args:
        asset: The hand model.
        camera: Which of its two cameras is used; the weights hold both.
    """

    def __init__(self, asset: HandAsset, camera: ReferenceCameraModel = "orthographic") -> None:
        super().__init__()
        self.camera: ReferenceCameraModel = camera
        self.backbone = Backbone("hrnet_w64", maps=True)
        self.hand = HandLayer(asset, tips="amvur")
        # tokens are the hand in its mean pose, its middle tip one vertex beside that of the regressed joints
        template_layer = HandLayer(asset, flat_hand_mean=False, tips="manopth")
        with torch.no_grad():
            template = template_layer(torch.zeros(45))
        wrist = template.joints[:1]
        self.decoder = AttentionDecoder(
            self.backbone.channels,
            template.joints - wrist,
            template.vertices[list(COARSE_VERTICES)] - wrist,
            torch.zeros(NUM_VERTICES, NUM_COARSE_VERTICES),
        )
        self.prior = ReferencePrior(asset, self.backbone.channels)
        self.texture = ReferenceTexture(self.backbone.map_channels)
        self.orthographic_head = LinearHead(self.backbone.channels, 3)
        self.orthographic_variance_head = LinearHead(self.backbone.channels, 3)
        self.intrinsics_head = LinearHead(self.backbone.channels, 4)
        self.intrinsics_variance_head = LinearHead(self.backbone.channels, 4)
        self.amplitude_head = LinearHead((len(POINTS) + NUM_VERTICES) * 3, 1)
        self.amplitude_2d_head = nn.Linear(len(POINTS) * 2, 1)
        self.intrinsics_amplitude_head = nn.Linear(4, 1)

    def forward(self, images: Tensor, camera_noise: Tensor | None = None) -> ReferenceOutput:
        """Predict hands.

        Args:
            images: (B, 3, 224, 224) normalised, from the backbone's `normalise`.
            camera_noise: (B, 4) standard normal numbers that the perspective intrinsics are drawn with. None for
                their mean; the released code always draws, also in evaluation.

        Returns:
            Meshes, camera and feature maps.
        """
        features = self.backbone(images)
        feature = features.pooled
        prior = self.prior(feature)
        camera = self._camera(feature, camera_noise)
        vertices, log_variance = self.decoder(feature)
        if self.camera == "perspective":
            # released: added to the coarse vertices, and the learned upsampling is linear
            weights = self.decoder.upsampling.weight.sum(1)
            vertices = vertices + weights[:, None] * prior.translation[:, None]
        attention = self._mesh(vertices, log_variance, camera, camera.log_variance)
        hand = self._mesh(
            prior.points[:, len(POINTS) :], prior.log_variance[:, len(POINTS) :], camera, camera.prior_log_variance
        )
        return ReferenceOutput(
            attention=attention,
            prior=hand,
            pose=prior.pose,
            camera=camera,
            amplitude=self.amplitude_head(prior.log_variance.flatten(1)),
            amplitude_2d=self.amplitude_2d_head(hand.joint_2d_log_variance.flatten(1)),
            maps=features.maps,
        )

    def colours(self, output: ReferenceOutput) -> Tensor:
        """Vertex colours (B, 778, 3): RGB in ImageNet's normalised units, unbounded.

        Args:
            output: From `forward`.
        """
        return self.texture(output.maps, output.camera.texture_points(output.prior.vertices))

    def _camera(self, feature: Tensor, noise: Tensor | None) -> ReferenceCamera:
        if self.camera == "orthographic":
            return ReferenceOrthographicCamera(
                self.orthographic_head(feature), self.orthographic_variance_head(feature)
            )
        mean, log_variance = self.intrinsics_head(feature), self.intrinsics_variance_head(feature)
        amplitude = self.intrinsics_amplitude_head(log_variance)
        drawn = mean if noise is None else mean + amplitude * noise * (log_variance / 2).exp()
        return ReferencePerspectiveCamera(mean.abs(), log_variance, amplitude, drawn.abs())

    def _mesh(
        self,
        vertices: Tensor,
        log_variance: Tensor,
        camera: ReferenceCamera,
        project_log_variance: Callable[[Tensor, Tensor], Tensor],
    ) -> ReferenceMesh:
        matrix = self.hand.joint_matrix
        joints = matrix @ vertices
        joint_log_variance = (matrix.square() @ log_variance.exp()).log()
        return ReferenceMesh(
            vertices=vertices,
            log_variance=log_variance,
            joints=joints,
            joint_log_variance=joint_log_variance,
            joints_2d=camera.project(joints),
            joint_2d_log_variance=project_log_variance(joints, joint_log_variance),
        )
