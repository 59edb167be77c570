"""Reads pages as a browser shows them: with Python's parser, and with chromium where it is installed."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

#: What no reader should see: tags and entities as text, which means that something was escaped twice or not at all.
REMNANT = re.compile(
    r"</?(?:a|b|br|code|details|div|h\d|i|img|li|p|section|span|svg|table|td|th|tr|ul)\b[^>]*>|&#?\w+;"
)

_CHECK = """<script>
const images = [...document.images].map(image => image.complete ? image.naturalWidth : 0);
const loaded = performance.getEntriesByType("resource").map(entry => entry.name).filter(n => !n.startsWith("data:"));
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const words = [];
const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) if (walker.currentNode.parentNode.tagName != "STYLE") words.push(walker.currentNode.data);
const answer = document.createElement("pre");
answer.id = "answer";
answer.textContent = encodeURIComponent(JSON.stringify({images, loaded, wide, words: words.join(" ")}));
window.addEventListener("load", () => document.body.append(answer));
</script></body>"""


class Page(HTMLParser):
    """What a page shows and refers to; its elements must close.

    Args:
        text: The HTML document.
    """

    VOID = frozenset({"meta", "br", "line", "rect", "img", "polyline", "polygon", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str | None] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def shown(self) -> str:
        """The text that a reader sees, white space joined."""
        return " ".join(" ".join(self.words).split())


def check_page(text: str) -> Page:
    """Read a page that must stand alone, run no script and show no mark-up as text."""
    page = Page(text)
    assert "script" not in page.tags
    assert "url(" not in text
    assert "@import" not in text
    assert set(re.findall(r"https?://[^\"' <]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert all(reference is not None and reference.startswith("data:") for reference in page.references)
    assert REMNANT.findall(page.shown) == []
    assert "nan" not in page.shown.split()
    return page


@dataclass
class Browsed:
    """What chromium says about a page.

    Attributes:
        images: Width of each image, pixels; 0 where one could not be shown.
        loaded: Addresses that were asked for.
        wide: Pixels by which the page is wider than the window.
        words: Its text.
    """

    images: list[int]
    loaded: list[str]
    wide: int
    words: str


def browse(text: str, folder: Path) -> Browsed:
    """Open a page in chromium; skips the test where it is not installed.

    The window has to show something all the way down, in colour.
    """
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium): the page was not opened")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr --v=0 "
        f"--user-data-dir={folder / 'profile'} --window-size=1150,3000"
    )

    def run(page: Path, option: str) -> subprocess.CompletedProcess[str]:
        command = [binary, *flags.split(), option, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    page, screenshot = folder / "page.html", folder / "page.png"
    page.write_text(text)
    log = run(page, f"--screenshot={screenshot}").stderr
    assert not [line for line in log.splitlines() if "CONSOLE" in line]
    picture = cv2.imread(str(screenshot))
    assert picture is not None
    for part in np.array_split(picture, 3):
        assert part.std() > 5
        assert len(np.unique(part.reshape(-1, 3), axis=0)) > 50
    page.write_text(text.replace("</body>", _CHECK))
    found = re.search(r'<pre id="answer">(.*?)</pre>', run(page, "--dump-dom").stdout)
    assert found is not None
    browsed = Browsed(**json.loads(unquote(found.group(1))))
    assert REMNANT.findall(browsed.words) == []
    assert browsed.loaded == []
    assert browsed.wide <= 0
    return browsed
