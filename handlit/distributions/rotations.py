"""Mixtures of Gaussians on the rotations: several orientations, each with its own spread, as a torch distribution.

A component is a Gaussian in the tangent space at its mean, carried onto SO(3) by the exponential map and wrapped: all
tangent vectors that lead to one rotation add up. Densities are with respect to the Haar measure of total volume
8 pi^2, in which a small rotation vector has its own volume.

References:
    Falorsi et al., "Reparameterizing Distributions on Lie Groups", AISTATS 2019, https://arxiv.org/abs/1903.02958
    (section 4.3: SO(3), its Jacobian and the sum over wraps);
    Sengupta et al., "HuManiFlow", CVPR 2023, https://arxiv.org/abs/2305.06968 (distributions over body rotations).
"""

import math
from collections.abc import Sequence

import roma
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

_WRAPS = (-1, 0, 1)
_LOG_2PI = math.log(2 * math.pi)


class RotationMixture(Distribution):
    """Mixture of wrapped Gaussians on SO(3) for each item of a batch.

    Args:
        logits: (B, K) of the components' weights.
        means: (B, K, 3, 3) rotations.
        scale_tril: (B, K, 3, 3) Cholesky factors of the tangent covariances, radians: ``R = mean exp(L e)``.
        temperature: Factor on the spread of each component; at 0 always the mean of the heaviest is drawn.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # torch declares it so
    has_rsample = False

    def __init__(self, logits: Tensor, means: Tensor, scale_tril: Tensor, temperature: float = 1.0) -> None:
        self.logits = logits
        self.means = means
        self.scale_tril = scale_tril
        self.temperature = temperature
        super().__init__(logits.shape[:1], torch.Size([3, 3]), validate_args=False)

    def tempered(self, temperature: float) -> "RotationMixture":
        """The same distribution at another temperature."""
        return RotationMixture(self.logits, self.means, self.scale_tril, temperature)

    @property
    def centre(self) -> Tensor:
        """(B, 3, 3) mean of the component with the highest density at its mean."""
        height = self.logits - self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.means[torch.arange(height.shape[0], device=height.device), height.argmax(1)]

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Rotations (\\*sample_shape, B, 3, 3)."""
        shape = (*sample_shape, *self.batch_shape)
        share, noise = self.logits.new_empty(shape).uniform_(), self.logits.new_empty(*shape, 3).normal_()
        return self.push(share, noise)

    def push(self, share: Tensor, noise: Tensor) -> Tensor:
        """Rotations of given random numbers, without gradients.

        Args:
            share: (..., B) in [0, 1): the component whose part of the cumulated weights it falls in.
            noise: (..., B, 3) of the standard normal.

        Returns:
            (..., B, 3, 3).
        """
        if self.temperature == 0:
            return self.centre.expand(*share.shape, 3, 3)
        with torch.no_grad():
            ends = self.logits.softmax(-1).cumsum(-1)[..., :-1]
            chosen = (share[..., None] >= ends).sum(-1)
            row = torch.arange(self.logits.shape[0], device=chosen.device)
            tangent = (self.scale_tril[row, chosen] @ (self.temperature * noise)[..., None])[..., 0]
            return self.means[row, chosen] @ roma.rotvec_to_rotmat(tangent)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density (..., B), nats with respect to the Haar measure, of rotations (..., B, 3, 3)."""
        return torch.logsumexp(self.logits.log_softmax(-1) + self.component_log_prob(value), -1)

    def component_log_prob(self, value: Tensor) -> Tensor:
        """Log-density (..., B, K) under each component."""
        turn = roma.rotmat_to_rotvec(self.means.mT @ value[..., None, :, :])  # (..., B, K, 3)
        angle = turn.norm(dim=-1, keepdim=True)
        direction = turn / angle.clamp(min=1e-6)
        wraps = torch.tensor(_WRAPS, dtype=turn.dtype, device=turn.device)[:, None]
        angles = angle[..., None] + 2 * math.pi * wraps  # (..., B, K, W, 1)
        tangents = torch.where(wraps == 0, turn[..., None, :], angles * direction[..., None, :])
        scale = self.scale_tril * (self.temperature or 1.0)
        whitened = torch.linalg.solve_triangular(scale, tangents.mT, upper=False)
        log_scale = scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_gaussian = -0.5 * whitened.square().sum(-2) - 1.5 * _LOG_2PI - log_scale[..., None]
        return torch.logsumexp(log_gaussian - _log_volume(angles[..., 0]), -1)


def _log_volume(angle: Tensor) -> Tensor:
    """Log of the Haar volume that a unit of tangent volume gets at an angle: ``2 (1 - cos a) / a^2``."""
    square = angle.square()
    small = square < 1e-4
    safe = torch.where(small, torch.ones_like(square), square)
    exact = (2 * (1 - safe.sqrt().cos()) / safe).clamp(min=1e-12).log()
    return torch.where(small, -square / 12, exact)
