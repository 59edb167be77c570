"""The network of `PixelLift`: where the joints are in the image, and what hand they and what it shows there mean."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handlit.distributions.rotations import RotationMixture
from handlit.errors import InputError
from handlit.geometry.viewing_ray import view_hand
from handlit.models.backbones import Backbone
from handlit.models.keypoints import KeypointHead, Keypoints
from handlit.models.lift import LiftNetwork, LiftOutput
from handlit.models.lift_weights import SHIPPED, SHIPPED_SHA256, read_lift
from handlit.skeleton import NUM_JOINTS

#: Confidence falls by this for each hundredth of the box that a joint's standard deviation has, as in the hands that
#: `LiftNetwork` learns from (`data.synthesis.detector_noise`).
_DISTRUST = 8.0
#: Width between the features of the joints and the image's word on the rotation.
_HIDDEN = 64
#: Share of them that is dropped in training.
_DROPPED = 0.2


class PixelLiftOutput(NamedTuple):
    """Output for a batch of images.

    Attributes:
        keypoints: The joints in the crops.
        steps: Distributions over hands given them.
    """

    keypoints: Keypoints
    steps: LiftOutput


class PixelLiftNetwork(nn.Module):
    """Images and their cameras to joints in the image and distributions over hands.

    What the lifting network takes from detected joints it takes here from the Gaussians of the keypoints: their means,
    and how far each is trusted from its spread. Joints alone often leave open which side of the hand is seen, and the
    lifting network then has a component for each answer. What the image shows at the joints decides: it gives a 3x3
    matrix A, and the log-weight of each component of the rotation grows by ``tr(A' R)`` of its mean R, the log-density
    of a matrix Fisher distribution. In the beginning A is zero.

    Args:
        backbone: With ``maps: true``.
        lifter: Lifting network to learn from nothing; None for the weights of `pretrained`, which stay as they are.
        pretrained: File of a lifting network, ``"shipped"`` for the package's own, which are of the stand-in hand.
        width: Channels inside the keypoint head.

    Raises:
        InputError: The backbone has no maps, or the weights cannot be read.

    References:
        Mohlin et al., "Probabilistic Orientation Estimation with Matrix Fisher Distributions", NeurIPS 2020,
        https://arxiv.org/abs/2006.09740.
    """

    def __init__(
        self,
        backbone: Backbone,
        lifter: LiftNetwork | None = None,
        pretrained: str = "shipped",
        width: int = 64,
    ) -> None:
        super().__init__()
        if not backbone.map_channels:
            raise InputError("the keypoints of PixelLift are read from feature maps: set the backbone's maps to true")
        self.backbone = backbone
        self.keypoints = KeypointHead(backbone.map_channels, backbone.channels, width)
        self.lifter = lifter or _pretrained(pretrained)
        last = nn.Linear(_HIDDEN, 9)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        shown = width * NUM_JOINTS
        self.facing = nn.Sequential(
            nn.BatchNorm1d(shown, affine=False), nn.Dropout(_DROPPED), nn.Linear(shown, _HIDDEN), nn.SiLU(), last
        )

    def forward(self, image: Tensor, intrinsics: Tensor) -> PixelLiftOutput:
        """Predict.

        Args:
            image: (B, 3, S, S) float, from `Backbone.normalise`.
            intrinsics: (B, 3, 3) of the crops' pixels.
        """
        features = self.backbone(image)
        keypoints = self.keypoints(features.maps, features.pooled, image.shape[-1])
        with torch.autocast(image.device.type, enabled=False):
            mean = keypoints.mean
            view = view_hand(mean, torch.ones_like(mean[..., 0], dtype=torch.bool), intrinsics.float())
            box = (mean.amax(1) - mean.amin(1)).amax(1).clamp(min=1.0)
            # how far joints are trusted is said by their own errors, not by what the lifting network makes of it
            confidence = (1 - _DISTRUST * keypoints.scale.detach() / box.detach()[:, None]).clamp(0.05, 1)
            steps = self.lifter(view, confidence)
            matrix = self.facing(keypoints.features.flatten(1)).unflatten(1, (1, 3, 3))
            return PixelLiftOutput(keypoints, replace(steps, rotation=_weighed(steps.rotation, matrix)))


def _weighed(rotation: RotationMixture, matrix: Tensor) -> RotationMixture:
    """The mixture with ``tr(A' R)`` of each mean R added to its component's log-weight; A is (B, 1, 3, 3)."""
    logits = rotation.logits + (matrix * rotation.means).sum((-1, -2))
    return RotationMixture(logits, rotation.means, rotation.scale_tril)


def _pretrained(name: str) -> LiftNetwork:
    network = read_lift(SHIPPED, SHIPPED_SHA256) if name == "shipped" else read_lift(Path(name))
    return network.requires_grad_(False).train()
