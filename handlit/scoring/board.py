"""Several predictions scored against one ground truth, and the rows of every table about them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from handlit.formats.ground_truth import GroundTruth
from handlit.scoring.bootstrap import Bootstrap, Interval
from handlit.scoring.official.evaluation import Evaluation
from handlit.scoring.official.joint_errors import JointErrorKind, joint_errors
from handlit.scoring.official.linter import Finding
from handlit.scoring.official.result_card import ResultCard

#: Label of the prediction that is zero everywhere: what knowing nothing scores.
ZERO_LABEL = "zero prediction"


@dataclass(frozen=True)
class Headline:
    """A number that papers lead with, as the mean over frames of a number of each frame.

    Attributes:
        name: Short, for tables.
        key: In files, with the unit in the name.
        unit: "mm", or "" for shares.
        per_frame: The frames' numbers in that unit (N,); None where a prediction has none.
    """

    name: str
    key: str
    unit: str
    per_frame: Callable[[Evaluation], np.ndarray | None]


def _error(kind: str) -> Callable[[Evaluation], np.ndarray | None]:
    return lambda evaluation: 1000 * evaluation.errors[kind].per_frame() if kind in evaluation.errors else None


def _share(key: str) -> Callable[[Evaluation], np.ndarray | None]:
    return lambda evaluation: evaluation.frame_scores[key]


HEADLINES = (
    Headline("RA-MPJPE", "root_aligned_mpjpe_mm", "mm", _error("joints_root")),
    Headline("PA-MPJPE", "pa_mpjpe_mm", "mm", _error("joints_procrustes")),
    Headline("RA-MPVPE", "root_aligned_mpvpe_mm", "mm", _error("vertices_root")),
    Headline("PA-MPVPE", "pa_mpvpe_mm", "mm", _error("vertices_procrustes")),
    Headline("F@5, aligned", "f_al_score_5", "", _share("f_al_score_5")),
    Headline("F@15, aligned", "f_al_score_15", "", _share("f_al_score_15")),
)


@dataclass(frozen=True)
class ScoredPrediction:
    """One prediction and its scores.

    Attributes:
        label: Name in tables.
        source: File it was read from; None for the zero prediction.
        sha256: Hash of that file.
        evaluation: Its scores.
        findings: What the linter noticed.
        joints: (N, 21, 3) as submitted, metres.
        joint_scale: (N, 21) predicted standard deviation of each joint in the benchmark's joint order, metres; None
            where the method gives none.
        card: How it was made, as far as it is known; None for the zero prediction.
        pictured: Vertices (M, 3) as submitted, of the frames that the report shows.
    """

    label: str
    source: Path | None
    sha256: str | None
    evaluation: Evaluation
    findings: list[Finding]
    joints: np.ndarray
    joint_scale: np.ndarray | None = None
    card: ResultCard | None = None
    pictured: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One number for every prediction.

    Attributes:
        name: Official key or paper name.
        unit: "cm", "mm" or "" for shares.
        lower_is_better: Direction.
        values: One per prediction; NaN where a prediction does not have the number.
        intervals: Bootstrap intervals of the values, where they were computed.
    """

    name: str
    unit: str
    lower_is_better: bool
    values: list[float]
    intervals: list[Interval | None] | None = None

    @property
    def best(self) -> float | None:
        """The best of the values, or None if there is none."""
        known = [value for value in self.values if math.isfinite(value) and value >= 0]
        if not known:
            return None
        return min(known) if self.lower_is_better else max(known)


@dataclass(frozen=True)
class Difference:
    """How far two predictions are apart in one number, on the same frames.

    Attributes:
        name: Of the number; `key` in files.
        unit: Its unit.
        first: Label.
        second: Label.
        value: Second minus first.
        interval: Paired bootstrap interval of the value.
    """

    name: str
    key: str
    unit: str
    first: str
    second: str
    value: float
    interval: Interval | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


