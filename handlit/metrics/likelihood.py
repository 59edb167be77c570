"""The likelihood of the truth under what is sampled, estimated from samples: a Gaussian and kernels, mixed as they fit.

Each coordinate is scored by itself, as by the CRPS: a few hundred samples say little about densities of more
dimensions, and joints of a hand model have none (bones keep their lengths). How a joint's coordinates depend on each
other is judged by the energy score.
"""

import math

import torch
from torch import Tensor

#: Bandwidths that are tried: the one that is best for a Gaussian, divided by powers of two.
_NUM_BANDWIDTHS = 4
#: Steps of the expectation maximisation for the Gaussian's weight.
_STEPS = 20
#: Below, nothing is left to compare kernels with: the samples are a Gaussian.
_FEWEST = 3
#: Pairs of samples that are held at once: few, which stay near the processor.
_PAIRS = 400_000
#: Exponent of what is too far away to count; below, numbers lose digits, and computing with them is slow.
_FAR = -80.0
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


def sample_nll(samples: Tensor, target: Tensor, floor: float) -> Tensor:
    """Negative log-density of every coordinate, estimated from samples.

    The density is ``w N(m, s²) + (1 - w) mean_i N(x_i, h²)``: mean and standard deviation of the samples, and a kernel
    at each. Weight w and bandwidth h (one of the normal reference rule's, divided by 1, 2, 4 or 8) are those with the
    highest likelihood of each sample under what the others give. A sample's twins count as the sample itself, so that
    repeated draws make no spikes. The Gaussian's weight is at least 1 / (S + 1), the chance that the truth is where
    none of S samples is: beyond them the density falls as it.

    Args:
        samples: (B, S, ...).
        target: (B, ...).
        floor: Least h and s, in the samples' unit: samples that are all the same are a Gaussian of that width.

    Returns:
        (B, ...) nats; it depends on the unit.

    References:
        Olkin and Spiegelman, "A semiparametric approach to density estimation", 1987
        (doi:10.1080/01621459.1987.10478550), for the mixture; Silverman, "Density Estimation for Statistics and Data
        Analysis", 1986, sections 3.4.2 and 3.4.4, for both ways to a bandwidth; Krüger et al., "Predictive inference
        based on Markov chain Monte Carlo output", 2021 (doi:10.1111/insr.12405), for logarithmic scores of samples.
    """
    count = samples.shape[1]
    points = samples.transpose(0, 1).reshape(count, -1).T
    parts = max(_PAIRS // count**2, 1)
    scores = [_nll(*part, floor) for part in zip(points.split(parts), target.flatten().split(parts), strict=True)]
    return torch.cat(scores).reshape(target.shape)


def _nll(points: Tensor, target: Tensor, floor: float) -> Tensor:
    """Of samples (N, S) and true values (N,): (N,)."""
    count = points.shape[1]
    mean = points.mean(1)
    if count < _FEWEST:
        return -_log_normal(target - mean, torch.full_like(mean, floor))
    variance = points.var(1)
    scale = variance.sqrt().clamp(min=floor)
    largest = (scale * (4 / (3 * count)) ** 0.2).clamp(min=floor)
    halvings = 0.5 ** torch.arange(_NUM_BANDWIDTHS, device=points.device, dtype=points.dtype)
    bandwidths = halvings[:, None] * largest
    kernels = _others(points, bandwidths).masked_fill((bandwidths < floor)[..., None], 0)
    weight, fit = _mix(_without_each(points, mean, variance, floor), kernels)
    best = fit.argmax(0, keepdim=True)
    weight, bandwidth = weight.gather(0, best)[0], bandwidths.gather(0, best)[0].clamp(min=floor)
    of_kernels = _log_normal(target[:, None] - points, bandwidth[:, None]).logsumexp(1) - math.log(count)
    of_gaussian = _log_normal(target - mean, scale)
    return -torch.logaddexp(weight.log() + of_gaussian, torch.log1p(-weight) + of_kernels)


def _others(points: Tensor, bandwidths: Tensor) -> Tensor:
    """Density (K, N, S) that kernels at the other samples give at each; bandwidths (K, N), each half of the last."""
    difference = (points[:, :, None] - points[:, None]) / bandwidths[0, :, None, None]
    exponent = difference.square().mul_(-0.5)
    # a sample is at no distance from itself
    exponent.masked_fill_(exponent == 0, _FAR)
    sums = []
    for number in range(len(bandwidths)):
        if number:
            exponent *= 4
        sums.append(exponent.clamp_(min=_FAR).exp().sum(-1))
    factor = math.exp(-_LOG_ROOT_2_PI) / (points.shape[1] - 1)
    return factor * torch.stack(sums) / bandwidths[..., None]


def _without_each(points: Tensor, mean: Tensor, variance: Tensor, floor: float) -> Tensor:
    """Density (N, S) of the Gaussian of the other samples at each."""
    count = points.shape[1]
    beside = points - mean[:, None]
    others = ((count - 1) * variance[:, None] - beside.square() * count / (count - 1)) / (count - 2)
    scale = others.clamp(min=floor**2).sqrt()
    return _log_normal(beside * count / (count - 1), scale).exp()


def _mix(gaussian: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    """The Gaussian's weight (K, N) that makes samples most likely, and their log-likelihood then (K, N)."""
    tiny = torch.finfo(kernels.dtype).tiny
    weight = torch.full_like(kernels[..., 0], 0.5)
    least = 1 / (kernels.shape[-1] + 1)
    for _ in range(_STEPS):
        part = weight[..., None] * gaussian
        share = part / (part + (1 - weight[..., None]) * kernels).clamp(min=tiny)
        weight = share.mean(-1).clamp(least, 1)
    mixed = weight[..., None] * gaussian + (1 - weight[..., None]) * kernels
    return weight, mixed.clamp(min=tiny).log().sum(-1)


def _log_normal(difference: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * (difference / scale).square() - scale.log() - _LOG_ROOT_2_PI
