"""A conditional RealNVP, MHEntropy's density over hand poses: affine couplings, twelve by default.

References:
    Dinh et al., "Density estimation using Real NVP", ICLR 2017, https://arxiv.org/abs/1605.08803;
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023.
"""

from collections.abc import Sequence

from torch import Tensor
from typing_extensions import override

from handlit.distributions.flow import Condition, ConditionalFlow, ConditionedMLP, Coupling


class AffineCoupling(Coupling):
    """``y = x exp(s) + t`` for one half of the coordinates, with s and t from the other half.

    The scale's logarithm is ``s = tanh(network)``, so that no coordinate grows by more than e in one coupling.

    Args:
        features: Number of coordinates.
        condition_features: Width of the condition.
        hidden: Widths inside the two networks.
        freeze_first: Whether the first half is the one that is kept and conditions the other.
    """

    def __init__(self, features: int, condition_features: int, hidden: Sequence[int], freeze_first: bool) -> None:
        super().__init__(features, freeze_first)
        self.log_scale = ConditionedMLP(self.num_kept, condition_features, hidden, self.num_moved)
        self.shift = ConditionedMLP(self.num_kept, condition_features, hidden, self.num_moved)

    @override
    def project(self, condition: Condition) -> tuple[list[Tensor], list[Tensor]]:
        """What the condition adds inside the networks of scale and of shift."""
        return self.log_scale.project(condition), self.shift.project(condition)

    @override
    def forward(self, x: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        kept, moved = self.halves(x)
        log_scale, shift = self._scale_and_shift(kept, projected)
        return self.join(kept, moved * log_scale.exp() + shift), log_scale.sum(-1)

    @override
    def inverse(self, y: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        kept, moved = self.halves(y)
        log_scale, shift = self._scale_and_shift(kept, projected)
        return self.join(kept, (moved - shift) * (-log_scale).exp()), -log_scale.sum(-1)

    def _scale_and_shift(self, kept: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        return self.log_scale(kept, projected[0]).tanh(), self.shift(kept, projected[1])


class ConditionalRealNVP(ConditionalFlow):
    """Image feature to a distribution over vectors, by affine couplings that freeze the halves in turn.

    Args:
        features: D, coordinates of a vector.
        condition_features: C, width of the image feature.
        hidden: Widths inside the couplings' networks.
        steps: Pairs of couplings.
    """

    def __init__(
        self,
        features: int = 45,
        condition_features: int = 512,
        hidden: Sequence[int] = (512, 512),
        steps: int = 6,
    ) -> None:
        # the first coupling keeps the second half, as the published one does
        order = (False, True) * steps
        super().__init__(features, (AffineCoupling(features, condition_features, hidden, first) for first in order))
