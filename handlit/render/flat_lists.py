"""Lists of lists of unequal lengths, stored as one flat list and the lengths."""

from itertools import pairwise

import torch
from torch import Tensor


def expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For each entry the list that it belongs to, and its position there.

    The former is ``torch.repeat_interleave(counts)``, which is four times slower on CPU where most counts are small.

    Args:
        counts: (M,) int64, length of each list, at least 0.

    Returns:
        (sum of counts,) int64 each: the list, from 0 to M - 1, and the position in it, from 0.
    """
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    marks = torch.zeros(total + 1, dtype=torch.int64, device=counts.device)
    marks.scatter_add_(0, ends, torch.ones_like(ends))
    owner = marks[:-1].cumsum_(0)
    position = torch.arange(total, device=counts.device) - (ends - counts).index_select(0, owner)
    return owner, position


def runs(cost: Tensor, limit: int) -> list[slice]:
    """Cut a list into runs of consecutive entries of bounded cost, to bound the memory of processing a run.

    Args:
        cost: (M,) of each entry, at least 0.
        limit: Highest cost of a run; a single entry may exceed it.

    Returns:
        Slices that cover the list in order, at least one; some may be empty.
    """
    total = cost.double().cumsum(0)
    if len(cost) == 0 or total[-1] <= limit:
        return [slice(0, len(cost))]
    limits = torch.arange(limit, float(total[-1]), limit, device=cost.device, dtype=torch.float64)
    cuts = [0, *torch.searchsorted(total, limits).unique().tolist(), len(cost)]
    return [slice(start, end) for start, end in pairwise(cuts)]
