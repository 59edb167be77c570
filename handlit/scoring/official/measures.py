"""What the numbers of `score` are: the ones that papers lead with, and the official ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from handlit.formats.benchmark import Benchmark
from handlit.metrics.measure import Measure
from handlit.scoring.official.evaluation import Evaluation, paper_key

#: The evaluation scripts that define the official numbers.
SCRIPTS = "eval.py of github.com/shreyashampali/ho3d (6af193c) and github.com/lmb-freiburg/freihand (0808a4d)"

_ALIGNED = {
    "": "as submitted, in the camera frame",
    "root": "after the wrists are put on one another",
    "procrustes": "after rotation, scale and translation that fit best; mirror images are admitted, as in the official "
    "scripts",
    "procrustes_proper": "after rotation, scale and translation that fit best, without mirror images",
    "scale_translation": "after wrists are put on one another and the middle finger's first bone has its true length",
}
_PREFIX = {
    "": "",
    "root": "RA-",
    "procrustes": "PA-",
    "procrustes_proper": "PA-",
    "scale_translation": "ST-",
}


@dataclass(frozen=True, kw_only=True)
class Headline(Measure):
    """A number that papers lead with: the mean over frames of a number of each frame.

    Attributes:
        per_frame: The frames' numbers (N,) in the measure's unit; None where a prediction has none.
    """

    per_frame: Callable[[Evaluation], np.ndarray | None]


def paper_measure(key: str) -> Measure:
    """The measure of a key of `Evaluation.papers`."""
    if key == "mirrored_share":
        what = "share of the images whose best Procrustes fit of the joints is a mirror image"
        return Measure(key, "mirrored share", what)
    return _PAPER_MEASURES[key]


def official_measure(benchmark: Benchmark, key: str) -> Measure:
    """The measure of an official key, as in ``scores.txt``."""
    stem, _, ending = key.rpartition("_")
    kinds = {official: kind for kind, official in benchmark.error_keys.items()}
    if stem in kinds:
        points, _, alignment = kinds[stem].partition("_")
        what = f"distance of {'joints' if points == 'joints' else 'vertices'} {_ALIGNED[alignment]}"
        if ending == "auc3d":
            what = f"area under the curve of the share of points within 0 to 50 mm; {what}"
        unit, is_error = ("cm", True) if ending == "mean3d" else ("", False)
    else:
        aligned = "after Procrustes alignment" if "_al_" in key else "as submitted"
        what, unit, is_error = f"F-score of the vertices at {ending} mm, {aligned}", "", False
    target: Literal["low", "high"] = "low" if is_error else "high"
    return Measure(key, key, what, unit=unit, target=target, reference=SCRIPTS)


def _paper_facts(kind: str) -> dict[str, Any]:
    points, _, alignment = kind.partition("_")
    name = f"{_PREFIX[alignment]}{'MPJPE' if points == 'joints' else 'MPVPE'}"
    name += ", not mirrored" if alignment == "procrustes_proper" else ""
    what = "21 joints, wrist included" if points == "joints" else "778 vertices"
    return {
        "key": paper_key(kind),
        "short": name,
        "explanation": f"mean distance of {what}, {_ALIGNED[alignment]}",
        "reference": SCRIPTS,
    }


_KINDS = [f"{points}{alignment and '_'}{alignment}" for points in ("joints", "vertices") for alignment in _ALIGNED]
_PAPER_MEASURES = {paper_key(kind): Measure(**_paper_facts(kind)) for kind in _KINDS}


def _error(kind: str) -> Headline:
    def per_frame(evaluation: Evaluation) -> np.ndarray | None:
        return 1000 * evaluation.errors[kind].per_frame() if kind in evaluation.errors else None

    return Headline(per_frame=per_frame, **_paper_facts(kind))


def _f_score(millimetres: int) -> Headline:
    key = f"f_al_score_{millimetres}"
    return Headline(
        key,
        f"F@{millimetres}, aligned",
        "harmonic mean of the shares of true and predicted vertices with a neighbour of the other mesh "
        f"within {millimetres} mm, {_ALIGNED['procrustes']}",
        target="high",
        reference=f"Knapitsch et al., doi:10.1145/3072959.3073599; {SCRIPTS}",
        per_frame=lambda evaluation: evaluation.frame_scores[key],
    )


HEADLINES = (
    *(_error(kind) for kind in ("joints_root", "joints_procrustes", "vertices_root", "vertices_procrustes")),
    _f_score(5),
    _f_score(15),
)
