"""The AMVUR network (CVPR 2023): one image feature, a hand-model prior, an attention posterior and a camera."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.hand.asset import HandAsset
from handlit.hand.coarse import COARSE_VERTICES, coarse_upsampling
from handlit.hand.layer import HandLayer
from handlit.models.attention_decoder import AttentionDecoder
from handlit.models.backbones import Backbone
from handlit.models.prior_net import HandPrior, PriorNet, RegressionHead
from handlit.skeleton import TipConvention

#: Magnification before training, per metre: 24 cm fill the crop, so that a hand of 18 cm lies well inside it.
INITIAL_MAGNIFICATION = 1 / 0.12


@dataclass
class AMVUROutput:
    """What the network says about a batch of images.

    Attributes:
        posterior: The answer: over wrist-relative vertices (B, 778, 3), metres, camera axes.
        prior: The hand model's answer, which regularises the posterior.
        camera: (B, 3) weak perspective ``(s, tx, ty)`` from root-relative metres to [-1, 1] over the crop; s > 0.
    """

    posterior: MeshGaussian
    prior: HandPrior
    camera: Tensor


class CameraHead(nn.Module):
    """Image feature to a weak-perspective camera in normalised crop coordinates.

    The magnification is the exponential of the network's output: positive, and as easily halved as doubled.

    Args:
        in_features: Width of the image feature.
        hidden: Width inside the head.
    """

    def __init__(self, in_features: int, hidden: int = 512) -> None:
        super().__init__()
        self.head = RegressionHead(in_features, hidden, [math.log(INITIAL_MAGNIFICATION), 0.0, 0.0])

    def forward(self, feature: Tensor) -> Tensor:
        """Cameras (B, 3) as ``(s, tx, ty)`` of features (B, in_features); ``uv = s xy + t``, xy in metres."""
        log_magnification, offset = self.head(feature).float().split((1, 2), dim=1)
        return torch.cat([log_magnification.exp(), offset], dim=1)


class AMVURNetwork(nn.Module):
    """Image to posterior and prior distributions over the hand's mesh, and a camera.

    Args:
        asset: The hand model. Its template gives the decoder's tokens, its bases the prior.
        tips: Vertices that stand for the finger tips; named by the source of the labels.
        backbone: Image network.
        hidden: Width of each block of the decoder; the default is the paper's.
        layers: Transformer layers in each block.
        heads: Attention heads in each block.
        feedforward_ratio: Width inside the transformer layers' two-layer networks relative to ``hidden``.
        dropout: In the decoder, of embeddings and residual branches.
        attention_dropout: In the decoder, of the attention probabilities.
        num_components: Principal pose components of the prior.
        head_hidden: Width inside the prior's and the camera's heads.

    Attributes:
        hand: Hand layer of the prior; its `joint_matrix` regresses joints from any mesh.
    """

    def __init__(
        self,
        asset: HandAsset,
        tips: TipConvention,
        backbone: Backbone,
        *,
        hidden: Sequence[int] = (1024, 256, 64),
        layers: int = 4,
        heads: int = 4,
        feedforward_ratio: int = 4,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        num_components: int = 30,
        head_hidden: int = 512,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        hand = HandLayer(asset, pose_space="pca", num_components=num_components, flat_hand_mean=False, tips=tips)
        self.prior_net = PriorNet(backbone.channels, hand, num_components=num_components, hidden=head_hidden)
        with torch.no_grad():
            template = hand(torch.zeros(num_components))
        wrist = template.joints[:1]
        self.decoder = AttentionDecoder(
            backbone.channels,
            template.joints - wrist,
            template.vertices[list(COARSE_VERTICES)] - wrist,
            torch.from_numpy(coarse_upsampling(asset.template)).float(),
            hidden=hidden,
            layers=layers,
            heads=heads,
            feedforward_ratio=feedforward_ratio,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )
        self.camera_head = CameraHead(backbone.channels, hidden=head_hidden)

    @property
    def hand(self) -> HandLayer:
        """The prior's hand layer."""
        return self.prior_net.hand

    def forward(self, images: Tensor) -> AMVUROutput:
        """Look at images.

        Args:
            images: (B, 3, H, W) normalised, from the backbone's `normalise`.

        Returns:
            Distributions and cameras.
        """
        feature = self.backbone(images).pooled
        posterior = MeshGaussian.from_log_variance(*self.decoder(feature))
        return AMVUROutput(posterior, self.prior_net(feature), self.camera_head(feature))
