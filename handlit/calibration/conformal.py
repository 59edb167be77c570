"""Radii around point estimates that hold the truth as often as they say, whatever the method: split conformal."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from handlit.errors import InputError
from handlit.metrics.calibration import LEVELS

#: What the radii promise; written beside them.
GUARANTEE = (
    "For each joint and level by itself: the ball of this radius around the point estimate holds the joint of a new "
    "image with at least this probability, if that image and the validation images are exchangeable. It is a "
    "probability over the validation images, too, and over all hands (marginal): not for each kind of image, and not "
    "for all joints at once. Frames of one video are not exchangeable with those of another, and weights that were "
    "chosen by these images have seen them: then it holds about."
)


def images_needed(level: float) -> int:
    """Fewest images for which there is a finite radius of a level."""
    return math.ceil(round(level / (1 - level), 9))


def conformal_radii(distances: Tensor, levels: Sequence[float] = LEVELS) -> Tensor:
    """The ``ceil((n + 1) level)``-th smallest distance of each joint.

    Args:
        distances: (N, J) of point estimates from true joints, one row for each validation image.
        levels: Shares of new images that the radii hold at least.

    Returns:
        (L, J) in the unit of the distances.

    Raises:
        InputError: There are too few images for a level.

    References:
        Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., "Distribution-free
        predictive inference for regression", 2018, doi:10.1080/01621459.2017.1307116.
    """
    count = len(distances)
    needed = max(images_needed(level) for level in levels)
    if count < needed:
        raise InputError(
            f"{count} validation images with 3D joints are too few for a radius that holds {max(levels):.0%}: at least "
            f"{needed} are needed"
        )
    ordered = distances.sort(dim=0).values
    # a product such as 100 * 0.95 may be above its value by a rounding
    return torch.stack([ordered[math.ceil(round((count + 1) * level, 9)) - 1] for level in levels])
