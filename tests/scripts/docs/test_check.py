import shutil
from pathlib import Path

import pytest

from scripts.docs.check import main, missing_files, remote_files

LOCAL = '<link rel="stylesheet" href="a.css"><script src="a.js"></script><a href="https://example.org">read</a>'


def test_a_page_that_loads_from_elsewhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(LOCAL + '<link rel="canonical" href="https://example.org/x">')
    assert not list(remote_files(tmp_path))
    (tmp_path / "bad.html").write_text('<img src="//example.org/a.png"><script src="https://cdn.example.org/a.js">')
    (tmp_path / "bad.css").write_text("@font-face {src: url('https://fonts.example.org/a.woff2')}")
    (tmp_path / "diagram.html").write_text('<pre class="mermaid">')
    assert [line.partition(":")[0] for line in remote_files(tmp_path)] == [
        "bad.html",
        "bad.html",
        "diagram.html",
        "bad.css",
    ]


def test_a_picture_and_a_page_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(
        '<img src="a%20b.png"><img src="gone.png"><a href="index.html#x"></a><a href="lost/page.html?q=1"></a>'
        '<a href="https://example.org/x"></a><a href="#here"></a><a name="x"></a>'
    )
    assert list(missing_files(tmp_path)) == [
        "index.html: gone.png is not there",
        "index.html: lost/page.html is not there",
    ]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_site_whose_search_finds_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("<p>no search here</p>")
    monkeypatch.setattr("sys.argv", ["check", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "does not find 'calibrate'" in capsys.readouterr().out
