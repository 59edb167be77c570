"""A flow of few coordinates that spends its time on numbers and not on calls: what `Lift` draws a hand's parts with.

The condition enters all couplings through one product, and scale and shift of a coupling come from one network.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from handlit.distributions.flow import Condition, ConditionalFlow, Coupling, Shuffle, project_condition


class _Coupling(Coupling):
    """``y = x exp(tanh(s)) + t`` for one half of the coordinates, with s and t from the other half by one network."""

    def __init__(self, features: int, hidden: int, freeze_first: bool) -> None:
        super().__init__(features, freeze_first)
        self.width = 2 * hidden
        self.first = nn.Linear(self.num_kept, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, 2 * self.num_moved)

    @override
    def project(self, condition: Condition) -> Condition:
        """Its share of what `JointFlow` projected."""
        return condition

    @override
    def forward(self, x: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self.halves(x)
        log_scale, shift = self._scale_and_shift(kept, projected)
        return self.join(kept, torch.addcmul(shift, moved, log_scale.exp())), log_scale.sum(-1)

    @override
    def inverse(self, y: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self.halves(y)
        log_scale, shift = self._scale_and_shift(kept, projected)
        return self.join(kept, (moved - shift) * (-log_scale).exp()), -log_scale.sum(-1)

    def _scale_and_shift(self, kept: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        first, second = projected.chunk(2, -1)
        hidden = F.leaky_relu(self.first(kept) + first)
        log_scale, shift = self.out(F.leaky_relu(self.second(hidden) + second)).chunk(2, -1)
        return log_scale.tanh(), shift


class _Triangular(nn.Module):
    """``y = L x + t`` with a lower triangular L and t from the condition alone: all linear correlations.

    The logarithms of L's diagonal are within +-3.
    """

    _row: Tensor
    _column: Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.width = hidden
        row, column = torch.tril_indices(features, features, -1)
        self.register_buffer("_row", row, persistent=False)
        self.register_buffer("_column", column, persistent=False)
        self.sizes = (features, features, len(row))
        self.out = nn.Linear(hidden, sum(self.sizes))

    def forward(self, x: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (..., B, D) one step away from the base; also the log-determinant (..., B) of the step."""
        factor, shift, log_scale = self._parts(projected)
        return shift + (factor @ x[..., None])[..., 0], log_scale.sum(-1)

    def inverse(self, y: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `forward`."""
        factor, shift, log_scale = self._parts(projected)
        x = torch.linalg.solve_triangular(factor, (y - shift)[..., None], upper=False)[..., 0]
        return x, -log_scale.sum(-1)

    def _parts(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_scale, shift, below = self.out(F.leaky_relu(projected)).split(self.sizes, -1)
        log_scale = 3 * (log_scale / 3).tanh()
        factor = torch.diag_embed(log_scale.exp())
        factor[..., self._row, self._column] = 0.3 * below
        return factor, shift, log_scale


class JointFlow(ConditionalFlow):
    """Affine couplings that keep the halves in turn, and at last a triangular map of all coordinates.

    Args:
        features: D, coordinates of a vector.
        condition_features: C, width of the condition.
        hidden: Width inside the networks.
        couplings: Their number; after every second one the coordinates are reordered.
    """

    def __init__(self, features: int, condition_features: int, hidden: int, couplings: int) -> None:
        steps: list[nn.Module] = []
        for i in range(couplings):
            coupling = _Coupling(features, hidden, freeze_first=bool(i % 2))
            steps += [coupling, Shuffle(features, i)] if i % 2 else [coupling]
        super().__init__(features, [*steps, _Triangular(features, 2 * hidden)])  # type: ignore[list-item]
        self.condition = nn.Linear(condition_features, sum(self._widths()))

    @override
    def project(self, condition: Condition) -> list[Tensor]:
        """What the condition adds inside each coupling."""
        return list(project_condition(self.condition, condition).split(list(self._widths()), -1))

    def _widths(self) -> Iterator[int]:
        for step in self.couplings:
            yield getattr(step, "width", 0)
