"""Summaries of tables of hypothesis measures: exact means, splits, intervals, files, comparisons."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from handlit.metrics.measure import DrawnMeasure, Measure
from handlit.metrics.registry import measures
from handlit.scoring.hypotheses.run import HypothesisRun
from handlit.scoring.hypotheses.summary import Split, Summary, comparison_table, summary_table


def run(label: str = "a", images: int = 40, factor: float = 1.0, seed: int = 0) -> HypothesisRun:
    rng = np.random.default_rng(seed)
    records = measures(DrawnMeasure)
    joints, whole = ([record.key for record in records if record.of_joints == kind] for kind in (True, False))
    columns: dict[str, np.ndarray] = {key: rng.gamma(2.0, factor, (images, 21)).astype(np.float32) for key in joints}
    columns["rank"] = rng.uniform(size=(images, 21)).astype(np.float32)
    columns["rank"][:, 0] = np.nan
    columns |= {key: rng.gamma(2.0, factor, images).astype(np.float32) for key in whole}
    columns["index"] = np.arange(images)
    columns["visible"] = rng.integers(0, 2, (images, 21)).astype(np.int8)
    columns["visible"][0] = 1
    keys = np.array([f"SEQ{number % 8}/{number:04d}" for number in range(images)])
    return HypothesisRun(label, keys, columns, {"method": "toy", "num_hypotheses": 200})


def value(summary: Summary, key: str, split: Split = "all") -> float:
    return summary[key][split].value


def literal_mean(values: np.ndarray, mask: np.ndarray) -> float:
    """Mean over images of each image's mean over its joints of a mask."""
    means = []
    for row, keep in zip(values, mask, strict=True):
        chosen = [value for value, flag in zip(row, keep, strict=True) if flag and np.isfinite(value)]
        if chosen:
            means.append(sum(chosen) / len(chosen))
    return sum(means) / len(means)


def test_means_by_visibility_are_the_literal_ones() -> None:
    table = run()
    summary = Summary(table)
    visible = table.columns["visible"]
    joints = np.arange(21) > 0
    masks: dict[Any, np.ndarray] = {
        "all": visible >= 0,
        "visible": (visible == 1) & joints,
        "occluded": (visible == 0) & joints,
    }
    for name in ("error_mode_mm", "crps_mm", "spread_px"):
        for split, mask in masks.items():
            expected = literal_mean(table.columns[name], mask)
            estimate = summary[name][split]
            assert estimate.value == pytest.approx(expected, rel=1e-6)
            interval = estimate.interval
            assert interval is not None
            assert interval.low < expected < interval.high
    ranks = table.columns["rank"]
    inside = np.where(np.isfinite(ranks), ranks <= 0.9, np.nan)
    assert value(summary, "coverage_90") == pytest.approx(literal_mean(inside, masks["all"]))
    column = table.columns["mpjpe_best_of_50_mm"]
    assert set(summary["mpjpe_best_of_50_mm"]) == {"all"}
    assert value(summary, "mpjpe_best_of_50_mm") == pytest.approx(column.mean(), rel=1e-6)
    ratio = table.columns["published_pjd_2d_visible_px"].mean() / table.columns["published_pjd_3d_occluded_mm"].mean()
    assert value(summary, "published_rd") == pytest.approx(ratio, rel=1e-6)


def test_published_numbers_are_also_averaged_as_published() -> None:
    """Batches weigh the same whatever their size; images without a value and batches of exactly 0 do not count."""
    table = run(images=200)
    names = ("mpjpe_best_mm", "ah_px", "pjd_2d_visible_px", "pjd_3d_occluded_mm")
    table.columns["published_pjd_3d_occluded_mm"][5:30] = np.nan
    table.columns["published_ah_px"][64:128] = 0
    summary = Summary(table)
    expected = {}
    for name in names:
        batches = [table.columns[f"published_{name}"][first : first + 64] for first in (0, 64, 128, 192)]
        means = [float(np.nanmean(batch.astype(np.float64))) for batch in batches]
        expected[name] = sum(means) / np.count_nonzero(means)
        assert value(summary, f"published_{name}_batched") == pytest.approx(expected[name], rel=1e-6)
        exact = np.nanmean(table.columns[f"published_{name}"].astype(np.float64))
        assert value(summary, f"published_{name}") == pytest.approx(exact, rel=1e-6)
        assert value(summary, f"published_{name}") != value(summary, f"published_{name}_batched")
    ratio = expected["pjd_2d_visible_px"] / expected["pjd_3d_occluded_mm"]
    assert value(summary, "published_rd_batched") == pytest.approx(ratio, rel=1e-6)


def test_uniform_ranks_are_calibrated_and_others_are_not() -> None:
    table = run(images=400)
    assert value(Summary(table), "calibration_error") < 0.01
    surprised = replace(table, columns={**table.columns, "rank": np.sqrt(table.columns["rank"])})
    assert value(Summary(surprised), "calibration_error") > 0.1


def test_what_is_not_known_has_no_number() -> None:
    table = run()
    unknown = replace(table, columns={**table.columns, "visible": np.full((40, 21), -1, np.int8)})
    summary = Summary(unknown)
    assert set(summary["crps_mm"]) == {"all"}
    few = {name: values for name, values in table.columns.items() if "of_200" not in name}
    few |= {name: np.full(40, np.nan) for name in table.columns if "of_200" in name}
    assert not any("of_200" in key for key in Summary(replace(table, columns=few)).estimates)


def test_by_joint_means_leave_out_what_is_missing() -> None:
    table = run()
    table.columns["crps_mm"][:30, 5] = np.nan
    assert Summary(table).by_joint("crps_mm")[5] == pytest.approx(table.columns["crps_mm"][30:, 5].mean(), rel=1e-6)
    assert np.isnan(Summary(table).by_joint("rank")[0])


def test_differences_are_paired() -> None:
    """A constant step between two runs is certain, however uncertain each run's own mean is."""
    first = run()
    columns = {**first.columns, "error_mode_mm": first.columns["error_mode_mm"] + 0.5}
    one, two = Summary(first), Summary(replace(first, label="b", columns=columns))
    interval = two["error_mode_mm"]["all"].minus(one["error_mode_mm"]["all"]).interval
    assert interval is not None
    assert interval.low == pytest.approx(0.5, abs=1e-5)
    assert interval.high == pytest.approx(0.5, abs=1e-5)
    own = one["error_mode_mm"]["all"].interval
    assert own is not None
    assert own.high - own.low > 0.05


def test_tables_show_every_measure_once_and_its_splits() -> None:
    summary = Summary(run())
    shown = [measure for measure in measures(Measure) if measure.key in summary.estimates]
    table = summary_table(summary)
    assert [row.measure for row in table.rows] == shown
    assert table.heads == ("all", "visible", "occluded")
    assert table.rows[0].value(1) == f"{value(summary, 'error_mode_mm', 'visible'):.2f}"
    compared = comparison_table([summary, Summary(run("b", factor=2.0))])
    assert [row.group for row in compared.rows if row.measure.key == "crps_mm"] == ["all", "visible", "occluded"]
    assert compared.measures == shown
    assert not any(row.cells[0].differs for row in compared.rows)
    assert all(row.cells[1].differs for row in compared.rows if row.measure.key == "crps_mm")


def test_older_tables_lack_the_newest_columns() -> None:
    table = run()
    older = {name: values for name, values in table.columns.items() if name not in ("rank", "energy_mm")}
    keys = Summary(replace(table, columns=older)).estimates.keys()
    assert "crps_mm" in keys
    assert not keys & {"energy_mm", "coverage_50", "calibration_error"}
