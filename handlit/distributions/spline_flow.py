"""A conditional neural spline flow: `realnvp` with monotonic splines in place of shifts and scales.

The splines are zuko's; couplings and networks are those of RealNVP, so that both flows differ in the splines alone.

References:
    Durkan et al., "Neural Spline Flows", NeurIPS 2019, https://arxiv.org/abs/1906.04032.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution
from typing_extensions import override

from handlit.distributions.flow import Condition, ConditionalFlow, ConditionedMLP, Coupling

if TYPE_CHECKING:
    from zuko.transforms import MonotonicRQSTransform


def _spline_class() -> "type[MonotonicRQSTransform]":
    """zuko's spline; importing zuko switches off the checks of every distribution, which is undone here."""
    checks = Distribution._validate_args
    from zuko.transforms import MonotonicRQSTransform

    Distribution.set_default_validate_args(checks)
    return MonotonicRQSTransform


class SplineCoupling(Coupling):
    """A monotonic rational-quadratic spline for each coordinate of one half, its knots from the other half.

    Args:
        features: Number of coordinates.
        condition_features: Width of the condition.
        hidden: Widths inside the network.
        freeze_first: Whether the first half is the one that is kept and conditions the other.
        bins: Pieces of a spline.
        bound: The splines run from -bound to bound; coordinates outside do not change.
    """

    def __init__(
        self,
        features: int,
        condition_features: int,
        hidden: Sequence[int],
        freeze_first: bool,
        bins: int,
        bound: float,
    ) -> None:
        super().__init__(features, freeze_first)
        self.bins, self.bound = bins, bound
        self._spline = _spline_class()
        self.knots = ConditionedMLP(self.num_kept, condition_features, hidden, self.num_moved * (3 * bins - 1))

    @override
    def project(self, condition: Condition) -> list[Tensor]:
        return self.knots.project(condition)

    @override
    def forward(self, x: Tensor, projected: list[Tensor]) -> tuple[Tensor, Tensor]:
        kept, moved = self.halves(x)
        moved, log_slope = self._splines(kept, projected).call_and_ladj(moved)
        return self.join(kept, moved), log_slope.sum(-1)

    @override
    def inverse(self, y: Tensor, projected: list[Tensor]) -> tuple[Tensor, Tensor]:
        kept, moved = self.halves(y)
        # in single precision the inverse now and then takes the root of a negative number
        splines = self._splines(kept, projected, torch.float64)
        moved = splines.inv(moved.double())
        log_slope = splines.call_and_ladj(moved)[1]
        return self.join(kept, moved.to(y)), -log_slope.sum(-1).to(y)

    def _splines(
        self, kept: Tensor, projected: list[Tensor], dtype: torch.dtype | None = None
    ) -> "MonotonicRQSTransform":
        """A spline for each moved coordinate."""
        knots = self.knots(kept, projected).unflatten(-1, (self.num_moved, -1)).to(dtype or kept.dtype)
        widths, heights, slopes = knots.split((self.bins, self.bins, self.bins - 1), dim=-1)
        return self._spline(widths, heights, slopes, bound=self.bound)


class ConditionalSplineFlow(ConditionalFlow):
    """Image feature to a distribution over vectors, by spline couplings that freeze the halves in turn.

    Args:
        features: D, coordinates of a vector.
        condition_features: C, width of the image feature.
        hidden: Widths inside the couplings' networks.
        steps: Pairs of couplings.
        bins: Pieces of each spline.
        bound: The splines run from -bound to bound; coordinates outside do not change.
    """

    def __init__(
        self,
        features: int = 45,
        condition_features: int = 512,
        hidden: Sequence[int] = (512, 512),
        steps: int = 6,
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        couplings = (
            SplineCoupling(features, condition_features, hidden, freeze_first, bins, bound)
            for freeze_first in (False, True) * steps
        )
        super().__init__(features, couplings)