@dataclass(frozen=True)
class ScoreBoard:
    """All predictions of one `score` call.

    Attributes:
        ground_truth: What they were scored against.
        predictions: In the order given; the zero prediction last.
        reference: Label of the prediction that ratios are taken to, if any.
        visible: (N, 21) bool, true joints that the image shows, in the benchmark's joint order; None if not known.
    """

    ground_truth: GroundTruth
    predictions: list[ScoredPrediction]
    reference: str | None
    visible: np.ndarray | None = None

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The draws behind every interval."""
        return Bootstrap(self.ground_truth.sequences, len(self.ground_truth))

    @cached_property
    def headline_rows(self) -> list[Row]:
        """The numbers that papers lead with, with bootstrap intervals."""
        columns = self._headline_columns()
        flat = np.stack([column for row in columns for column in row], axis=1)
        intervals = self.bootstrap.intervals(flat)
        count = len(self.predictions)
        return [
            Row(
                headline.name,
                headline.unit,
                bool(headline.unit),
                [float(column.mean()) for column in row],
                intervals[position * count : (position + 1) * count],
            )
            for position, (headline, row) in enumerate(zip(HEADLINES, columns, strict=True))
        ]

    @cached_property
    def differences(self) -> list[Difference]:
        """Every pair of predictions that were read from files, in every headline number that both have."""
        columns = self._headline_columns()
        pairs = list(combinations([i for i, p in enumerate(self.predictions) if p.source], 2))
        tasks = [
            (headline, first, second, row[second] - row[first])
            for first, second in pairs
            for headline, row in zip(HEADLINES, columns, strict=True)
        ]
        tasks = [task for task in tasks if np.isfinite(task[3]).all()]
        if not tasks:
            return []
        intervals = self.bootstrap.intervals(np.stack([values for *_, values in tasks], axis=1))
        labels = [prediction.label for prediction in self.predictions]
        return [
            Difference(
                headline.name,
                headline.key,
                headline.unit,
                labels[first],
                labels[second],
                float(values.mean()),
                interval,
            )
            for (headline, first, second, values), interval in zip(tasks, intervals, strict=True)
        ]

    def _headline_columns(self) -> list[list[np.ndarray]]:
        """Per headline, per prediction, its numbers (N,); NaN where a prediction has none."""
        missing = np.full(len(self.ground_truth), math.nan)
        rows = [[headline.per_frame(p.evaluation) for p in self.predictions] for headline in HEADLINES]
        return [[missing if column is None else column for column in row] for row in rows]

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

    def visibility_rows(self, kind: JointErrorKind) -> list[Row]:
        """Mean error in millimetres of the joints that the images show and of those they hide.

        The wrist is left out: aligned on the wrist, its error is zero whether it is seen or not.

        Returns:
            Rows "visible" and "hidden"; empty where visibility is not known.
        """
        if self.visible is None:
            return []
        visible = self.visible[:, 1:]
        errors = [1000 * joint_errors(p.joints, self.ground_truth.joints, kind)[:, 1:] for p in self.predictions]
        rows = []
        for name, mask in (("visible", visible), ("hidden", ~visible)):
            values = [float(error[mask].mean()) if mask.any() else math.nan for error in errors]
            rows.append(Row(f"{name} ({mask.mean():.0%})", "mm", True, values))
        return rows

    @staticmethod
    def _row(name: str, unit: str, values: list[float]) -> Row:
        return Row(name, unit, bool(unit) or name == "mirrored_share", values)


def format_value(row: Row, value: float) -> str:
    """A number as tables show it: two decimals for lengths, three for shares, a dash where there is none."""
    if not math.isfinite(value) or value < 0:
        return "–"
    return f"{value:.2f}" if row.unit else f"{value:.3f}"


def format_interval(row: Row, interval: Interval | None) -> str:
    """An interval as tables show it: one digit less than the value; empty where there is none."""
    if interval is None:
        return ""
    return f"{interval.low:.1f}–{interval.high:.1f}" if row.unit else f"{interval.low:.2f}–{interval.high:.2f}"
