"""The log of a resumed run."""

from pathlib import Path

from handlit.callbacks import ResumableCSVLogger


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
