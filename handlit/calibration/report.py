"""A calibration in lines."""

from torch import Tensor

from handlit.distributions.calibrated_hands import HandCalibration, Widening
from handlit.metrics.calibration import LEVELS
from handlit.metrics.functional import MILLIMETRES_PER_METRE


def report(calibration: HandCalibration, radii: Tensor, images: int) -> list[str]:
    """What was found.

    Args:
        calibration: What is applied.
        radii: (L, 21) of `LEVELS`, metres.
        images: Validation images that it was fitted to.
    """
    factors = calibration.joints[1:]
    means = (radii[:, 1:].mean(1) * MILLIMETRES_PER_METRE).tolist()
    return [
        f"fitted to {images:,} validation images",
        f"rotation: {_words(calibration.turn)}",
        f"rest: {_words(calibration.rest)}; joints by {float(factors.min()):.2f} to {float(factors.max()):.2f}",
        "conformal radii, mean over the joints: "
        + ", ".join(f"{level:.0%} {mean:.1f} mm" for level, mean in zip(LEVELS, means, strict=True)),
    ]


def _words(widening: Widening) -> str:
    text = f"own spread times {widening.own:.3g}"
    if not widening.added:
        return text
    power = f" times (stated scale / usual)^{widening.exponent:.2f}" if widening.exponent else ""
    return f"{text}, and errors of validation images times {widening.added:.2f}{power} added"
