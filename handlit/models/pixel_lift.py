"""The network of `PixelLift`: where the joints are in the image, and what hand they and the image's feature mean."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

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
    and how far each is trusted from its spread. The image's feature and the Gaussians themselves are added to what the
    lifting network knows, from nothing at the start of training.

    Args:
        backbone: With ``maps: true``.
        lifter: Lifting network to start from nothing with; None for the weights of `pretrained`.
        pretrained: File of a lifting network, ``"shipped"`` for the package's own, which are of the stand-in hand.
        width: Channels inside the keypoint head.

    Raises:
        InputError: The backbone has no maps, or the weights cannot be read.
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
        self.of_image = nn.Linear(backbone.channels + 4 * NUM_JOINTS, self.lifter.settings["width"])
        nn.init.zeros_(self.of_image.weight)
        nn.init.zeros_(self.of_image.bias)

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
            confidence = (1 - _DISTRUST * keypoints.scale / box[:, None]).clamp(0.05, 1)
            spread = (keypoints.scale_tril / box[:, None, None, None]).flatten(2)[..., [0, 2, 3]]
            known = torch.cat([spread.flatten(1), keypoints.seen_logit.sigmoid(), features.pooled.float()], 1)
            return PixelLiftOutput(keypoints, self.lifter(view, confidence, self.of_image(known)))


def _pretrained(name: str) -> LiftNetwork:
    network = read_lift(SHIPPED, SHIPPED_SHA256) if name == "shipped" else read_lift(Path(name))
    return network.train()
