"""Whether stated uncertainty is true: scores of samples against the truth, coverage, calibration, sparsification.

Pure functions over samples (B, S, ...) and true values (B, ...). Lower is better for every score.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from handlit.metrics.diversity import distances

#: Levels at which coverage is reported.
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Quantiles of the calibration error.
NUM_QUANTILES = 21
#: Pairs of samples whose distances are held at once: few, which stay near the processor.
_PAIRS = 100_000


def gaussian_nll(mean: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """Negative log-density of a diagonal Gaussian, averaged over coordinates.

    Args:
        mean: (..., D).
        scale: (..., D) standard deviations, the same unit.
        target: (..., D).

    Returns:
        (...,) nats per coordinate; it depends on the unit.

    References:
        The logarithmic score of Gneiting and Raftery, 2007 (doi:10.1198/016214506000001437), section 4.1.
    """
    z = (target - mean) / scale
    return (0.5 * z.square() + scale.log() + 0.5 * math.log(2 * math.pi)).mean(-1)


def crps(samples: Tensor, target: Tensor, ordered: Tensor | None = None) -> Tensor:
    """Continuous ranked probability score ``E|X - y| - E|X - X'| / 2`` of every coordinate.

    The second expectation is over pairs of different samples, so that the score's expectation does not depend on the
    number of samples. For a single one it is the absolute error.

    Args:
        samples: (B, S, ...).
        target: (B, ...).
        ordered: The samples, each coordinate in rising order over S, where they are at hand.

    Returns:
        (B, ...) in the samples' unit.

    References:
        Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007
        (doi:10.1198/016214506000001437), section 4.2; Ferro, "Fair scores for ensemble forecasts", 2014
        (doi:10.1002/qj.2270), for the pairs.
    """
    count = samples.shape[1]
    error = (samples - target[:, None]).abs().mean(1)
    if count < 2:
        return error
    if ordered is None:
        ordered = samples.sort(dim=1).values
    # sum over all pairs of |x_i - x_j| is twice the sum of (2 i - S + 1) x_(i), i from 0
    weights = 2 * torch.arange(count, device=samples.device, dtype=samples.dtype) - count + 1
    pairs = torch.einsum("s,bs...->b...", weights, ordered)
    return error - pairs / (count * (count - 1))


def energy_score(samples: Tensor, target: Tensor) -> Tensor:
    """Energy score ``E||X - y|| - E||X - X'|| / 2`` of every point: the CRPS of vectors.

    Args:
        samples: (B, S, J, D).
        target: (B, J, D).

    Returns:
        (B, J) in the samples' unit; over pairs of different samples, as `crps`.

    References:
        Gneiting and Raftery, 2007 (doi:10.1198/016214506000001437), section 4.3.
    """
    count = samples.shape[1]
    error = (samples - target[:, None]).norm(dim=-1).mean(1)
    if count < 2:
        return error
    points = samples.movedim(-1, 0).transpose(2, 3).flatten(1, 2)
    pairs = torch.cat([_mean_pair_distance(part) for part in points.split(max(2 * _PAIRS // count**2, 1), dim=1)])
    return error - pairs.view_as(error) / 2


def _mean_pair_distance(points: Tensor) -> Tensor:
    """Mean distance between different points of each set: (D, N, S) to (N,).

    Each set is laid beside itself, moved on by 1 to S / 2 places, so that every pair meets once.
    """
    count = points.shape[2]
    half = count // 2
    beside = torch.cat([points, points], dim=2).unfold(2, count, 1)[:, :, 1 : half + 1]
    sums = []
    # of thousands of samples all pairs would be gigabytes
    for moved in beside.split(max(_PAIRS // points[0].numel(), 1), dim=2):
        square = (moved[0] - points[0, :, None]).square_()
        for axis in range(1, len(points)):
            gap = moved[axis] - points[axis, :, None]
            square.addcmul_(gap, gap)
        sums.append(square.sqrt_().sum(2))
    by_shift = torch.cat(sums, dim=1)
    if count % 2 == 0:
        # half-way round, every pair meets twice
        by_shift[:, -1] /= 2
    return by_shift.sum(1) / (count * (count - 1) / 2)


def radial_rank(samples: Tensor, target: Tensor, ordered: Tensor | None = None) -> Tensor:
    """Share of samples that lie closer to the samples' median than the truth.

    Uniform between 0 and 1 for a calibrated method; close to 1 too often for an over-confident one.

    Args:
        samples: (B, S, J, D).
        target: (B, J, D).
        ordered: The samples, each coordinate in rising order over S, where they are at hand.

    Returns:
        (B, J).

    References:
        Pierzchlewicz et al., "Multi-hypothesis 3D human pose estimation metrics favor miscalibrated distributions",
        arXiv 2210.11179.
    """
    # the mean of the two middle samples for an even number, unlike torch.median; torch.quantile refuses large inputs
    count = samples.shape[1]
    if ordered is None:
        ordered = samples.sort(dim=1).values
    centre = (ordered[:, (count - 1) // 2, None] + ordered[:, count // 2, None]) / 2
    radius = distances(samples, centre[:, 0])
    true_radius = (target - centre[:, 0]).norm(dim=-1)
    return (radius < true_radius[:, None]).to(samples.dtype).mean(1)


def coverage(ranks: Tensor, levels: Sequence[float] = LEVELS) -> Tensor:
    """Share of points that lie inside the region which is to hold that share of them.

    Args:
        ranks: (N,) from `radial_rank`.
        levels: Nominal shares.

    Returns:
        (len(levels),); equal to the levels for a calibrated method.
    """
    bounds = torch.tensor(levels, dtype=ranks.dtype, device=ranks.device)
    return (ranks[:, None] <= bounds).to(ranks.dtype).mean(0)


def calibration_error(ranks: Tensor) -> Tensor:
    """Quantile calibration error: mean distance of actual from nominal coverage over 21 quantiles from 0 to 1.

    Args:
        ranks: (N,) from `radial_rank`.

    Returns:
        Scalar; 0 for a calibrated method, 0.45 for one whose samples always, or never, reach as far as the truth.

    References:
        Pierzchlewicz et al., arXiv 2210.11179.
    """
    levels = torch.linspace(0, 1, NUM_QUANTILES, dtype=ranks.dtype, device=ranks.device)
    # a region of no size holds nothing and one without bound holds everything, whatever the method
    inner = levels[1:-1]
    return (coverage(ranks, inner.tolist()) - inner).abs().sum() / NUM_QUANTILES


def sparsification(errors: Tensor, by: Tensor, steps: int = 100) -> Tensor:
    """Mean error of the points that remain when those with the largest `by` are removed.

    Args:
        errors: (N,).
        by: (N,) that decides the order: an uncertainty, or the errors themselves for the best possible curve.
        steps: Number of shares removed: 0, 1 / steps, ..., 1 - 1 / steps.

    Returns:
        (steps,) in the errors' unit.
    """
    kept = errors[by.argsort(stable=True)].cumsum(0) / torch.arange(1, len(errors) + 1, device=errors.device)
    shares = torch.arange(steps, device=errors.device) / steps
    counts = (len(errors) * (1 - shares)).round().long().clamp(min=1)
    return kept[counts - 1]


def ause(errors: Tensor, scales: Tensor) -> Tensor:
    """Area under the sparsification error: how much worse a stated uncertainty sorts out errors than the errors do.

    The curves are divided by the mean error.

    Args:
        errors: (N,).
        scales: (N,), stated uncertainty.

    Returns:
        Scalar without unit; 0 for the best possible order.

    References:
        Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow", arXiv 1802.07095.
    """
    return (sparsification(errors, scales) - sparsification(errors, errors)).mean() / errors.mean()


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation of two (N,) tensors without many ties: the correlation of their ranks, in [-1, 1]."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return torch.corrcoef(ranks)[0, 1]
