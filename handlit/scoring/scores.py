"""Several predictions scored against one ground truth, and the tables about them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from handlit.findings import Finding
from handlit.formats.ground_truth import GroundTruth
from handlit.metrics.measure import Measure
from handlit.scoring.bootstrap import Bootstrap, Estimate, Statistic
from handlit.scoring.official.evaluation import Evaluation
from handlit.scoring.official.joint_errors import JointErrorKind, joint_errors
from handlit.scoring.official.measures import HEADLINES, Headline, official_measure, paper_measure
from handlit.scoring.official.result_card import ResultCard
from handlit.scoring.table import Cell, Row, Table

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
        joints: (N, 21, 3) as submitted, metres.
        joint_scale: (N, 21) predicted standard deviation of each joint in the benchmark's joint order, metres; None
            where the method gives none.
        card: How it was made, as far as it is known; None for the zero prediction.
        shown_vertices: Vertices (M, 3) as submitted, of the frames that the report shows.
    """

    label: str
    source: Path | None
    sha256: str | None
    evaluation: Evaluation
    findings: list[Finding]
    joints: np.ndarray
    joint_scale: np.ndarray | None = None
    card: ResultCard | None = None
    shown_vertices: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """How far two predictions are apart in one number, on the same frames.

    Attributes:
        measure: Of the number.
        first: Label.
        second: Label.
        estimate: Second minus first, with the paired bootstrap interval.
    """

    measure: Headline
    first: str
    second: str
    estimate: Estimate

    @property
    def is_clear(self) -> bool:
        """Whether the difference is beyond chance."""
        return self.estimate.interval is not None and self.estimate.interval.excludes_zero


@dataclass(frozen=True)
class Scores:
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

    @property
    def labels(self) -> list[str]:
        """Names of the predictions."""
        return [prediction.label for prediction in self.predictions]

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The draws behind every interval."""
        return Bootstrap(self.ground_truth.sequences, len(self.ground_truth))

    @cached_property
    def headlines(self) -> list[list[Estimate | None]]:
        """Per number that papers lead with, per prediction; None where a prediction does not have it."""
        columns = {
            (row, column): values
            for row, measure in enumerate(HEADLINES)
            for column, prediction in enumerate(self.predictions)
            # a prediction that is not a number must not look better without its frame
            if (values := measure.per_frame(prediction.evaluation)) is not None and np.isfinite(values).all()
        }
        estimates = dict(
            zip(columns, self.bootstrap.estimates([Statistic([values]) for values in columns.values()]), strict=True)
        )
        return [
            [estimates.get((row, column)) for column in range(len(self.predictions))] for row in range(len(HEADLINES))
        ]

    @cached_property
    def differences(self) -> list[Difference]:
        """Every pair of predictions that were read from files, in every headline number that both have."""
        from_files = [position for position, prediction in enumerate(self.predictions) if prediction.source]
        return [
            Difference(measure, self.labels[first], self.labels[second], of_second.minus(of_first))
            for first, second in combinations(from_files, 2)
            for measure, row in zip(HEADLINES, self.headlines, strict=True)
            if (of_first := row[first]) is not None and (of_second := row[second]) is not None
        ]

    def headline_table(self) -> Table:
        """The numbers that papers lead with, with bootstrap intervals."""
        truth = self.ground_truth
        rows = [self._row(measure, row) for measure, row in zip(HEADLINES, self.headlines, strict=True)]
        notes = ["RA, PA: wrist- and Procrustes-aligned"]
        if self.bootstrap.num_groups < 2:
            notes.append("no intervals: all images are of one sequence")
        else:
            over = f"{self.bootstrap.num_groups:,} {self.bootstrap.unit}"
            notes.append(f"±: half of a 95 % bootstrap interval over {over}")
        if self.reference:
            notes.append(f"×: ratio to {self.reference}")
        return Table(f"{truth.benchmark.title}, {len(truth):,} images", self.labels, rows, notes)

    def official_table(self) -> Table:
        """The official numbers, in the order of ``scores.txt``."""
        benchmark = self.ground_truth.benchmark
        return self._table(
            "official numbers",
            [official_measure(benchmark, key) for key in benchmark.keys],
            lambda evaluation: evaluation.official,
        )

    def paper_table(self) -> Table:
        """Millimetres and shares, as papers print them."""
        keys = dict.fromkeys(key for prediction in self.predictions for key in prediction.evaluation.papers)
        return self._table(
            "numbers of papers", [paper_measure(key) for key in keys], lambda evaluation: evaluation.papers
        )

    def visibility_table(self, kind: JointErrorKind) -> Table:
        """Mean error of the joints that the images show and of those they hide; without rows if that is not known.

        The wrist is left out: aligned on the wrist, its error is zero whether it is seen or not.
        """
        measure = HEADLINES[0] if kind == "joints_root" else HEADLINES[1]
        title = f"{measure.short} of visible and hidden joints"
        if self.visible is None:
            return Table(title, self.labels, [])
        visible = self.visible[:, 1:]
        errors = [1000 * joint_errors(p.joints, self.ground_truth.joints, kind)[:, 1:] for p in self.predictions]
        rows = []
        for name, mask in (("visible", visible), ("hidden", ~visible)):
            values = [float(error[mask].mean()) if mask.any() else math.nan for error in errors]
            rows.append(self._row(measure, [_estimate(value) for value in values], f"{name} ({mask.mean():.0%})"))
        return Table(title, self.labels, rows)

    def ratios(self, row: Row) -> list[float] | None:
        """Each error of a row divided by the reference's; None without a reference and for other numbers."""
        if self.reference is None or not row.measure.unit:
            return None
        return _ratios([cell.estimate for cell in row.cells], self.labels.index(self.reference))

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

    def _table(
        self, title: str, measures: Sequence[Measure], numbers: Callable[[Evaluation], Mapping[str, float]]
    ) -> Table:
        columns = [numbers(prediction.evaluation) for prediction in self.predictions]
        rows = [
            self._row(measure, [_estimate(column.get(measure.key, math.nan)) for column in columns])
            for measure in measures
        ]
        return Table(title, self.labels, rows)

    def _row(self, measure: Measure, estimates: Sequence[Estimate | None], group: str = "") -> Row:
        """A row with ratios; the zero prediction is an anchor, without interval and ratio."""
        ratios: Sequence[float] = [math.nan] * len(estimates)
        if self.reference is not None and measure.unit:
            ratios = _ratios(estimates, self.labels.index(self.reference))
        known = [estimate.value for estimate in estimates if estimate is not None]
        best = (min if measure.target == "low" else max)(known, default=None)
        cells = []
        for prediction, estimate, ratio in zip(self.predictions, estimates, ratios, strict=True):
            is_best = estimate is not None and estimate.value == best
            if prediction.source is None or prediction.label == self.reference:
                ratio = math.nan
            if prediction.source is None and estimate is not None:
                estimate = Estimate(estimate.value)
            cells.append(Cell(estimate, ratio if math.isfinite(ratio) else None, is_best=is_best))
        return Row(measure, cells, group)


def _estimate(value: float) -> Estimate | None:
    """A number without an interval; None for what is not comparable, which the official scripts report as -1."""
    return Estimate(value) if math.isfinite(value) and value >= 0 else None


def _ratios(estimates: Sequence[Estimate | None], reference: int) -> list[float]:
    base = estimates[reference]
    if base is None or base.value <= 0:
        return [math.nan] * len(estimates)
    return [math.nan if estimate is None else estimate.value / base.value for estimate in estimates]
