"""Hypotheses weighed by how well they explain joints that were detected in the image: importance sampling.

The method's distribution is the prior, the detected joints are new evidence. That holds for methods that look at
pixels; for one that was given these very joints, as `Lift` is, they count twice, and the result is too sure of itself.

References:
    Hogg, Bovy and Lang, arXiv 1008.4686, section 3: the likelihood, a mixture with outliers. Kish, "Survey Sampling",
    1965: the effective sample size. Smith and Gelfand, doi:10.1080/00031305.1992.10475856: resampling.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from handlit.errors import check_number
from handlit.types import HandDistribution, Hypotheses

#: Standard deviation of a detected joint about the right hypothesis along each axis, as a share of the hand's box.
NOISE = 0.03
#: Share of joints that lie anywhere in the box, even where the detector is sure.
OUTLIERS = 0.05
#: Hands that are drawn for each one that is kept.
POOL = 10


def log_weights(
    joints_2d: Tensor, detected: Tensor, confidence: Tensor, noise: float = NOISE, outliers: float = OUTLIERS
) -> Tensor:
    """Importance weights of hypotheses, given detected joints.

    With a joint's confidence c the detected point is a Gaussian about the hypothesis's with probability
    ``a = (1 - outliers) c``, and otherwise anywhere in the hand's box: ``p = a N(detected; joint, noise²) + (1 - a) /
    box²``. Joints are independent. A joint of confidence 0 changes nothing, nor does one that is not finite; without
    any joint all weights are equal. The box is a square as long as the hypotheses' boxes are on average.

    Args:
        joints_2d: (B, S, 21, 2) of the hypotheses, pixels.
        detected: (B, 21, 2), the same pixels.
        confidence: (B, 21) in [0, 1]; 0 for a missing joint.
        noise: Standard deviation along each axis as a share of the box: errors of the detector, and of what the
            hypotheses do not vary (a camera that is the same for all, say).
        outliers: Share of outliers among the joints that the detector is sure of.

    Returns:
        (B, S) natural logarithms; the weights of an image sum to 1.

    Raises:
        InputError: A setting is out of range.
    """
    check_number("noise", noise, above=0)
    check_number("outliers", outliers, least=0, below=1)
    points = joints_2d.double()
    known = torch.isfinite(detected).all(-1) & (confidence > 0)
    side = (points.amax(2) - points.amin(2)).amax(-1).mean(1)[:, None, None].clamp(min=torch.finfo(torch.float32).tiny)
    apart = torch.where(known[..., None], detected.double(), 0.0)[:, None] - points
    squared = (apart / side[..., None]).square().sum(-1) / noise**2
    inlier = torch.where(known, (1 - outliers) * confidence.double(), 0.0)[:, None]
    # densities in units of 1 / box²
    gaussian = inlier.log() - squared / 2 - math.log(2 * math.pi * noise**2)
    likelihood = torch.logaddexp(gaussian, torch.log1p(-inlier)).sum(-1)
    return likelihood.log_softmax(1).to(joints_2d.dtype)


def effective_sample_size(log_weight: Tensor) -> Tensor:
    """Kish's number of equally weighted hypotheses that (B, S) weights are worth: (B,), from 1 to S.

    Args:
        log_weight: Logarithms; they need not be normalised.
    """
    return 1 / log_weight.softmax(1).square().sum(1)


@dataclass(frozen=True)
class ReweightedHands:
    """Any method's distribution, reweighted by detected joints: a `HandDistribution` for whatever draws hypotheses.

    `POOL` times as many hands as are asked for are drawn, and of these as many as asked for, with replacement, in
    proportion to their weights: some are the same hand. ``replace(prediction, distribution=ReweightedHands(...))`` is a
    prediction whose hypotheses know of the joints; its point estimate and scales do not.

    Attributes:
        distribution: Of B images.
        detected: (B, 21, 2) pixels of the distribution's `Hypotheses.joints_2d`.
        confidence: (B, 21) in [0, 1].
        noise: See `log_weights`.
    """

    distribution: HandDistribution
    detected: Tensor
    confidence: Tensor
    noise: float = NOISE

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        """See `HandDistribution.hypotheses`; `log_prob` is that of the method times the weight, hence an estimate."""
        pool = self.distribution.hypotheses(POOL * count, temperature, vertices, density)
        weight = log_weights(pool.joints_2d, self.detected, self.confidence, self.noise)
        if pool.log_prob is not None:
            pool.log_prob = pool.log_prob + weight + math.log(POOL * count)
        rows = torch.arange(len(weight), device=weight.device)[:, None]
        chosen = torch.multinomial(weight.exp(), count, replacement=True)
        values = {item.name: getattr(pool, item.name) for item in fields(pool)}
        kept: dict[str, Any] = {name: None if value is None else value[rows, chosen] for name, value in values.items()}
        return Hypotheses(**kept)
