"""The uncertainty that a method gives with its predictions, against the errors it makes."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.formats.archives import read_arrays
from handlit.formats.benchmark import Benchmark
from handlit.skeleton import JOINTS, NUM_JOINTS, permutation

log = logging.getLogger(__name__)

#: Groups of equal size that joints are sorted into by their predicted scale.
NUM_BINS = 10


@dataclass(frozen=True)
class ScaleCurve:
    """Error against predicted scale.

    Attributes:
        scale_mm: (bins,) mean predicted standard deviation of each group of joints, ascending.
        error_mm: (bins,) their mean error.
        rank_correlation: Spearman's, over all joints of all frames: 1 where the order is right, 0 where it says
            nothing; NaN for a scale that never changes.
    """

    scale_mm: np.ndarray
    error_mm: np.ndarray
    rank_correlation: float


def scale_file(prediction: Path) -> Path:
    """``pred.scale.npz`` beside ``pred.zip`` or ``pred.json``."""
    return prediction.with_name(f"{prediction.stem}.scale.npz")


def read_joint_scale(
    path: Path, num_frames: int, protocol: Benchmark, prediction_sha256: str | None = None
) -> np.ndarray | None:
    """Read ``index`` (N,) and ``joint_scale_m`` (N, 21), handlit's joint order, in any order of frames.

    A file that says in ``prediction_sha256`` that it is of another prediction is left out, with a warning.

    Args:
        path: As `scale_file` names it; no file is no scale.
        num_frames: Of the ground truth.
        protocol: Decides the joint order.
        prediction_sha256: Hash of the prediction that it lies beside, if it is known.

    Returns:
        (N, 21) metres in the benchmark's joint order, or None.

    Raises:
        InputError: The file is damaged or does not hold every frame once.
    """
    if not path.is_file():
        return None
    arrays = read_arrays(path, "a file of predicted scales")
    index, scale = (arrays.get(name, np.zeros(0, dtype="U1")) for name in ("index", "joint_scale_m"))
    if index.dtype.kind not in "iu" or scale.dtype.kind != "f":
        raise InputError(f"{path}: expected numbers in the arrays index and joint_scale_m; predict again")
    of_prediction = str(arrays.get("prediction_sha256", prediction_sha256))
    if prediction_sha256 is not None and of_prediction != prediction_sha256:
        log.warning("%s is of another prediction than the one beside it, and is left out: predict again", path)
        return None
    if scale.shape != (num_frames, NUM_JOINTS) or not np.array_equal(np.sort(index), np.arange(num_frames)):
        raise InputError(
            f"{path}: expected joint_scale_m of shape {(num_frames, NUM_JOINTS)} with every frame once in index, got "
            f"{scale.shape} and {len(np.unique(index))} frames; it belongs to another prediction: remove it"
        )
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise InputError(f"{path}: joint_scale_m holds NaN, infinity or negative numbers; predict again")
    ordered = np.empty((num_frames, NUM_JOINTS))
    ordered[index] = scale
    return ordered[:, permutation(JOINTS, protocol.joint_order)]


def scale_curve(scale: np.ndarray, errors: np.ndarray) -> ScaleCurve:
    """Sort joints by predicted scale into groups of equal size.

    Args:
        scale: (N, J) metres.
        errors: (N, J) metres.
    """
    # not at the start of every command that scores
    from scipy.stats import spearmanr

    order = np.argsort(scale.ravel(), kind="stable")
    groups = np.array_split(order, min(NUM_BINS, len(order)))
    varies = np.ptp(scale) > 0 and np.ptp(errors) > 0
    correlation = float(spearmanr(scale.ravel(), errors.ravel()).statistic) if varies else math.nan
    means = [[1000 * float(array.ravel()[group].mean()) for group in groups] for array in (scale, errors)]
    return ScaleCurve(np.array(means[0]), np.array(means[1]), correlation)
