"""What a run has logged is read back."""

from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nlow\n\xff\xfe\n7\n", [7]),
        (b"a,b\n1\n2,3,4\n", [1, 2]),
        (b"a\n" + b"9" * 400 + b"\n5\n", [5]),
        (b"a\n" + b"x" * 200_000 + b"\n", []),
        (b"\0\0\0\n", []),
        (b"", []),
    ],
)
def test_damaged_metrics_are_left_out(content: bytes, expected: list[float], tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    assert logged_values(tmp_path, "a") == expected


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"a": "low"}', b'{"a": [1]}', b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 400 + b"}"]
)
def test_a_damaged_test_gives_no_value(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_bytes(content)
    assert logged_values(tmp_path, "a") == []
