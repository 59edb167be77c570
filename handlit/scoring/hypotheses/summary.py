"""What a table of hypothesis measures says: means, splits by visibility, calibration, bootstrap intervals, differences.

The table (`metrics.hypotheses.HypothesisTable`) is one file per evaluated run, so that runs can be compared later,
paired image by image.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from handlit.errors import InputError
from handlit.metrics.calibration import LEVELS, NUM_QUANTILES, ause, rank_correlation
from handlit.metrics.diversity import published_mean
from handlit.program import program
from handlit.scoring.bootstrap import Bootstrap, Interval, expanded_tail

Split = Literal["all", "visible", "occluded"]
SPLITS: tuple[Split, ...] = ("all", "visible", "occluded")
FILE_NAME = "hypotheses.npz"
#: Goes up when a column changes its meaning.
FORMAT = 1
#: Images of a batch in MHEntropy's published evaluation, which averages over batches.
PUBLISHED_BATCH = 64

#: (column, title, unit) of the measures that are means over joints and images.
_JOINT_MEANS = (
    ("error_mode_mm", "MPJPE of the point estimate", "mm"),
    ("error_mean_mm", "MPJPE of the mean hypothesis", "mm"),
    ("error_average_mm", "MPJPE averaged over hypotheses", "mm"),
    ("error_mode_px", "2D error of the point estimate", "px"),
    ("error_average_px", "2D consistency: error averaged over hypotheses", "px"),
    ("spread_mm", "3D spread of a joint (RMS)", "mm"),
    ("spread_px", "2D spread of a joint (RMS)", "px"),
    ("scale_mm", "sharpness: stated standard deviation", "mm"),
    ("nll_nats", "negative log-likelihood per coordinate, in mm", "nats"),
    ("crps_mm", "CRPS per coordinate", "mm"),
    ("energy_mm", "energy score", "mm"),
)


@dataclass(frozen=True)
class HypothesisRun:
    """The table of one evaluated run.

    Attributes:
        label: Its name in comparisons.
        keys: (N,) names of the images, in the table's order.
        columns: See `metrics.hypotheses.HypothesisTable.compute`.
        settings: What the numbers are of: method, checkpoint, data, hypotheses, temperature.
    """

    label: str
    keys: np.ndarray
    columns: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]

    @property
    def sequences(self) -> list[str] | None:
        """Sequence of each image, ``SEQ`` of ``SEQ/FRAME``; None where images are independent."""
        if not all("/" in key for key in self.keys.tolist()):
            return None
        return [key.rsplit("/", 1)[0] for key in self.keys.tolist()]


def save_run(path: Path, run: HypothesisRun) -> None:
    """Write a table; the file appears when it is whole."""
    text = json.dumps({"format": FORMAT, "label": run.label, **run.settings})
    arrays: dict[str, Any] = {"settings": np.array(text), "keys": run.keys, **run.columns}
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def load_run(path: Path) -> HypothesisRun:
    """Read a table.

    Args:
        path: The file, or the run folder that holds it.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is damaged or of another version.
    """
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `{program()} test --config RUN/config.yaml` writes it")
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
        settings = json.loads(str(columns.pop("settings")))
        keys = columns.pop("keys")
        version, label = settings.pop("format"), settings.pop("label")
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a table of hypotheses ({error}): run the test again") from error
    if version != FORMAT:
        raise InputError(f"{path} was written in format {version}, this is format {FORMAT}: run the test again")
    return HypothesisRun(label, keys, columns, settings)


@dataclass(frozen=True)
class Measure:
    """One number of a run, by visibility.

    Attributes:
        name: Key in files, e.g. ``"crps_mm"``.
        title: For people.
        unit: Empty for a share or a ratio.
        target: What is good: ``"low"``, ``"high"``, the nominal value of a share, or None where neither is.
        values: By split; splits without a value are left out.
        intervals: By split, where they can be had.
        draws: (num_draws,) bootstrap repetitions by split, for paired differences.
    """

    name: str
    title: str
    unit: str
    target: Literal["low", "high"] | float | None
    values: Mapping[Split, float]
    intervals: Mapping[Split, Interval]
    draws: Mapping[Split, np.ndarray]


class Summary:
    """Everything that a run's table says.

    Args:
        run: The table.
    """

    def __init__(self, run: HypothesisRun) -> None:
        self.run = run
        self._bootstrap = Bootstrap(run.sequences, len(run.keys))
        visible = run.columns["visible"]
        no_wrist = np.arange(visible.shape[1]) > 0
        self.masks: dict[Split, np.ndarray] = {
            "all": np.ones_like(visible, dtype=bool),
            "visible": (visible == 1) & no_wrist,
            "occluded": (visible == 0) & no_wrist,
        }
        self.measures = self._joint_means() + self._image_means() + self._calibration() + self._orders()

    @property
    def unit(self) -> str:
        """What the bootstrap draws: sequences or images."""
        return self._bootstrap.unit

    @property
    def num_groups(self) -> int:
        """How many of them there are."""
        return self._bootstrap.num_groups

    def get(self, name: str) -> Measure | None:
        """A measure by name; None where the run has no such number."""
        return next((measure for measure in self.measures if measure.name == name), None)

    def __getitem__(self, name: str) -> Measure:
        return {measure.name: measure for measure in self.measures}[name]

    def by_joint(self, name: str, split: Split = "all") -> np.ndarray:
        """Mean of a column for each joint: (21,); NaN for joints without a value."""
        values = np.where(self.masks[split], self.run.columns[name], np.nan)
        known = np.isfinite(values)
        counts = known.sum(0)
        return np.where(counts > 0, np.where(known, values, 0).sum(0) / np.maximum(counts, 1), np.nan)

    def pooled(self, name: str, split: Split = "all") -> np.ndarray:
        """A column's values of all joints and images of a split that have one, (M,)."""
        values = self.run.columns[name][self.masks[split]]
        return values[np.isfinite(values)]

    def _per_image(self, values: np.ndarray, split: Split) -> np.ndarray:
        """Mean over each image's joints of a split, (N,); NaN for images without any."""
        known = self.masks[split] & np.isfinite(values)
        counts = known.sum(1)
        return np.where(counts > 0, np.where(known, values, 0).sum(1) / np.maximum(counts, 1), np.nan)

    def _means(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Means (M,) over the images that have a value, and the same in every repetition (num_draws, M)."""
        table = np.stack(columns, axis=1).astype(np.float64)
        known = np.isfinite(table)
        filled = np.where(known, table, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = filled.sum(0) / known.sum(0)
            draws = self._bootstrap.means(filled) / self._bootstrap.means(known.astype(np.float64))
        return means, draws

    def _measure(
        self,
        name: str,
        title: str,
        unit: str,
        target: Literal["low", "high"] | float | None,
        columns: Mapping[Split, Sequence[np.ndarray]],
        combine: Callable[[np.ndarray], np.ndarray] = lambda means: means[..., 0],
    ) -> Measure:
        """A measure that is a function of means: ``combine`` takes (..., M) means to (...,)."""
        values: dict[Split, float] = {}
        intervals: dict[Split, Interval] = {}
        kept: dict[Split, np.ndarray] = {}
        for split, parts in columns.items():
            means, draws = self._means(parts)
            value = float(combine(means))
            if not np.isfinite(value):
                continue
            values[split], kept[split] = value, combine(draws)
            interval = percentile_interval(kept[split], self._bootstrap.num_groups)
            if interval is not None:
                intervals[split] = interval
        return Measure(name, title, unit, target, values, intervals, kept)

    def _joint_means(self) -> list[Measure]:
        columns = self.run.columns
        informative = {"spread_mm", "spread_px", "scale_mm"}
        return [
            self._measure(
                name,
                title,
                unit,
                None if name in informative else "low",
                {split: [self._per_image(columns[name], split)] for split in SPLITS},
            )
            for name, title, unit in _JOINT_MEANS
        ]

    def _image_means(self) -> list[Measure]:
        columns = self.run.columns
        titles = {"mpjpe": "MPJPE of the best of", "mpvpe": "MPVPE of the best of"}
        names = [name for name in columns if "_best_of_" in name and np.isfinite(columns[name]).any()]
        measures = [
            self._measure(name, f"{titles[name[:5]]} {name.split('_')[3]}", "mm", "low", {"all": [columns[name]]})
            for name in names
        ]
        for name, title in (("mode", "point estimate"), ("mean", "mean hypothesis")):
            column = columns[f"mpvpe_{name}_mm"]
            measures.append(self._measure(f"mpvpe_{name}_mm", f"MPVPE of the {title}", "mm", "low", {"all": [column]}))
        published = {
            "mpjpe_best_mm": ("MHEntropy's MPJPE: best hypothesis, one bone's length aligned", "mm"),
            "ah_px": ("MHEntropy's AH: 2D error over hypotheses, visible joints, 256-pixel crop", "px"),
            "pjd_2d_visible_px": ("MHEntropy's PJD, 2D, visible joints", "px"),
            "pjd_3d_occluded_mm": ("MHEntropy's PJD, 3D, occluded joints", "mm"),
        }
        for name, (title, unit) in published.items():
            target: Literal["low"] | None = None if name.startswith("pjd") else "low"
            column = columns[f"published_{name}"]
            measures.append(self._measure(f"published_{name}", title, unit, target, {"all": [column]}))
        parts = [columns["published_pjd_2d_visible_px"], columns["published_pjd_3d_occluded_mm"]]
        measures.append(
            self._measure(
                "published_rd",
                "MHEntropy's RD: PJD 2D visible / PJD 3D occluded",
                "px/mm",
                "low",
                {"all": parts},
                lambda means: means[..., 0] / means[..., 1],
            )
        )
        return measures + self._batch_means([measure for measure in measures if measure.name.startswith("published_")])

    def _batch_means(self, exact: Sequence[Measure]) -> list[Measure]:
        """The published measures averaged as the published code does: for comparison with its table, without intervals.

        See `metrics.diversity.published_mean`; batches of `PUBLISHED_BATCH` images in the dataset's order.
        """
        names = [measure.name for measure in exact if measure.name != "published_rd"]
        columns = {name: torch.from_numpy(self.run.columns[name]) for name in names}
        means = {name: published_mean(column.split(PUBLISHED_BATCH)) for name, column in columns.items()}
        if means["published_pjd_3d_occluded_mm"] > 0:
            means["published_rd"] = means["published_pjd_2d_visible_px"] / means["published_pjd_3d_occluded_mm"]
        return [
            replace(
                measure,
                name=f"{measure.name}_batched",
                title=f"{measure.title}; mean of batches of {PUBLISHED_BATCH}, as published",
                values={"all": means[measure.name]},
                intervals={},
                draws={},
            )
            for measure in exact
            if np.isfinite(means.get(measure.name, np.nan))
        ]

    def _calibration(self) -> list[Measure]:
        ranks = self.run.columns["rank"]

        def inside(level: float, split: Split) -> np.ndarray:
            return self._per_image(np.where(np.isfinite(ranks), ranks <= level, np.nan), split)

        measures = [
            self._measure(
                f"coverage_{round(100 * level)}",
                f"coverage of the {100 * level:.0f} % region",
                "",
                level,
                {split: [inside(level, split)] for split in SPLITS},
            )
            for level in LEVELS
        ]
        quantiles = np.linspace(0, 1, NUM_QUANTILES)[1:-1]
        measures.append(
            self._measure(
                "calibration_error",
                "quantile calibration error",
                "",
                "low",
                {split: [inside(level, split) for level in quantiles] for split in SPLITS},
                lambda means: np.abs(means - quantiles).sum(-1) / NUM_QUANTILES,
            )
        )
        return measures

    def _orders(self) -> list[Measure]:
        """Whether larger stated scales come with larger errors; numbers of all joints together, without intervals."""
        found: dict[str, dict[Split, float]] = {"ause": {}, "rank_correlation": {}}
        for split in SPLITS:
            errors, scales = (self.run.columns[name] for name in ("error_mode_mm", "scale_mm"))
            known = self.masks[split] & np.isfinite(errors) & np.isfinite(scales)
            if known.sum() < 2:
                continue
            pair = torch.from_numpy(errors[known]), torch.from_numpy(scales[known])
            found["ause"][split] = float(ause(*pair))
            if float(pair[1].std()) > 0:
                found["rank_correlation"][split] = float(rank_correlation(*pair))
        return [
            Measure("ause", "sparsification error (AUSE)", "", "low", found["ause"], {}, {}),
            Measure(
                "rank_correlation",
                "rank correlation of error and stated scale",
                "",
                "high",
                found["rank_correlation"],
                {},
                {},
            ),
        ]


def percentile_interval(draws: np.ndarray, num_groups: int) -> Interval | None:
    """Interval of bootstrap repetitions, widened for few groups; None where it cannot be had."""
    if num_groups < 2 or not np.isfinite(draws).all():
        return None
    tail = expanded_tail(num_groups)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_interval(first: Measure, second: Measure, split: Split, num_groups: int) -> Interval | None:
    """Interval of ``second - first`` on the same images: both were drawn alike, repetition by repetition."""
    if split not in first.draws or split not in second.draws:
        return None
    return percentile_interval(second.draws[split] - first.draws[split], num_groups)


def check_same_images(runs: Sequence[HypothesisRun]) -> None:
    """Refuse to compare runs on different images.

    Raises:
        InputError: Naming the two runs and the first image that they do not share.
    """
    first = runs[0]
    for other in runs[1:]:
        if first.keys.tolist() == other.keys.tolist():
            continue
        apart = sorted(set(first.keys.tolist()) ^ set(other.keys.tolist())) or ["only their order"]
        raise InputError(
            f"{first.label} ({len(first.keys)} images) and {other.label} ({len(other.keys)} images) were tested on "
            f"different images (first difference: {apart[0]}): test them on the same data"
        )
