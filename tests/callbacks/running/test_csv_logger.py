"""The log of a resumed run."""

import csv
from pathlib import Path

import pytest

from handlit.callbacks import ResumableCSVLogger
from handlit.errors import InputError


def test_a_log_is_cut_back_and_continued(tmp_path: Path) -> None:
    first = ResumableCSVLogger(str(tmp_path))
    for step in range(4):
        first.log_metrics({"loss": 0.1 * step}, step)
        first.log_metrics({"val": step}, step)
    first.save()
    whole = (tmp_path / "metrics.csv").read_text()

    again = ResumableCSVLogger(str(tmp_path))
    again.save()
    assert (tmp_path / "metrics.csv").read_text() == whole
    again.rewind(2)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == whole.splitlines()[:5]
    for step in (2, 3):
        again.log_metrics({"loss": 0.1 * step}, step)
        again.log_metrics({"val": step}, step)
    again.save()
    assert (tmp_path / "metrics.csv").read_text() == whole

    anew = ResumableCSVLogger(str(tmp_path))
    anew.rewind(0)
    assert not (tmp_path / "metrics.csv").exists()


def test_a_new_column_never_costs_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = ResumableCSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 1.0}, 0)
    logger.save()
    before = (tmp_path / "metrics.csv").read_text()

    def power_cut(*_: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(csv.DictWriter, "writerows", power_cut)
        logger.log_metrics({"val": 2.0}, 1)
        with pytest.raises(OSError, match="gone"):
            logger.save()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert (tmp_path / "metrics.csv").read_text() == before
    logger.save()
    assert (tmp_path / "metrics.csv").read_text() == "loss,step,val\n1.0,0,\n,1,2.0\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"step,loss\n0,1\n\xff\n", "is damaged"),
        ("step,loss\n0,1\n".encode("utf-16"), "is damaged"),
        (b"step,loss\n0," + b"9" * 200_000 + b"\n", "is damaged .*field larger"),
        (b"loss\n1\n", "has no column 'step'"),
    ],
)
def test_a_damaged_log_is_named_and_kept(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"metrics\.csv {message}.*move it away"):
        ResumableCSVLogger(str(tmp_path)).rewind(5)
    assert path.read_bytes() == content


def test_odd_lines_of_a_log_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n0,1\n1\n2,3,4,5\n\u00b2,1\nx,1\n9,1\n", encoding="utf-8")
    ResumableCSVLogger(str(tmp_path)).rewind(5)
    assert path.read_text() == "step,loss\n0,1\n1,\n2,3\n"
