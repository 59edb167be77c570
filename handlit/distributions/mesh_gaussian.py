"""A diagonal Gaussian over hand meshes, and the marginals of joints.

As in AMVUR, every vertex coordinate has its own mean and variance and is independent of the others.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

#: Bounds of a vertex coordinate's standard deviation, metres. The lower one is finer than any label;
#: below it a log-likelihood would reward noise. The upper one is several hands wide.
MIN_SCALE_M = 1e-4
MAX_SCALE_M = 1.0
#: Scale given to joints that are fixed by construction (the wrist of wrist-relative joints), metres.
FIXED_SCALE_M = 1e-6


class MeshGaussian(Independent[Normal]):
    """Independent normal distributions of all vertex coordinates; a mesh is one event.

    Everything that `torch.distributions` offers for Gaussians applies: `log_prob` sums over the 2334 coordinates,
    `entropy` and `kl_divergence` are closed forms. Parameters are kept in float32 under mixed precision, and arguments
    are not validated, which on an accelerator would wait for the device at every call.

    Args:
        mean: (B, V, 3) metres.
        scale: (B, V, 3) standard deviation, metres.
    """

    base_dist: Normal

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        normal = Normal(mean.float(), scale.float(), validate_args=False)
        super().__init__(normal, 2, validate_args=False)

    @classmethod
    def from_log_variance(cls, mean: Tensor, log_variance: Tensor) -> "MeshGaussian":
        """Distribution of a network's outputs; the scale is kept within `MIN_SCALE_M` and `MAX_SCALE_M`.

        Args:
            mean: (B, V, 3) metres.
            log_variance: (B, V, 3), log of square metres.
        """
        half = (log_variance.float() / 2).clamp(math.log(MIN_SCALE_M), math.log(MAX_SCALE_M))
        return cls(mean, half.exp())

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "MeshGaussian":
        """The same distribution for a larger batch shape."""
        shape = torch.Size(batch_shape) + self.event_shape
        return MeshGaussian(self.mean.expand(shape), self.stddev.expand(shape))

    def tempered(self, temperature: float) -> "MeshGaussian":
        """The distribution with its scale multiplied: 1 changes nothing, 0 puts every sample on the mean."""
        return MeshGaussian(self.mean, temperature * self.stddev)

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
            variance = matrix.square() @ self.variance
        # clamped before the root, whose slope at zero is infinite
        return Normal(mean, variance.clamp(min=FIXED_SCALE_M**2).sqrt(), validate_args=False)
