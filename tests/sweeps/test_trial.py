"""What a run has logged is read back."""

from pathlib import Path

from handlit.sweeps.trial import logged_values


def test_of_the_metrics_whole_lines_and_finite_values_count(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,a\n0,3.5\n1,\n2,nan\n3,inf\n4,-2\n5,7")
    assert logged_values(tmp_path, "a") == [3.5, -2]
    assert logged_values(tmp_path, "b") == []


def test_without_metrics_the_test_counts(tmp_path: Path) -> None:
    assert logged_values(tmp_path, "a") == []
    (tmp_path / "test.json").write_text('{"a": 2.5, "b": NaN}')
    assert logged_values(tmp_path, "a") == [2.5]
    assert logged_values(tmp_path, "b") == []
    (tmp_path / "metrics.csv").write_text("a\n1\n")
    assert logged_values(tmp_path, "a") == [1]
