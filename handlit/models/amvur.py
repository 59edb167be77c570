"""The AMVUR network: an image feature, a hand-model prior, an attention posterior and a camera.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from handlit.distributions.cameras import Camera, PerspectiveCamera, WeakPerspectiveCamera
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import check_choice, check_number
from handlit.hand.asset import HandAsset
from handlit.hand.coarse import COARSE_VERTICES, coarse_upsampling
from handlit.hand.layer import HandLayer
from handlit.models.attention_decoder import AttentionDecoder
from handlit.models.backbones import Backbone, compile_in_place
from handlit.models.mesh_spread import MeshSpread
from handlit.models.prior_net import HandPrior, PriorNet, RegressionHead
from handlit.models.texture import TextureDecoder
from handlit.skeleton import TipConvention

#: Magnification before training, per metre: 24 cm fill the crop, so that a hand of 18 cm lies well inside it.
INITIAL_MAGNIFICATION = 1 / 0.12
#: Intrinsics before training: a depth of 0.6 m, the principal point in the middle of the crop.
INITIAL_FOCAL = 0.6 * INITIAL_MAGNIFICATION
#: Their standard deviations before training: of the logarithm of the focal lengths, and of the principal point.
INITIAL_INTRINSICS_SCALE = (0.3, 0.3, 1.0, 1.0)
#: Bounds of these standard deviations. A crop does not determine its intrinsics better than the lower one, and below it
#: a single wrong prediction would outweigh the rest of the loss.
INTRINSICS_SCALE_BOUNDS = (0.05, 3.0)

CameraModel = Literal["weak_perspective", "perspective"]


@dataclass
class AMVUROutput:
    """Output of the network for a batch of images.

    Attributes:
        posterior: Over wrist-relative vertices (B, 778, 3), metres, camera axes.
        prior: The hand model's prediction, which regularises the posterior.
        camera: Projects root-relative points to [-1, 1] over the crop.
        maps: The backbone's feature maps, for the texture; empty without a texture branch.
    """

    posterior: MeshGaussian
    prior: HandPrior
    camera: Camera
    maps: tuple[Tensor, ...] = ()


class CameraHead(nn.Module):
    """Image feature to a camera in normalised crop coordinates.

    Magnification and focal lengths are exponentials of the network's outputs: positive, and halved as easily as
    doubled.

    Args:
        in_features: Width of the image feature.
        model: ``"weak_perspective"``, or ``"perspective"`` with intrinsics, their uncertainty and a depth.
        hidden: Width inside the head.
    """

    def __init__(self, in_features: int, model: CameraModel = "weak_perspective", hidden: int = 512) -> None:
        super().__init__()
        self.head = RegressionHead(in_features, hidden, [math.log(INITIAL_MAGNIFICATION), 0.0, 0.0])
        self.intrinsics_head = None
        if model == "perspective":
            mean = [math.log(INITIAL_FOCAL)] * 2 + [0.0, 0.0]
            log_scale = [math.log(scale) for scale in INITIAL_INTRINSICS_SCALE]
            self.intrinsics_head = RegressionHead(in_features, hidden, mean + log_scale)

    def forward(self, feature: Tensor) -> Camera:
        """Features (B, in_features) to cameras."""
        log_magnification, offset = self.head(feature).split((1, 2), dim=1)
        view = torch.cat([log_magnification.exp(), offset], dim=1)
        if self.intrinsics_head is None:
            return WeakPerspectiveCamera(view)
        mean, log_scale = self.intrinsics_head(feature).chunk(2, dim=1)
        low, high = INTRINSICS_SCALE_BOUNDS
        scale = log_scale.clamp(math.log(low), math.log(high)).exp()
        return PerspectiveCamera(view, Normal(mean, scale, validate_args=False))


class AMVURNetwork(nn.Module):
    """Image to posterior and prior distributions over the hand's mesh, and a camera.

    Args:
        asset: The hand model. Its template gives the decoder's tokens, its bases the prior.
        tips: Vertices that stand for the finger tips; named by the source of the labels.
        backbone: Image network.
        camera: Model of the camera; the paper uses the weak-perspective one with supervision by meshes and the
            perspective one with supervision by 2D joints.
        hidden: Width of each block of the decoder; the default is the paper's.
        layers: Transformer layers in each block.
        heads: Attention heads in each block.
        feedforward_ratio: Width inside the transformer layers' two-layer networks relative to ``hidden``.
        dropout: In the decoder, of embeddings and residual branches.
        attention_dropout: In the decoder, of the attention probabilities.
        num_components: Principal pose components of the prior.
        head_hidden: Width inside the prior's and the camera's heads.
        spread_rank: Rank of what the posterior's vertices share (`MeshSpread`); 0, the published method, has them
            independent. Give `FullSupervision` a weight for ``nll_joints`` with it.
        texture: Builds the texture branch from the channels of the backbone's maps and the hand model; the backbone
            must be built with ``maps``. `forward` does not run it: callers that need colours do.
        activation_checkpointing: Compute the decoder's transformer layers again in the backward pass; the backbone has
            an option of its own.
        compile: Run the decoder through ``torch.compile``; the backbone has an option of its own.

    Attributes:
        hand: Hand layer of the prior; its `joint_matrix` regresses joints from any mesh.
    """

    def __init__(
        self,
        asset: HandAsset,
        tips: TipConvention,
        backbone: Backbone,
        *,
        camera: CameraModel = "weak_perspective",
        hidden: Sequence[int] = (1024, 256, 64),
        layers: int = 4,
        heads: int = 4,
        feedforward_ratio: int = 4,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        num_components: int = 30,
        head_hidden: int = 512,
        spread_rank: int = 0,
        texture: Callable[[Sequence[int], HandAsset], TextureDecoder] | None = None,
        activation_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        check_choice("tips", tips, TipConvention)
        check_choice("camera", camera, CameraModel)
        widths = {"layers": layers, "heads": heads, "feedforward_ratio": feedforward_ratio, "head_hidden": head_hidden}
        for name, value in {**widths, "hidden": min(hidden, default=0)}.items():
            check_number(name, value, least=1, whole=True)
        check_number("num_components", num_components, least=1, most=45, whole=True)
        check_number("spread_rank", spread_rank, least=0, most=3 + num_components + 10, whole=True)
        check_number("dropout", dropout, least=0, below=1)
        check_number("attention_dropout", attention_dropout, least=0, below=1)
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
            activation_checkpointing=activation_checkpointing,
        )
        if compile:
            compile_in_place(self.decoder)
        self.spread = (
            MeshSpread(backbone.channels, hand, num_components, spread_rank, head_hidden) if spread_rank else None
        )
        self.camera_head = CameraHead(backbone.channels, camera, hidden=head_hidden)
        self.texture = texture(backbone.map_channels, asset) if texture is not None else None

    @property
    def hand(self) -> HandLayer:
        """The prior's hand layer."""
        return self.prior_net.hand

    @property
    def template_joints(self) -> Tensor:
        """(21, 3) joints of the mean hand in its mean pose, wrist at the origin, metres."""
        return self.decoder.tokens[0, : self.decoder.num_joints]

    def forward(self, images: Tensor) -> AMVUROutput:
        """Predict hands.

        Args:
            images: (B, 3, H, W) normalised, from the backbone's `normalise`.

        Returns:
            Distributions and cameras.
        """
        features = self.backbone(images)
        mean, log_variance = self.decoder(features.pooled)
        prior, camera = self.prior_net(features.pooled), self.camera_head(features.pooled)
        factor = None if self.spread is None else self.spread(features.pooled, mean, prior.rotation)
        posterior = MeshGaussian.from_log_variance(mean, log_variance, factor)
        return AMVUROutput(posterior, prior, camera, features.maps)
