"""What a table of hypotheses says: every registered measure by visibility, with intervals, and what differs."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from handlit.metrics.measure import CombinedMeasure, DrawnMeasure, Measure, PooledMeasure
from handlit.metrics.registry import measures
from handlit.scoring.bootstrap import Bootstrap, Estimate, Statistic
from handlit.scoring.hypotheses.run import HypothesisRun
from handlit.scoring.table import Cell, Row, Table

Split = Literal["all", "visible", "occluded"]
SPLITS: tuple[Split, ...] = ("all", "visible", "occluded")


class Summary:
    """Everything that a run's table says.

    Args:
        run: The table.

    Attributes:
        estimates: For each measure of which the run has a number, its estimates by split.
    """

    def __init__(self, run: HypothesisRun) -> None:
        self.run = run
        self.bootstrap = Bootstrap(run.sequences, len(run.keys))
        visible = run.columns["visible"]
        no_wrist = np.arange(visible.shape[1]) > 0
        self.masks: dict[Split, np.ndarray] = {
            "all": np.ones_like(visible, dtype=bool),
            "visible": (visible == 1) & no_wrist,
            "occluded": (visible == 0) & no_wrist,
        }
        self.estimates = self._estimates()

    def __getitem__(self, key: str) -> Mapping[Split, Estimate]:
        """Estimates of a measure by split; empty where the run has no such number."""
        return self.estimates.get(key, {})

    def by_joint(self, key: str) -> np.ndarray:
        """Mean of a measure for each joint: (21,); NaN for joints without a value."""
        return _mean(self.run.columns[key], np.isfinite(self.run.columns[key]), axis=0)

    def pooled(self, *keys: str, split: Split = "all") -> list[np.ndarray]:
        """Values (M,) of measures, of all joints and images of a split where all of them have one."""
        columns = [self.run.columns[key] for key in keys]
        known = np.logical_and.reduce([self.masks[split], *(np.isfinite(column) for column in columns)])
        return [column[known] for column in columns]

    def _estimates(self) -> dict[str, dict[Split, Estimate]]:
        """All measures at once, so that everything is drawn together."""
        estimates: dict[str, dict[Split, Estimate]] = {}
        places: list[tuple[str, Split]] = []
        statistics: list[Statistic] = []
        for measure in measures(Measure):
            if not self._has(measure):
                continue
            estimates[measure.key] = {}
            if isinstance(measure, PooledMeasure):
                estimates[measure.key] = self._pooled_estimates(measure)
                continue
            for split, statistic in self._statistics(measure).items():
                places.append((measure.key, split))
                statistics.append(statistic)
        for (key, split), estimate in zip(places, self.bootstrap.estimates(statistics), strict=True):
            if estimate is not None:
                estimates[key][split] = estimate
        return {key: by_split for key, by_split in estimates.items() if by_split}

    def _has(self, measure: Measure) -> bool:
        """Whether the run has what a measure needs: older tables lack the newest columns."""
        if isinstance(measure, DrawnMeasure):
            return measure.shown and measure.key in self.run.columns
        is_derived = isinstance(measure, CombinedMeasure | PooledMeasure)
        return is_derived and all(name in self.run.columns for name in measure.columns)  # type: ignore[attr-defined]

    def _statistics(self, measure: Measure) -> dict[Split, Statistic]:
        if isinstance(measure, CombinedMeasure):
            parts, combine = measure.parts(self.run.columns), {"combine": measure.combine}
        else:
            parts, combine = [self.run.columns[measure.key]], {}
        if parts[0].ndim == 1:
            return {"all": Statistic(parts, **combine)}
        return {split: Statistic([self._per_image(part, split) for part in parts], **combine) for split in SPLITS}

    def _pooled_estimates(self, measure: PooledMeasure) -> dict[Split, Estimate]:
        estimates: dict[Split, Estimate] = {}
        for split in SPLITS if measure.of_joints else SPLITS[:1]:
            columns = {name: self.run.columns[name] for name in measure.columns}
            if measure.of_joints:
                columns = {name: np.where(self.masks[split], values, np.nan) for name, values in columns.items()}
            value = measure.function(columns)
            if np.isfinite(value):
                estimates[split] = Estimate(value)
        return estimates

    def _per_image(self, values: np.ndarray, split: Split) -> np.ndarray:
        """Mean over each image's joints of a split, (N,); NaN for images without any."""
        return _mean(values, self.masks[split] & np.isfinite(values), axis=1)


def summary_table(summary: Summary) -> Table:
    """Everything of one run, by visibility."""
    run = summary.run
    settings = ", ".join(f"{name} {value}" for name, value in run.settings.items())
    rows = [
        Row(measure, [Cell(summary[measure.key].get(split)) for split in SPLITS])
        for measure in measures(Measure)
        if summary[measure.key]
    ]
    return Table(f"{run.label}: {len(run.keys):,} images, {settings}", SPLITS, rows, _notes(summary))


def comparison_table(summaries: Sequence[Summary]) -> Table:
    """Several runs side by side; differences from the first that are beyond chance are marked."""
    first = summaries[0]
    rows = []
    for measure in measures(Measure):
        for split, reference in first[measure.key].items():
            others = [summary[measure.key].get(split) for summary in summaries]
            differs = [estimate is not None and _is_clear(estimate, reference) for estimate in others]
            cells = [Cell(estimate, differs=mark) for estimate, mark in zip(others, differs, strict=True)]
            rows.append(Row(measure, cells, split))
    star = f"*: differs from {first.run.label} beyond a paired 95 % interval on the same images"
    labels = [summary.run.label for summary in summaries]
    return Table(f"{len(first.run.keys):,} images", labels, rows, [*_notes(first), star])


def _is_clear(estimate: Estimate, reference: Estimate) -> bool:
    interval = estimate.minus(reference).interval
    return interval is not None and interval.excludes_zero


def _notes(summary: Summary) -> list[str]:
    return [
        f"±: half of a 95 % bootstrap interval over {summary.bootstrap.num_groups:,} {summary.bootstrap.unit}",
        "every image weighs the same",
        "the wrist is the origin: neither visible nor occluded",
        "best-of-N alone rewards a method for being vague",
    ]


def _mean(values: np.ndarray, known: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the known values along an axis; NaN where there is none."""
    counts = known.sum(axis)
    return np.where(counts > 0, np.where(known, values, 0).sum(axis) / np.maximum(counts, 1), np.nan)
