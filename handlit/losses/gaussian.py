"""Likelihood and divergence of Gaussians over point sets, per coordinate, one number per item."""

import math

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from handlit.losses.reduction import mean_of_points


def scale_nll(distribution: Independent[Normal], target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Negative log-likelihood that trains the scale and not the mean.

    The gradient with respect to the mean is stopped: it is ``(mean - target) / variance``, which explodes where the
    model becomes certain and vanishes where it is uncertain, a known weakness of Gaussian likelihoods. The mean has its
    own, unweighted losses. On a toy regression with heteroscedastic noise, next to an L1 loss on the mean, this gave 4
    to 5 % less error of the mean than the full likelihood or Seitzer's beta = 0.5 and a better likelihood than both;
    the likelihood alone had 20 % more error.

    Args:
        distribution: Gaussian with batch shape (B,).
        target: (B, N, D).
        weight: (B, N) of each point, or bool, see `mean_of_points`; equal by default.

    Returns:
        (B,) nats per coordinate.

    References:
        Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation with Probabilistic Neural Networks",
        ICLR 2022, https://arxiv.org/abs/2203.09168.
    """
    normal = distribution.base_dist
    normalised = (target - normal.loc.detach()) / normal.scale
    nll = normalised.square() / 2 + normal.scale.log() + math.log(2 * math.pi) / 2
    return mean_of_points(nll, weight)


def correlated_nll(mean: Tensor, covariance: Tensor, target: Tensor, resolution: float) -> Tensor:
    """Negative log-likelihood of points that err together; as `scale_nll` it does not train the mean.

    Args:
        mean: (B, N, D).
        covariance: (B, N, D, N, D).
        target: (B, N, D).
        resolution: Standard deviation of each label by itself, which is added, so that no direction in which points
            hardly move is rewarded without bound.

    Returns:
        (B,) nats per coordinate.
    """
    with torch.autocast(mean.device.type, enabled=False):
        matrix = covariance.float().flatten(3).flatten(1, 2)
        noise = resolution**2 * torch.eye(matrix.shape[-1], device=matrix.device)
        root = torch.linalg.cholesky(matrix + noise)
        apart = (target - mean.detach()).float().flatten(1)
        whitened = torch.linalg.solve_triangular(root, apart[..., None], upper=False)[..., 0]
        return (whitened.square() / 2 + root.diagonal(dim1=-2, dim2=-1).log() + math.log(2 * math.pi) / 2).mean(1)


def kl_per_coordinate(posterior: Independent[Normal], prior: Independent[Normal]) -> Tensor:
    """Kullback-Leibler divergence ``KL(posterior || prior)`` of coordinates by themselves, divided by their number.

    Args:
        posterior: Gaussian with batch shape (B,).
        prior: Gaussian of the same shapes.

    Returns:
        (B,) nats per coordinate.
    """
    return kl_divergence(posterior, prior) / torch.Size(posterior.event_shape).numel()


def standard_normal_energy(values: Tensor) -> Tensor:
    """Negative log-density under a standard normal distribution, up to its constant: half the mean square.

    Args:
        values: (B, N).

    Returns:
        (B,) nats per number.
    """
    return values.square().mean(1) / 2
