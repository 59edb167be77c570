"""Differences of hands whose true distribution is known."""

import torch

from handlit.calibration.fit import ValidationHands
from handlit.distributions.calibrated_hands import Differences

#: Standard deviations of the truth: radians and metres.
TURN, REST = 0.15, 0.006


def gaussian_hands(
    count: int, draws: int, own: float = 1.0, rest: float | None = None, seed: int = 0
) -> ValidationHands:
    """Gaussian rotations and rests whose size differs from image to image by a known factor.

    Args:
        count: Images.
        draws: Hypotheses of each.
        own: Spread of hypotheses over that of the truth.
        rest: The same of the rest, if it differs.
        seed: Of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    size = (0.4 * torch.randn(count, generator=generator)).exp()
    rest = own if rest is None else rest

    def draw(turns: float, rests: float, *shape: int) -> Differences:
        wide = size.view(-1, *[1] * len(shape))[..., None]
        turn = turns * wide * torch.randn(count, *shape, 3, generator=generator)
        points = rests * wide[..., None] * torch.randn(count, *shape, 21, 3, generator=generator)
        points[..., 0, :] = 0
        return Differences(turn, points)

    true, drawn = draw(TURN, REST), draw(own * TURN, rest * REST, draws)
    return ValidationHands(true, drawn, size * max(rest, 0.1) * REST, true.rest.norm(dim=-1))
