"""How much a method's spread must be widened or narrowed, from its errors on validation images.

Rotation and rest are fitted apart, each by the energy score, a proper one: the true distribution has the best score.

References:
    Gneiting and Raftery, 2007, doi:10.1198/016214506000001437, section 4.3; as a criterion of fitting: Gneiting et al.,
    "Calibrated probabilistic forecasting using ensemble model output statistics and minimum CRPS estimation", 2005,
    doi:10.1175/MWR2904.1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handlit.distributions.calibrated_hands import Differences, HandCalibration, Widening
from handlit.errors import InputError

#: Images below which factors would be guesses: their standard error is 6 % there.
MIN_IMAGES = 50
#: Images that factors are fitted to, and whose errors are kept; of more, every so many-th.
MAX_IMAGES = 1000
#: Errors that differ by less are the same, metres.
_SAME_M = 1e-6
#: Own spread below this is none, radians or metres.
_NO_SPREAD = 1e-7
#: Of factors on own and on added differences.
_RANGES = ((0.01, 100.0), (0.01, 3.0))
#: What is taken must be better by so many standard errors.
_CLEAR = 2.0
#: Blocks of neighbouring images, which are of one video where there are videos, that chance is estimated from.
_BLOCKS = 10


@dataclass(frozen=True)
class ValidationHands:
    """What a method said about validation images, and what was true.

    Attributes:
        true: (N, ...) differences of the true hands from the point estimates.
        drawn: (N, S, ...) those of hypotheses.
        scale: (N,) stated scales of the hands, `stated_scale`, metres.
        distances: (N, 21) of the point estimates' joints from the true ones, metres, wrist at the origin.
    """

    true: Differences
    drawn: Differences
    scale: Tensor
    distances: Tensor


def check_hands(hands: ValidationHands) -> None:
    """Refuse images from which nothing can be learned about errors.

    Raises:
        InputError: There are fewer than `MIN_IMAGES`, or all have the same errors.
    """
    count = len(hands.scale)
    if count < MIN_IMAGES:
        raise InputError(
            f"the validation split has {count} images with 3D joints, and a calibration needs {MIN_IMAGES}: give "
            "data.init_args.val_fraction or data that leave more to validate on"
        )
    if float((hands.distances.amax(0) - hands.distances.amin(0)).amax()) < _SAME_M:
        raise InputError(
            "the errors of all validation images are the same: predictions or labels are not what they should be"
        )


def fit_calibration(hands: ValidationHands) -> HandCalibration:
    """Fit the factors; see `docs/calibration.md`.

    Raises:
        InputError: As for `check_hands`.
    """
    check_hands(hands)
    step = math.ceil(len(hands.scale) / MAX_IMAGES)
    true, drawn = (Differences(*(part[::step] for part in parts)) for parts in (hands.true, hands.drawn))
    usual = float(hands.scale.log().mean().exp())
    relative = hands.scale[::step] / usual
    turn, turn_errors, _ = _fit_part(true.turn[:, None], drawn.turn[:, :, None], relative)
    rest, rest_errors, widened = _fit_part(true.rest[:, 1:], drawn.rest[:, :, 1:], relative)
    factors = _joint_factors(true.rest[:, 1:], widened)
    zero = torch.zeros_like(rest_errors[:, :1])
    return HandCalibration(
        turn=turn,
        rest=rest,
        joints=torch.cat([torch.ones(1), factors]),
        usual_scale=usual,
        errors=Differences(turn_errors[:, 0], torch.cat([zero, rest_errors], 1)),
    )


def _fit_part(true: Tensor, drawn: Tensor, relative: Tensor) -> tuple[Widening, Tensor, Tensor]:
    """Fit one part.

    Args:
        true: (N, P, 3) true differences of P points.
        drawn: (N, S, P, 3) those of hypotheses.
        relative: (N,) stated scales over the usual one.

    Returns:
        What becomes of it, the errors (N, P, 3) that may be added, and the hypotheses after it.
    """
    exponent = _exponent(true.square().sum((1, 2)).sqrt(), relative)
    power = (relative**exponent)[:, None, None]
    errors = true / power
    added = power[:, None] * errors[_others(*drawn.shape[:2])] * _signs(*drawn.shape[:2])[..., None, None]
    score = EnergyScore(true, drawn, added)
    if bool(drawn.abs().amax() < _NO_SPREAD):
        own = 1.0
        both = own
        (more,) = _minimise(lambda more: float(score(own, more).mean()), _RANGES[1:])
    else:
        (own,) = _minimise(lambda factor: float(score(factor, 0.0).mean()), _RANGES[:1])
        both, more = _minimise(lambda factor, more: float(score(factor, more).mean()), _RANGES)
    gain = (score(own, 0.0) - score(both, more)).mean(-1)
    clear = float(gain.mean()) > _CLEAR * float(gain.std()) / math.sqrt(len(gain))
    widening = Widening(both, more, exponent) if clear else Widening(_beyond_chance(own, score))
    return widening, errors, widening.own * drawn + widening.added * added


def _beyond_chance(own: float, score: "EnergyScore") -> float:
    """A factor shrunk to 1 by as much as chance may have made of it (the positive part of James and Stein's estimator).

    Its standard error is that of the point where a mean is lowest, the sandwich estimator, from means of blocks of
    images: frames of one video have their errors in common.
    """
    if own == 1:
        return own
    step = 0.05
    low, middle, high = (score(own * math.exp(by), 0.0).mean(-1) for by in (-step, 0.0, step))
    slopes = torch.stack([block.mean() for block in ((high - low) / (2 * step)).tensor_split(_BLOCKS)])
    curvature = float((high - 2 * middle + low).mean()) / step**2
    chance = float(slopes.var()) / _BLOCKS / max(curvature, 1e-12) ** 2
    return own ** max(0.0, 1 - chance / math.log(own) ** 2)


class EnergyScore:
    """Energy score of weighted sums of samples as a function of the weights: quick, as products are taken once.

    Pairs are of neighbouring samples alone, which are in no order.

    Args:
        true: (N, P, 3).
        parts: (N, S, P, 3) samples each; those of one place are added.
    """

    def __init__(self, true: Tensor, *parts: Tensor) -> None:
        self._errors = _products([*parts, -true[:, None]])
        self._pairs = _products([part - part.roll(1, 1) for part in parts])

    def __call__(self, *weights: float | Tensor) -> Tensor:
        """The score (N, P); weights (P,) are of each point."""
        return _lengths(self._errors, (*weights, 1.0)).mean(1) - _lengths(self._pairs, weights).mean(1) / 2


def _products(vectors: Sequence[Tensor]) -> dict[tuple[int, int], Tensor]:
    """Scalar products of vectors (..., 3), those of different ones twice: the terms of a sum's squared length."""
    numbers = range(len(vectors))
    return {
        (first, second): (1 + (first < second)) * (vectors[first] * vectors[second]).sum(-1)
        for first in numbers
        for second in numbers[first:]
    }


def _lengths(products: dict[tuple[int, int], Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """Lengths of weighted sums of vectors."""
    terms = [weights[first] * weights[second] * product for (first, second), product in products.items()]
    return sum(terms[1:], terms[0]).clamp(min=0).sqrt()


def _exponent(size: Tensor, relative: Tensor) -> float:
    """Power of the stated scale that errors grow by, (N,) each: least squares of logarithms, 0 if not beyond chance."""
    x, y = relative.log(), size.clamp(min=_SAME_M).log()
    x, y = x - x.mean(), y - y.mean()
    spread = float(x.square().sum())
    if spread < _SAME_M * len(x):
        return 0.0
    slope = float((x * y).sum()) / spread
    error = float((y - slope * x).square().sum()) / (len(x) - 2) / spread
    return min(slope, 2.0) if slope > _CLEAR * math.sqrt(error) else 0.0


def _joint_factors(true: Tensor, widened: Tensor) -> Tensor:
    """Factors (P,) of each joint's own, shrunk to 1 by as much as chance may have made of them.

    Their standard error is that of the scale of N vectors, ``1 / sqrt(6 N)`` of its logarithm.
    """
    logs, reach, score = torch.zeros(true.shape[1]), math.log(3), EnergyScore(true, widened)
    for _ in range(4):
        tried = logs + reach * torch.linspace(-1, 1, 9)[:, None]
        scores = torch.stack([score(each.exp()).mean(0) for each in tried])
        logs = tried.gather(0, scores.argmin(0)[None])[0]
        reach /= 4
    chance = 1 / (6 * len(true))
    beyond = max(float(logs.square().mean()) - chance, 0.0)
    return (beyond / (beyond + chance) * logs).exp()


def _minimise(score: Callable[..., float], ranges: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Positive numbers with the lowest score: grids of seven values each, finer and finer."""
    middles = [math.log(low * high) / 2 for low, high in ranges]
    reaches = [math.log(high / low) / 2 for low, high in ranges]
    for _ in range(5):
        axes = [
            middle + reach * torch.linspace(-1, 1, 7, dtype=torch.float64)
            for middle, reach in zip(middles, reaches, strict=True)
        ]
        grid = torch.cartesian_prod(*axes).view(-1, len(axes)).tolist()
        middles = min(grid, key=lambda logs: score(*map(math.exp, logs)))
        reaches = [reach / 3 for reach in reaches]
    return tuple(map(math.exp, middles))


def _others(count: int, draws: int) -> Tensor:
    """(N, S) for each image others, never itself."""
    generator = torch.Generator().manual_seed(0)
    return (torch.arange(count)[:, None] + torch.randint(1, count, (count, draws), generator=generator)) % count


def _signs(count: int, draws: int) -> Tensor:
    """(N, S) of 1 and -1."""
    return 2.0 * torch.randint(2, (count, draws), generator=torch.Generator().manual_seed(1)) - 1
