"""A Gaussian over hand meshes, and the marginals of joints.

As in AMVUR, every vertex coordinate has its own mean and variance and is independent of the others. By choice there is
a part of low rank beside that, which vertices share: what independent vertices err joints average away.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.types import _size
from typing_extensions import override

#: Bounds of a vertex coordinate's standard deviation, metres. The lower one is finer than any label;
#: below it a log-likelihood would reward noise. The upper one is several hands wide.
MIN_SCALE_M = 1e-4
MAX_SCALE_M = 1.0
#: Scale given to joints that are fixed by construction (the wrist of wrist-relative joints), metres.
FIXED_SCALE_M = 1e-6
_NO_SAMPLES = torch.Size()


class MeshGaussian(Independent[Normal]):
    """Normal distributions of all vertex coordinates, ``N(mean, diag(scale²) + W Wᵀ)``; a mesh is one event.

    Without a factor W coordinates are independent, and everything that `torch.distributions` offers for Gaussians
    applies: `log_prob` sums over the 2334 coordinates, `entropy` and `kl_divergence` are closed forms. With one,
    `stddev`, `variance` and ``base_dist`` are those of each coordinate by itself, shared part included, and
    `kl_divergence` is that of coordinates by themselves. Parameters are kept in float32 under mixed precision, and
    arguments are not validated, which on an accelerator would wait for the device at every call.

    Args:
        mean: (B, V, 3) metres.
        scale: (B, V, 3) standard deviation of what each coordinate has for itself, metres.
        factor: (B, V, 3, R) of what they share, metres; None where they are independent.
    """

    base_dist: Normal

    def __init__(self, mean: Tensor, scale: Tensor, factor: Tensor | None = None) -> None:
        self.own_scale, self.factor = scale.float(), None if factor is None else factor.float()
        total = self.own_scale
        if self.factor is not None:
            total = (total.square() + self.factor.square().sum(-1)).sqrt()
        super().__init__(Normal(mean.float(), total, validate_args=False), 2, validate_args=False)

    @classmethod
    def from_log_variance(cls, mean: Tensor, log_variance: Tensor, factor: Tensor | None = None) -> "MeshGaussian":
        """Distribution of a network's outputs; the scale is kept within `MIN_SCALE_M` and `MAX_SCALE_M`.

        Args:
            mean: (B, V, 3) metres.
            log_variance: (B, V, 3), log of square metres.
            factor: (B, V, 3, R) metres, if vertices share something.
        """
        half = (log_variance.float() / 2).clamp(math.log(MIN_SCALE_M), math.log(MAX_SCALE_M))
        return cls(mean, half.exp(), factor)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "MeshGaussian":
        """The same distribution for a larger batch shape."""
        shape = torch.Size(batch_shape) + self.event_shape
        factor = None if self.factor is None else self.factor.expand(*shape, -1)
        return MeshGaussian(self.mean.expand(shape), self.own_scale.expand(shape), factor)

    def tempered(self, temperature: float) -> "MeshGaussian":
        """The distribution with its scale multiplied: 1 changes nothing, 0 puts every sample on the mean."""
        factor = None if self.factor is None else temperature * self.factor
        return MeshGaussian(self.mean, temperature * self.own_scale, factor)

    @override
    def rsample(self, sample_shape: _size = _NO_SAMPLES) -> Tensor:
        shape = self._extended_shape(sample_shape)
        # x, y and z apart in memory: so meshes are regressed and compared without another copy
        mean = self.mean.mT.contiguous().mT
        drawn = torch.addcmul(mean, self.own_scale, mean.new_empty(shape).normal_())
        if self.factor is None:
            return drawn
        shared = self.mean.new_empty(*shape[:-2], self.factor.shape[-1]).normal_()
        return drawn + torch.einsum("...vcr,...r->...vc", self.factor, shared)

    @override
    def sample(self, sample_shape: _size = _NO_SAMPLES) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if self.factor is None:
            return super().log_prob(value)
        independent = Independent(Normal(self.mean, self.own_scale, validate_args=False), 2, validate_args=False)
        whitened, root = self._capacitance()
        apart = ((value - self.mean) / self.own_scale).double().flatten(-2)
        projected = torch.einsum("...nr,...n->...r", whitened, apart)
        explained = torch.linalg.solve_triangular(root, projected[..., None], upper=False).square().sum((-2, -1))
        correction = 0.5 * explained - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return independent.log_prob(value) + correction.to(value.dtype)

    @override
    def entropy(self) -> Tensor:
        if self.factor is None:
            return super().entropy()
        _, root = self._capacitance()
        independent = Normal(self.mean, self.own_scale, validate_args=False).entropy().sum((-2, -1))
        return independent + root.diagonal(dim1=-2, dim2=-1).log().sum(-1).to(independent.dtype)

    def _capacitance(self) -> tuple[Tensor, Tensor]:
        """The factor in units of each coordinate's own scale, A (..., 3 V, R), and the root L of ``1 + Aᵀ A = L Lᵀ``.

        In double precision: own scales may be a thousandth of what is shared. By Woodbury's identity a density with
        the whole covariance is one of independent coordinates, corrected by these.
        """
        assert self.factor is not None
        whitened = (self.factor / self.own_scale[..., None]).double().flatten(-3, -2)
        identity = torch.eye(whitened.shape[-1], dtype=whitened.dtype, device=whitened.device)
        return whitened, torch.linalg.cholesky(identity + whitened.mT @ whitened)

    def marginal(self, matrix: Tensor, relative_to: int | None = None) -> Normal:
        """Distribution of points that are linear in the vertices, ``J = A V``: ``var J = A^2 var V``.

        Args:
            matrix: (J, V), e.g. `HandLayer.joint_matrix`.
            relative_to: Row whose point becomes the origin (0 for wrist-relative joints). The difference of two points
                is linear as well, ``(A - A_0) V``, so what they share cancels in mean and variance. The origin itself
                gets `FIXED_SCALE_M`.

        Returns:
            Mean and scale (B, J, 3), metres, of each coordinate by itself.
        """
        if relative_to is not None:
            matrix = matrix - matrix[relative_to]
        matrix = matrix.float()
        # autocast would round millimetres away
        with torch.autocast(self.mean.device.type, enabled=False):
            mean = matrix @ self.mean
            variance = matrix.square() @ self.own_scale.square()
            if self.factor is not None:
                variance = variance + _regressed(matrix, self.factor).square().sum(-1)
        # clamped before the root, whose slope at zero is infinite
        return Normal(mean, variance.clamp(min=FIXED_SCALE_M**2).sqrt(), validate_args=False)

    def covariance(self, matrix: Tensor, relative_to: int) -> Tensor:
        """Of all coordinates of the points of `marginal`: (B, J, 3, J, 3) square metres; 0 for the origin itself."""
        matrix = (matrix - matrix[relative_to]).float()
        with torch.autocast(self.mean.device.type, enabled=False):
            # coordinates that vertices have for themselves are independent of the other two
            own = torch.einsum("jv,bvc,kv->bcjk", matrix, self.own_scale.square(), matrix)
            covariance = torch.diag_embed(own.permute(0, 2, 3, 1)).transpose(2, 3)
            if self.factor is None:
                return covariance
            shared = _regressed(matrix, self.factor)
            return covariance + torch.einsum("bjcr,bkdr->bjckd", shared, shared)


def _regressed(matrix: Tensor, factor: Tensor) -> Tensor:
    """What points (J, V) of the vertices share: (B, V, 3, R) to (B, J, 3, R)."""
    return torch.einsum("jv,bvcr->bjcr", matrix, factor)
