"""A conditional RealNVP: MHEntropy's density over hand poses (ICCV 2023, section 3).

Dinh et al., "Density estimation using Real NVP", ICLR 2017. Twelve couplings by default, which move and scale one half
of the coordinates.
"""

from collections.abc import Sequence

from torch import Tensor

from handlit.distributions.flow import ConditionalFlow, ConditionedMLP, Coupling


class AffineCoupling(Coupling):
    """``y = x exp(s) + t`` for one half of the coordinates, with s and t from the other half.

    The scale's logarithm is ``s = tanh(network)``, so that no coordinate grows by more than e in one coupling.

    Args:
        features: All coordinates.
        condition_features: Width of the condition.
        hidden: Widths inside the two networks.
        freeze_first: Whether the first half is the one that is read and left as it is.
    """

    def __init__(self, features: int, condition_features: int, hidden: Sequence[int], freeze_first: bool) -> None:
        super().__init__(features, freeze_first)
        self.log_scale = ConditionedMLP(self.num_kept, condition_features, hidden, self.num_moved)
        self.shift = ConditionedMLP(self.num_kept, condition_features, hidden, self.num_moved)

    def project(self, condition: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See `Coupling.project`; for the networks of scale and shift."""
        return self.log_scale.project(condition), self.shift.project(condition)

    def forward(self, x: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """See `Coupling.forward`."""
        kept, moved = self.halves(x)
        log_scale, shift = self._read(kept, projected)
        return self.join(kept, moved * log_scale.exp() + shift), log_scale.sum(-1)

    def inverse(self, y: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """See `Coupling.inverse`."""
        kept, moved = self.halves(y)
        log_scale, shift = self._read(kept, projected)
        return self.join(kept, (moved - shift) * (-log_scale).exp()), -log_scale.sum(-1)

    def _read(self, kept: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
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
        # the first coupling reads the second half, as the published one does
        order = (False, True) * steps
        super().__init__(features, (AffineCoupling(features, condition_features, hidden, each) for each in order))
