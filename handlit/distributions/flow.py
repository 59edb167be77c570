"""Conditional coupling flows as torch distributions: what `realnvp` and `spline_flow` have in common.

A flow is a chain of couplings. Each keeps one half of the coordinates and changes the other half by a map whose
parameters are a network's function of the first half and of the image.

References:
    Dinh et al., "Density estimation using Real NVP", ICLR 2017, https://arxiv.org/abs/1605.08803 (coupling layers).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from handlit.errors import InputError

_NEGATIVE_SLOPE = 0.01
#: What an image adds inside a coupling's networks: its condition, projected.
Projected = Any


#: (B, C), or parts (..., B, C_i) whose leading shapes broadcast: what is drawn first conditions what is drawn next.
Condition = Tensor | tuple[Tensor, ...]


def project_condition(layer: nn.Linear, condition: Condition) -> Tensor:
    """A linear layer on a condition; each part is projected by itself, so that an image's is once, not per sample."""
    if isinstance(condition, Tensor):
        return layer(condition)
    weights = layer.weight.split([part.shape[-1] for part in condition], 1)
    projected = [F.linear(part, weight) for part, weight in zip(condition, weights, strict=True)]
    return sum(projected[1:], projected[0] + layer.bias)


class ConditionedMLP(nn.Module):
    """A network of coordinates to which a condition is added before every non-linearity.

    ``h = l0(x) + c0(f); h = l1(a(h)) + c1(f); ...; out = l(a(h))`` with leaky ReLUs ``a``. The condition is projected
    once per image, however many samples are drawn for it.

    Args:
        in_features: Number of coordinates.
        condition_features: Width of the condition.
        hidden: Widths inside.
        out_features: Width of the output.
    """

    def __init__(self, in_features: int, condition_features: int, hidden: Sequence[int], out_features: int) -> None:
        super().__init__()
        if not hidden:
            raise InputError("the networks of a flow need a hidden layer: that is where the image enters")
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([in_features, *hidden]))
        self.conditions = nn.ModuleList(nn.Linear(condition_features, width) for width in hidden)
        self.out = nn.Linear(hidden[-1], out_features)

    def project(self, condition: Condition) -> list[Tensor]:
        """What the condition adds to each hidden layer: (..., B, width) each."""
        return [project_condition(layer, condition) for layer in self.conditions]  # type: ignore[arg-type]

    def forward(self, x: Tensor, projected: Sequence[Tensor]) -> Tensor:
        """Coordinates (..., B, in_features) to outputs (..., B, out_features)."""
        for layer, condition in zip(self.layers, projected, strict=True):
            x = F.leaky_relu(layer(x) + condition, _NEGATIVE_SLOPE)
        return self.out(x)


class Coupling(nn.Module, ABC):
    """One coupling; subclasses say how the second half changes.

    Args:
        features: Number of coordinates.
        freeze_first: Whether the first half is the one that is kept and conditions the other.

    Attributes:
        num_kept: Coordinates that are kept.
        num_moved: Coordinates that change.
    """

    def __init__(self, features: int, freeze_first: bool) -> None:
        super().__init__()
        if features < 2:
            raise InputError(f"a coupling needs at least 2 coordinates, of which one changes the other; got {features}")
        self.freeze_first = freeze_first
        self.split = features // 2
        self.num_kept = self.split if freeze_first else features - self.split
        self.num_moved = features - self.num_kept

    @abstractmethod
    def project(self, condition: Condition) -> Projected:
        """What the condition adds inside the networks; computed once per image."""

    @abstractmethod
    def forward(self, x: Tensor, projected: Projected) -> tuple[Tensor, Tensor]:
        """Coordinates (..., B, D) one step away from the base; also the log-determinant (..., B) of the step."""

    @abstractmethod
    def inverse(self, y: Tensor, projected: Projected) -> tuple[Tensor, Tensor]:
        """Undo `forward`: coordinates one step towards the base and the log-determinant (..., B) of that step."""

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The half that is kept and the half that is moved."""
        first, second = x[..., : self.split], x[..., self.split :]
        return (first, second) if self.freeze_first else (second, first)

    def join(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Undo `halves`."""
        return torch.cat([kept, moved] if self.freeze_first else [moved, kept], dim=-1)


class Shuffle(nn.Module):
    """A step that reorders the coordinates, so that other halves meet in the next coupling.

    Args:
        features: Number of coordinates.
        seed: Of the permutation.
    """

    order: Tensor

    def __init__(self, features: int, seed: int) -> None:
        super().__init__()
        order = torch.randperm(features, generator=torch.Generator().manual_seed(seed))
        # saved with the weights, which mean nothing in another order
        self.register_buffer("order", order)

    def project(self, condition: Condition) -> None:
        """Nothing: the order is fixed."""

    def forward(self, x: Tensor, projected: None) -> tuple[Tensor, Tensor]:
        """Coordinates (..., B, D) in another order, and the log-determinant 0."""
        return x[..., self.order], x.new_zeros(())

    def inverse(self, y: Tensor, projected: None) -> tuple[Tensor, Tensor]:
        """Undo `forward`."""
        return y[..., self.order.argsort()], y.new_zeros(())


