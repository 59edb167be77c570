"""A conditional RealNVP as a torch distribution: MHEntropy's density over hand poses (ICCV 2023, section 3).

Dinh et al., "Density estimation using Real NVP", ICLR 2017. Twelve couplings by default; each leaves one half of the
coordinates as it is and moves and scales the other half by what two networks read from the first half and from the
image.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from handlit.types import InputError

_NEGATIVE_SLOPE = 0.01


class ConditionedMLP(nn.Module):
    """A network of coordinates to which a condition is added before every non-linearity.

    ``h = l0(x) + c0(f); h = l1(a(h)) + c1(f); ...; out = l(a(h))`` with leaky ReLUs ``a``. The condition is projected
    once per image, however many samples are drawn for it.

    Args:
        in_features: Coordinates that are read.
        condition_features: Width of the condition.
        hidden: Widths inside.
        out_features: Width of the answer.
    """

    def __init__(self, in_features: int, condition_features: int, hidden: Sequence[int], out_features: int) -> None:
        super().__init__()
        widths = [in_features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, hidden, strict=False))
        self.conditions = nn.ModuleList(nn.Linear(condition_features, width) for width in hidden)
        self.out = nn.Linear(hidden[-1], out_features)

    def project(self, condition: Tensor) -> list[Tensor]:
        """What the condition (B, C) adds to each hidden layer: (B, width) each."""
        return [layer(condition) for layer in self.conditions]

    def forward(self, x: Tensor, projected: Sequence[Tensor]) -> Tensor:
        """Answers (..., B, out_features) of coordinates (..., B, in_features)."""
        for layer, condition in zip(self.layers, projected, strict=True):
            x = F.leaky_relu(layer(x) + condition, _NEGATIVE_SLOPE)
        return self.out(x)


class Coupling(nn.Module):
    """One coupling: ``y = x exp(s) + t`` for one half of the coordinates, with s and t from the other half.

    The scale's logarithm is ``s = tanh(network)``, so that no coordinate grows by more than e in one coupling.

    Args:
        features: All coordinates.
        condition_features: Width of the condition.
        hidden: Widths inside the two networks.
        freeze_first: Whether the first half is the one that is read and left as it is.
    """

    def __init__(self, features: int, condition_features: int, hidden: Sequence[int], freeze_first: bool) -> None:
        super().__init__()
        self.freeze_first = freeze_first
        self.split = features // 2
        kept = self.split if freeze_first else features - self.split
        self.log_scale = ConditionedMLP(kept, condition_features, hidden, features - kept)
        self.shift = ConditionedMLP(kept, condition_features, hidden, features - kept)

    def project(self, condition: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the condition adds inside the networks of scale and shift."""
        return self.log_scale.project(condition), self.shift.project(condition)

    def forward(self, x: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """Coordinates (..., B, D) one step away from the base; also the log-determinant (..., B) of the step."""
        kept, moved, log_scale, shift = self._read(x, projected)
        return self._join(kept, moved * log_scale.exp() + shift), log_scale.sum(-1)

    def inverse(self, y: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """Undo `forward`: coordinates one step towards the base and the log-determinant (..., B) of that step."""
        kept, moved, log_scale, shift = self._read(y, projected)
        return self._join(kept, (moved - shift) * (-log_scale).exp()), -log_scale.sum(-1)

    def _read(self, x: Tensor, projected: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first, second = x[..., : self.split], x[..., self.split :]
        kept, moved = (first, second) if self.freeze_first else (second, first)
        return kept, moved, self.log_scale(kept, projected[0]).tanh(), self.shift(kept, projected[1])

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([kept, moved] if self.freeze_first else [moved, kept], dim=-1)


class ConditionalRealNVP(nn.Module):
    """Image feature to a distribution over vectors, by couplings that freeze the halves in turn.

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
        super().__init__()
        if features < 2 or steps < 1 or not hidden:
            raise InputError(f"a RealNVP needs 2 coordinates, a step and a layer; got {features}, {steps}, {hidden}")
        self.features = features
        # the first coupling reads the second half, as the published one does
        self.couplings = nn.ModuleList(
            Coupling(features, condition_features, hidden, freeze_first) for freeze_first in (False, True) * steps
        )

    def forward(self, condition: Tensor) -> "RealNVPDistribution":
        """The distribution for each image.

        Args:
            condition: (B, C). Float32 is used under autocast too: log-densities add up 45 coordinates and 12 steps.

        Returns:
            Distribution with batch shape (B,) and event shape (D,).
        """
        with torch.autocast(condition.device.type, enabled=False):
            condition = condition.to(next(self.parameters()).dtype)
            projected = [coupling.project(condition) for coupling in self.couplings]  # type: ignore[operator]
        return RealNVPDistribution(self, projected, condition)


class RealNVPDistribution(Distribution):
    """Distribution of a `ConditionalRealNVP` for a batch of images.

    Samples are ``x = f(z), z ~ N(0, temperature^2 I)``; a temperature below 1 draws closer to `centre`.

    Args:
        flow: The network.
        projected: What the images add inside each coupling, from `Coupling.project`.
        condition: (B, C), which gives the batch's size, device and type.
        temperature: Standard deviation of the base.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # torch declares it so
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        flow: ConditionalRealNVP,
        projected: list[tuple[list[Tensor], list[Tensor]]],
        condition: Tensor,
        temperature: float = 1.0,
    ) -> None:
        if not temperature >= 0:
            raise InputError(f"the temperature of a flow must not be negative, got {temperature}")
        self.flow = flow
        self.projected = projected
        self.condition = condition
        self.temperature = temperature
        super().__init__(condition.shape[:1], torch.Size([flow.features]), validate_args=False)

    def tempered(self, temperature: float) -> "RealNVPDistribution":
        """The same with another temperature; 0 always draws `centre`."""
        return RealNVPDistribution(self.flow, self.projected, self.condition, temperature)

    @property
    def centre(self) -> Tensor:
        """(B, D), where the base's mean is brought to: the point estimate. Not the density's maximum in general."""
        return self._to_data(torch.zeros_like(self.condition[:, :1]).expand(-1, self.flow.features))[0]

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Samples (\\*sample_shape, B, D), differentiable in the network and the condition."""
        return self._to_data(self.temperature * self._noise(sample_shape))[0]

    def rsample_with_log_prob(self, sample_shape: Sequence[int] = torch.Size()) -> tuple[Tensor, Tensor]:
        """Samples and their log-density, accumulated on the way: no second pass.

        Args:
            sample_shape: Samples per image.

        Returns:
            Samples (\\*sample_shape, B, D) and log-densities (\\*sample_shape, B), nats; the gradient of a log-density
            includes the way through the sample.

        Raises:
            InputError: At temperature 0 there is no density.
        """
        noise = self._noise(sample_shape)
        samples, log_determinant = self._to_data(self.temperature * noise)
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

    def _to_data(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From the base to data; also the log-determinant (..., B)."""
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
