"""What the built site must hold to, opened as files without a network: ``python -m scripts.docs.check site``.

Every file that a page shows or links to is there. No page asks the network for anything (links that a reader follows
may lead there), and the search finds a word in a browser, where Chromium is at hand.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from typing_extensions import override

#: What loads by itself: element, and the attributes that name a file.
_LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "link": ("href",),
}
#: Links of pages to each other that load nothing.
_QUIET = {"canonical", "prev", "next", "alternate"}
_REMOTE = re.compile(r"(?:https?:)?//")
_ELSEWHERE = re.compile(r"[a-z]+:|//|#|$")
_IN_STYLES = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")
#: A word that stands in many pages.
_WORD = "calibrate"
_CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
)


class _Loads(HTMLParser):
    """Collects what a page loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []
        self.local: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and set((given.get("rel") or "").split()) & _QUIET:
            return
        for name in _LOADING.get(tag, ()):
            if _REMOTE.match(given.get(name) or ""):
                self.remote.append(f"<{tag} {name}={given[name]}>")
        link = (given.get("href") if tag == "a" else given.get("src")) or ""
        if not _ELSEWHERE.match(link):
            self.local.append(unquote(link.partition("#")[0].partition("?")[0]))


def missing_files(site: Path) -> Iterator[str]:
    """What pages show or link to and is not there, each with the page."""
    for path in sorted(site.rglob("*.html")):
        page = _Loads()
        page.feed(path.read_text(encoding="utf-8"))
        # the page of an error has addresses from the site's root
        for link in sorted(set(page.local)) if path.name != "404.html" else ():
            if not (path.parent / link).exists():
                yield f"{path.relative_to(site)}: {link} is not there"


def remote_files(site: Path) -> Iterator[str]:
    """What pages and style sheets load from other hosts, each with the file that asks for it."""
    for path in sorted(site.rglob("*.html")):
        page = _Loads()
        text = path.read_text(encoding="utf-8")
        page.feed(text)
        if 'class="mermaid"' in text:
            page.remote.append("a mermaid diagram, whose script is not on this disk")
        yield from (f"{path.relative_to(site)}: {what}" for what in page.remote)
    for path in sorted(site.rglob("*.css")):
        found = _IN_STYLES.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: {what}" for what in found)


def search_results(site: Path, word: str, browser: str) -> int:
    """How many pages the site's search finds, in a browser that opens it as a file.

    Args:
        site: The built site.
        word: What is searched.
        browser: Chromium's program.
    """
    address = f"{(site / 'index.html').resolve().as_uri()}?q={word}"
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *_CHROMIUM, f"--user-data-dir={profile}", "--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.count("md-search-result__item")


def main() -> None:
    """Check a built site; exit code 1 if something is wrong with it."""
    site = Path(sys.argv[1])
    wrong = [*missing_files(site), *remote_files(site)]
    browser = shutil.which("chromium")
    if browser is None:
        print("the search was not tried: there is no chromium")
    elif not search_results(site, _WORD, browser):
        wrong.append(f"the search does not find '{_WORD}' in a site that is opened as files")
    print("\n".join(wrong) or f"{site / 'index.html'}: every file is there, and nothing is asked of the network")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