class ConditionalFlow(nn.Module):
    """Image feature to a distribution over vectors.

    Args:
        features: D, coordinates of a vector.
        couplings: In the order from the base to the data; also other steps with the same functions.
    """

    def __init__(self, features: int, couplings: Iterable[Coupling | Shuffle]) -> None:
        super().__init__()
        self.features = features
        self.couplings = nn.ModuleList(couplings)
        if not self.couplings:
            raise InputError("a flow needs at least one coupling")

    def forward(self, condition: Condition) -> "FlowDistribution":
        """The distribution for each image.

        Args:
            condition: (B, C), or parts of it. Float32 is used under autocast too: log-densities add up many
                coordinates and steps.

        Returns:
            Distribution with event shape (D,) and batch shape (B,), or that to which the parts broadcast.
        """
        parts = (condition,) if isinstance(condition, Tensor) else condition
        with torch.autocast(parts[0].device.type, enabled=False):
            parts = tuple(part.to(next(self.parameters()).dtype) for part in parts)
            whole = parts if len(parts) > 1 else parts[0]
            projected = self.project(whole)
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return FlowDistribution(self, projected, parts[0].expand(*batch, -1))

    def project(self, condition: Condition) -> list[Projected]:
        """What the condition adds inside each coupling."""
        return [coupling.project(condition) for coupling in self.couplings]  # type: ignore[operator]


class FlowDistribution(Distribution):
    """Distribution of a `ConditionalFlow` for a batch of images.

    Samples are ``x = f(z), z ~ N(0, temperature^2 I)``; a temperature below 1 draws closer to `centre`.

    Args:
        flow: The network.
        projected: What the images add inside each coupling, from `Coupling.project`.
        condition: (..., B, C), which gives the batch's shape, device and type.
        temperature: Standard deviation of the base.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # torch declares it so
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        flow: ConditionalFlow,
        projected: Sequence[Projected],
        condition: Tensor,
        temperature: float = 1.0,
    ) -> None:
        if not temperature >= 0:
            raise InputError(f"the temperature of a flow must not be negative, got {temperature}")
        self.flow = flow
        self.projected = projected
        self.condition = condition
        self.temperature = temperature
        super().__init__(condition.shape[:-1], torch.Size([flow.features]), validate_args=False)

    def tempered(self, temperature: float) -> "FlowDistribution":
        """The same distribution at another temperature; 0 always draws `centre`."""
        return FlowDistribution(self.flow, self.projected, self.condition, temperature)

    @property
    def centre(self) -> Tensor:
        """(B, D) image of the base's mean: the point estimate. Not the density's maximum in general."""
        return self.push(self.condition.new_zeros(*self._extended_shape()))[0]

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Samples (\\*sample_shape, B, D), differentiable in the network and the condition."""
        return self.push(self.temperature * self._noise(sample_shape))[0]

    def rsample_with_log_prob(self, sample_shape: Sequence[int] = torch.Size()) -> tuple[Tensor, Tensor]:
        """Samples and their log-density, which is accumulated while sampling: no second pass.

        Args:
            sample_shape: Samples per image.

        Returns:
            Samples (\\*sample_shape, B, D) and log-densities (\\*sample_shape, B), nats; the gradient of a log-density
            includes the path through the sample.

        Raises:
            InputError: At temperature 0 there is no density.
        """
        return self.of_noise(self._noise(sample_shape))

    def of_noise(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (..., B, D) of standard normal numbers (..., B, D), and their log-densities (..., B), nats.

        Raises:
            InputError: At temperature 0 there is no density.
        """
        samples, log_determinant = self.push(self.temperature * noise)
        return samples, self._base_log_prob(noise) - log_determinant

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density (..., B), nats, of vectors (..., B, D).

        Raises:
            InputError: At temperature 0 there is no density.
        """
        total = torch.zeros_like(value[..., 0])
        with torch.autocast(value.device.type, enabled=False):
            for coupling, projected in zip(reversed(self.flow.couplings), reversed(self.projected), strict=True):
                value, log_determinant = coupling.inverse(value, projected)  # type: ignore[operator]
                total = total + log_determinant
        return self._base_log_prob(value / self.temperature if self.temperature else value) + total

    def _noise(self, sample_shape: Sequence[int]) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return torch.randn(shape, dtype=self.condition.dtype, device=self.condition.device)

    def push(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map base vectors to data.

        Args:
            z: (..., B, D).

        Returns:
            Vectors (..., B, D) and the log-determinant (..., B) of the map.
        """
        total = torch.zeros_like(z[..., 0])
        with torch.autocast(z.device.type, enabled=False):
            for coupling, projected in zip(self.flow.couplings, self.projected, strict=True):
                z, log_determinant = coupling(z, projected)
                total = total + log_determinant
        return z, total

    def _base_log_prob(self, noise: Tensor) -> Tensor:
        """Log-density of ``temperature * noise`` under the base."""
        if self.temperature == 0:
            raise InputError("a flow at temperature 0 always gives the same vector: it has no density")
        constant = 0.5 * math.log(2 * math.pi) + math.log(self.temperature)
        return -0.5 * noise.square().sum(-1) - self.flow.features * constant
