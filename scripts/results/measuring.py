"""One run: trained, or resumed; tested, scored, calibrated and tested again; and the figures of it."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from handlit.data.synthesis.generate import FORMAT
from handlit.metrics.measure import Measure, PointMeasure
from handlit.metrics.registry import measures
from handlit.reading import read_json
from handlit.run_folder import RunFolder
from handlit.scoring.hypotheses.run import load_run
from handlit.scoring.hypotheses.summary import Summary
from handlit.scoring.official.measures import HEADLINES
from handlit.scoring.score import score
from scripts.results.commands import Command
from scripts.results.rows import Row

#: Measure by key, ``KEY/visible`` and ``KEY/occluded`` for those joints alone.
Figures = dict[str, float]
#: Measures that the page shows for visible and occluded joints apart.
BY_VISIBILITY = ("error_mode_mm", "spread_mm", "spread_px")
#: A figure's digits that are kept.
_DIGITS = 6


@dataclass(frozen=True)
class Sizes:
    """How much is made, trained and drawn.

    Attributes:
        train: Training images.
        evaluation: Evaluation images.
        fit: Further options of `fit`, which its run keeps.
        calibrate: Further options of `calibrate`.
    """

    train: int = 6000
    evaluation: int = 300
    fit: tuple[str, ...] = ()
    calibrate: tuple[str, ...] = ()

    @property
    def data(self) -> dict[str, object]:
        """What the images are, for the record: files of another format, or others, are other data."""
        return {"format": FORMAT, "preset": "easy", "train": self.train, "evaluation": self.evaluation, "seed": 0}


#: Of the page, and the smallest that can be calibrated.
WHOLE = Sizes()
SMOKE = Sizes(
    120,
    4,
    (
        *("--data.init_args.image_size=32", "--data.init_args.val_fraction=0.5", "--data.init_args.num_workers=0"),
        "--trainer.max_epochs=1",
    ),
    ("--hypotheses", "10"),
)


def make_data(folder: Path, sizes: Sizes, run: Command, log: Path) -> None:
    """Make the images, or what is missing of them: the same for every method and seed.

    Raises:
        CommandFailed: They cannot be made, for instance because the folder holds others.
    """
    counts = ["--train", str(sizes.train), "--evaluation", str(sizes.evaluation)]
    run(["synth", "--layout", "ho3d_v3", "--preset", "easy", "--out", str(folder), *counts, "--seed", "0"], log)


class Measurement:
    """A method with a seed: its commands and their figures.

    Args:
        row: The method.
        seed: Of the training.
        out: Folder of data and runs.
        sizes: How much.
        run: Runs the commands.
    """

    def __init__(self, row: Row, seed: int, out: Path, sizes: Sizes, run: Command) -> None:
        self.row, self.seed, self.sizes, self.run = row, seed, sizes, run
        self.data = out / "data"
        self.files = RunFolder(row.folder(out, seed))
        self.log = out / "logs" / f"{self.files.path.parent.name}_seed{seed}.txt"
        #: Minutes that training and measuring took; of a resumed training nothing is known.
        self.minutes: dict[str, float] = {}

    def forget(self) -> None:
        """Remove the run folder, so that the training starts anew."""
        if self.files.path.exists():
            shutil.rmtree(self.files.path)

    def train(self) -> None:
        """Train, or resume; a training that has ended stays as it is."""
        is_new, start = not self.files.config.exists(), time.monotonic()
        options = [f"--seed_everything={self.seed}", f"--run_dir={self.files.path}"]
        options += [f"--data.init_args.root={self.data}", "--trainer.enable_progress_bar=false", "--resume"]
        self.run(["fit", "--config", str(self.row.config_file), *options, *self.row.options, *self.sizes.fit], self.log)
        if is_new:
            self.minutes["train"] = _minutes_since(start)

    def figures(self) -> Figures:
        """Everything that is measured of the method as it is."""
        start = time.monotonic()
        self._on_run("test")
        self._on_run("predict")
        with self.log.open("a") as output:
            scores = score([self.files.submission], self.data, console=Console(file=output), by_visibility=False)
        meshes = {measure.key: row[0] for measure, row in zip(HEADLINES, scores.headlines, strict=True)}
        aligned = {key: found.value for key, found in meshes.items() if found and key.startswith("f_al_score")}
        figures = _tested(self.files.hypothesis_table, self.files.test_numbers) | _rounded(aligned)
        self.minutes["measure"] = _minutes_since(start)
        return figures

    def calibrated_figures(self, own: Figures) -> Figures:
        """The same of the calibrated method.

        Args:
            own: What `figures` returned: its point estimate, and so its F-scores, stay as they are.
        """
        start = time.monotonic()
        self._on_run("calibrate", *self.sizes.calibrate)
        self._on_run("test", "--calibrated")
        figures = _tested(self.files.calibrated_hypothesis_table, self.files.calibrated_test_numbers)
        self.minutes["calibrate"] = _minutes_since(start)
        return figures | {key: value for key, value in own.items() if key.startswith("f_al_score")}

    def _on_run(self, command: str, *options: str) -> None:
        # calibrate has no bar to switch off
        quiet: Sequence[str] = () if command == "calibrate" else ("--trainer.enable_progress_bar=false",)
        self.run([command, "--config", str(self.files.config), *quiet, *options], self.log)


def _tested(table: Path, numbers: Path) -> Figures:
    """The figures of a test: of its hypotheses from their table, of the point estimate from what it logged."""
    summary = Summary(load_run(table))
    # those with a star depend on the batches
    keys = [record.key for record in measures(Measure) if not record.key.endswith("_batched")]
    figures = {key: summary[key]["all"].value for key in keys if "all" in summary[key]}
    for key in BY_VISIBILITY:
        for split in ("visible", "occluded"):
            if split in summary[key]:
                figures[f"{key}/{split}"] = summary[key][split].value
    logged = read_json(numbers, "numbers of a test")
    points = {record.key: logged.get(f"test/{record.key}") for record in measures(PointMeasure)}
    return _rounded(figures | {key: value for key, value in points.items() if value is not None})


def _rounded(figures: Figures) -> Figures:
    """Without digits that mean nothing, and without what is no number."""
    return {key: float(f"{value:.{_DIGITS}g}") for key, value in figures.items() if np.isfinite(value)}


def _minutes_since(start: float) -> float:
    return round((time.monotonic() - start) / 60, 1)
