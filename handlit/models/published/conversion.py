"""Released weights brought to handlit's names, with an account of every key."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from handlit.errors import InputError

#: How many keys of a kind an error names.
_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """Source of a tensor of a handlit network in a released state_dict.

    Attributes:
        names: Released tensors, to be joined along their first dimension.
        rows: Rows of the one released tensor that are kept; all by default.
        total_rows: Its rows, where not all are kept.
        columns: Columns of a matrix that are kept; all by default.
        total_columns: Its columns, where not all are kept.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...] = ()
    total_rows: int = 0
    columns: tuple[int, ...] = ()
    total_columns: int = 0

    def shape(self, target: torch.Size) -> tuple[int, ...]:
        """Shape that each released tensor must have for a target of this shape."""
        if not target:
            return ()
        rows = self.total_rows if self.rows else target[0] // len(self.names)
        return (rows, self.total_columns) if self.columns else (rows, *target[1:])

    def read(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The target, from the released tensors by name."""
        if len(self.names) > 1:
            return torch.cat([weights[name] for name in self.names])
        part = weights[self.names[0]]
        if self.rows:
            part = part[list(self.rows)]
        return part[:, list(self.columns)] if self.columns else part


@dataclass
class Conversion:
    """Released weights under handlit's names, and what became of every released key.

    Attributes:
        weights: Complete state_dict of the handlit network.
        used: Released key to the name of the tensor it is in.
        ignored: Released key that is not needed to the reason.
        missing: Keys that are not there and not needed: counters of batches, set to zero.
        unexpected: Keys that the released code does not have.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """One tab-separated line for each key: what became of it, its name, and where it went or why not."""
        yield from (f"used\t{key}\t{target}" for key, target in self.used.items())
        yield from (f"ignored\t{key}\t{reason}" for key, reason in self.ignored.items())
        yield from (f"missing\t{key}\ta counter, set to zero" for key in self.missing)
        yield from (f"unexpected\t{key}\tnot in the released network" for key in self.unexpected)


def convert(
    released: Mapping[str, Tensor],
    network: Mapping[str, Tensor],
    source_of: Callable[[str], Source],
    ignored: Mapping[str, str],
) -> Conversion:
    """Convert any released state_dict to that of a network.

    Args:
        released: The released state_dict.
        network: State_dict of the network, for its names and shapes.
        source_of: Where the tensor of a name in the network comes from.
        ignored: Reason for each released tensor that is not needed.

    Raises:
        InputError: A tensor that is needed is missing, of another shape or not finite.
    """
    conversion = Conversion(ignored={key: ignored[key] for key in released if key in ignored})
    lacking, misshaped = [], []
    sources = {target: source_of(target) for target in network}
    for target, source in sources.items():
        expected = source.shape(network[target].shape)
        absent = [name for name in source.names if name not in released]
        present = [name for name in source.names if name in released]
        if target.endswith(".num_batches_tracked"):
            conversion.missing += absent
        else:
            lacking += absent
        conversion.used |= dict.fromkeys(present, target)
        wrong = [name for name in present if tuple(released[name].shape) != expected]
        misshaped += [f"{name} {tuple(released[name].shape)} instead of {expected}" for name in wrong]
    conversion.unexpected = [key for key in released if key not in conversion.used and key not in ignored]
    broken = [] if lacking or misshaped else [key for key in conversion.used if not released[key].isfinite().all()]
    if lacking or misshaped or broken:
        problems = [(lacking, "missing"), (misshaped, "of another shape"), (broken, "with NaN or infinity")]
        raise InputError(
            "these weights do not fit: "
            + "; ".join(f"{len(keys)} {what} ({listed(keys)})" for keys, what in problems if keys)
            + f"; {len(conversion.unexpected)} unexpected ({listed(conversion.unexpected)}). "
            "Expected is the released state_dict itself, whole and unchanged: download it again, or name another file"
        )
    for target, source in sources.items():
        like = network[target]
        is_there = source.names[0] in released
        conversion.weights[target] = source.read(released).to(like.dtype) if is_there else torch.zeros_like(like)
    return conversion


def listed(keys: list[str]) -> str:
    """The first few of many keys, for a message."""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more or "none"
