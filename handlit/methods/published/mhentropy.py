"""MHEntropy with the conventions of its released code, for its released weights and published numbers."""

from dataclasses import replace

from torch import Tensor

from handlit.distributions.posed_hands import PosedHands
from handlit.methods.mhentropy import MHEntropy
from handlit.models.mhentropy import MHEntropyNetwork


class MHEntropyReference(MHEntropy):
    """`MHEntropy` whose finger tips and pixels are those of the released code, whatever the dataset's are.

    Weights come from ``handlit import-weights --from mhentropy``; the crop to go with them is
    ``mhentropy_reference``. The loss is the published one, for training that repeats the paper.

    Args:
        network: The network, as published.
        mano_path: MANO file or folder; the stand-in hand without it.
        image_size: Side of the square crops, pixels; the weights were trained with 256.

    References:
        Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023;
        https://github.com/GloryyrolG/MHEntropy at commit 2a4c775.
    """

    fixed_settings = frozenset({"tips"})

    def __init__(self, network: MHEntropyNetwork, mano_path: str | None = None, image_size: int = 256) -> None:
        super().__init__(network, mano_path, tips="manopth", image_size=image_size)

    def infer(self, image: Tensor) -> PosedHands:
        """Distribution over hands for images (B, 3, H, W), uint8.

        The released code has 0 at the outer edge of the first pixel where handlit has its centre: its points lie half a
        pixel further right and down, in its labels (see the crop) and so in its network's predictions.
        """
        hands = super().infer(image)
        half_a_pixel = hands.view.new_tensor([0.0, 1.0, 1.0]) / self.image_size
        return replace(hands, view=hands.view + half_a_pixel)
