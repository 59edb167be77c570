"""Several predictions scored against one ground truth, and the rows of every table about them."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handlit.scoring.ground_truth import GroundTruth
from handlit.scoring.linter import Finding
from handlit.scoring.protocols import Evaluation

#: Label of the prediction that is zero everywhere: what knowing nothing scores.
ZERO_LABEL = "zero prediction"


@dataclass(frozen=True)
class ScoredPrediction:
    """One prediction and its scores.

    Attributes:
        label: Name in tables.
        source: File it was read from; None for the zero prediction.
        sha256: Hash of that file.
        evaluation: Its scores.
        findings: What the linter noticed.
    """

    label: str
    source: Path | None
    sha256: str | None
    evaluation: Evaluation
    findings: list[Finding]


@dataclass(frozen=True)
class Row:
    """One number for every prediction.

    Attributes:
        name: Official key or paper name.
        unit: "cm", "mm" or "" for shares.
        lower_is_better: Direction.
        values: One per prediction; NaN where a prediction does not have the number.
    """

    name: str
    unit: str
    lower_is_better: bool
    values: list[float]

    @property
    def best(self) -> float | None:
        """The best of the values, or None if there is none."""
        known = [value for value in self.values if math.isfinite(value) and value >= 0]
        if not known:
            return None
        return min(known) if self.lower_is_better else max(known)


@dataclass(frozen=True)
class ScoreBoard:
    """All predictions of one `score` call.

    Attributes:
        ground_truth: What they were scored against.
        predictions: In the order given; the zero prediction last.
        reference: Label of the prediction that ratios are taken to, if any.
    """

    ground_truth: GroundTruth
    predictions: list[ScoredPrediction]
    reference: str | None

    def official_rows(self) -> list[Row]:
        """The official numbers, in the order of ``scores.txt``."""
        return [
            self._row(
                key, "cm" if key.endswith("mean3d") else "", [p.evaluation.official[key] for p in self.predictions]
            )
            for key in self.ground_truth.protocol.keys
        ]

    def paper_rows(self) -> list[Row]:
        """Millimetres and shares, as papers print them."""
        names = dict.fromkeys(name for p in self.predictions for name in p.evaluation.papers)
        return [
            self._row(
                name,
                "mm" if name.endswith("_mm") else "",
                [p.evaluation.papers.get(name, math.nan) for p in self.predictions],
            )
            for name in names
        ]

    def ratio(self, row: Row) -> list[float] | None:
        """Each value of an error row divided by the reference's; None without a reference and for other rows."""
        if self.reference is None or not row.unit:
            return None
        labels = [prediction.label for prediction in self.predictions]
        base = row.values[labels.index(self.reference)]
        return [value / base if base > 0 and value >= 0 else math.nan for value in row.values]

    def sequence_rows(self, kind: str) -> list[tuple[str, int, list[float]]]:
        """Mean error of each sequence.

        Args:
            kind: A key of `Evaluation.errors`.

        Returns:
            Sequence, number of its frames, and millimetres for each prediction (NaN where it has no such error); empty
            where the images do not come in sequences.
        """
        sequences = self.ground_truth.sequences
        if sequences is None:
            return []
        names, inverse = np.unique(np.array(sequences), return_inverse=True)
        counts = np.bincount(inverse)
        columns = []
        for prediction in self.predictions:
            statistics = prediction.evaluation.errors.get(kind)
            if statistics is None:
                columns.append(np.full(len(names), math.nan))
            else:
                columns.append(1000 * np.bincount(inverse, weights=statistics.per_frame()) / counts)
        return [(str(name), int(counts[i]), [float(column[i]) for column in columns]) for i, name in enumerate(names)]

    @staticmethod
    def _row(name: str, unit: str, values: list[float]) -> Row:
        return Row(name, unit, bool(unit) or name == "mirrored_share", values)


def format_value(row: Row, value: float) -> str:
    """A number as tables show it: two decimals for lengths, three for shares, a dash where there is none."""
    if not math.isfinite(value) or value < 0:
        return "–"
    return f"{value:.2f}" if row.unit else f"{value:.3f}"
