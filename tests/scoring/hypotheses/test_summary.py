"""Summaries of tables of hypothesis measures: exact means, splits, intervals, files, comparisons."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.metrics.hypotheses import JOINT_COLUMNS, image_columns
from handlit.scoring.hypotheses.summary import (
    HypothesisRun,
    Summary,
    check_same_images,
    load_run,
    paired_interval,
    save_run,
)


def run(label: str = "a", images: int = 40, factor: float = 1.0, seed: int = 0) -> HypothesisRun:
    rng = np.random.default_rng(seed)
    columns = {name: rng.gamma(2.0, factor, (images, 21)).astype(np.float32) for name in JOINT_COLUMNS}
    columns["rank"] = rng.uniform(size=(images, 21)).astype(np.float32)
    columns["rank"][:, 0] = np.nan
    columns |= {name: rng.gamma(2.0, factor, images).astype(np.float32) for name in image_columns()}
    columns["index"] = np.arange(images)
    columns["visible"] = rng.integers(0, 2, (images, 21)).astype(np.int8)
    columns["visible"][0] = 1
    keys = np.array([f"SEQ{number % 8}/{number:04d}" for number in range(images)])
    return HypothesisRun(label, keys, columns, {"method": "toy", "num_hypotheses": 200})


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
    masks = {"all": visible >= 0, "visible": (visible == 1) & joints, "occluded": (visible == 0) & joints}
    for name in ("error_mode_mm", "crps_mm", "spread_px"):
        for split, mask in masks.items():
            expected = literal_mean(table.columns[name], mask)
            assert summary[name].values[split] == pytest.approx(expected, rel=1e-6)
            interval = summary[name].intervals[split]
            assert interval.low < expected < interval.high
    ranks = table.columns["rank"]
    inside = np.where(np.isfinite(ranks), ranks <= 0.9, np.nan)
    assert summary["coverage_90"].values["all"] == pytest.approx(literal_mean(inside, masks["all"]))
    assert summary["coverage_90"].target == 0.9
    column = table.columns["mpjpe_best_of_50_mm"]
    assert summary["mpjpe_best_of_50_mm"].values == {"all": pytest.approx(column.mean(), rel=1e-6)}
    ratio = table.columns["published_pjd_2d_visible_px"].mean() / table.columns["published_pjd_3d_occluded_mm"].mean()
    assert summary["published_rd"].values["all"] == pytest.approx(ratio, rel=1e-6)


def test_published_numbers_are_also_averaged_as_published() -> None:
    """Batches weigh the same whatever their size; images without a value and batches of exactly 0 do not count."""
    table = run(images=200)
    names = ("mpjpe_best_mm", "ah_px", "pjd_2d_visible_px", "pjd_3d_occluded_mm")
    table.columns["published_pjd_3d_occluded_mm"][5:30] = np.nan  # type: ignore[index]
    table.columns["published_ah_px"][64:128] = 0  # type: ignore[index]
    summary = Summary(table)
    expected = {}
    for name in names:
        batches = [table.columns[f"published_{name}"][first : first + 64] for first in (0, 64, 128, 192)]
        means = [float(np.nanmean(batch.astype(np.float64))) for batch in batches]
        expected[name] = sum(means) / np.count_nonzero(means)
        assert summary[f"published_{name}_batched"].values["all"] == pytest.approx(expected[name], rel=1e-6)
        exact = np.nanmean(table.columns[f"published_{name}"].astype(np.float64))
        assert summary[f"published_{name}"].values["all"] == pytest.approx(exact, rel=1e-6)
        assert summary[f"published_{name}"].values != summary[f"published_{name}_batched"].values
    ratio = expected["pjd_2d_visible_px"] / expected["pjd_3d_occluded_mm"]
    assert summary["published_rd_batched"].values["all"] == pytest.approx(ratio, rel=1e-6)


def test_uniform_ranks_are_calibrated_and_others_are_not() -> None:
    table = run(images=400)
    assert Summary(table)["calibration_error"].values["all"] < 0.01
    surprised = replace(table, columns={**table.columns, "rank": np.sqrt(table.columns["rank"])})
    assert Summary(surprised)["calibration_error"].values["all"] > 0.1


def test_what_is_not_known_has_no_number() -> None:
    table = run()
    unknown = replace(table, columns={**table.columns, "visible": np.full((40, 21), -1, np.int8)})
    summary = Summary(unknown)
    assert set(summary["crps_mm"].values) == {"all"}
    few = {name: values for name, values in table.columns.items() if "of_200" not in name}
    few |= {name: np.full(40, np.nan) for name in table.columns if "of_200" in name}
    assert not any("of_200" in measure.name for measure in Summary(replace(table, columns=few)).measures)


def test_by_joint_means_leave_out_what_is_missing() -> None:
    table = run()
    by_joint = Summary(table).by_joint("crps_mm", "occluded")
    hidden = table.columns["visible"][:, 5] == 0
    assert by_joint[5] == pytest.approx(table.columns["crps_mm"][hidden, 5].mean(), rel=1e-6)
    assert np.isnan(by_joint[0])


def test_differences_are_paired() -> None:
    """A constant step between two runs is certain, however uncertain each run's own mean is."""
    first = run()
    columns = {**first.columns, "error_mode_mm": first.columns["error_mode_mm"] + 0.5}
    one, two = Summary(first), Summary(replace(first, label="b", columns=columns))
    interval = paired_interval(one["error_mode_mm"], two["error_mode_mm"], "all", 8)
    assert interval is not None
    assert interval.low == pytest.approx(0.5, abs=1e-5)
    assert interval.high == pytest.approx(0.5, abs=1e-5)
    own = one["error_mode_mm"].intervals["all"]
    assert own.high - own.low > 0.05


def test_files_hold_the_whole_table(tmp_path: Path) -> None:
    table = run("method a")
    save_run(tmp_path / "hypotheses.npz", table)
    assert [path.name for path in tmp_path.iterdir()] == ["hypotheses.npz"]
    again = load_run(tmp_path)
    assert again.label == "method a"
    assert again.settings == table.settings
    assert again.keys.tolist() == table.keys.tolist()
    for name, values in table.columns.items():
        np.testing.assert_array_equal(again.columns[name], values)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"hypotheses\.npz is missing"):
        load_run(tmp_path)
    (tmp_path / "hypotheses.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="is not a table"):
        load_run(tmp_path)


def test_runs_on_different_images_are_not_compared() -> None:
    first, second = run("a"), run("b", images=39)
    with pytest.raises(InputError, match=r"a \(40 images\) and b \(39 images\)"):
        check_same_images([first, second])
    check_same_images([first, run("b", seed=1)])
