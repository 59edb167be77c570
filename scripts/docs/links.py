"""Links of pages to files of the repository that lie outside of docs/: the site has a page for each of them."""

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
#: Pages at the top of the repository that the site shows, by their address in it.
TOP_PAGES = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".toml": "toml", ".cff": "yaml"}


def address(page: str, link: str) -> str | None:
    """Where a link leads within the site.

    Args:
        page: The page that holds it, relative to the repository: ``docs/how_to/demo.md``.
        link: Its path, relative to the page.

    Returns:
        Relative to docs/; None if it leads to nothing that is there.
    """
    target = os.path.normpath(PurePosixPath(page).parent / link)
    if target.startswith("docs/notebooks/") and target.endswith(".ipynb"):
        target = str(PurePosixPath(target).with_suffix(".md"))
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if target in TOP_PAGES:
        return TOP_PAGES[target]
    return f"source/{target}.md" if (ROOT / target).is_file() else None


def rebased(text: str, page: str, new: str) -> str:
    """The text of a page whose links hold at another place.

    Args:
        text: Markdown.
        page: Where it is written, relative to the repository.
        new: Where the site has it, relative to docs/.
    """

    def replace(match: re.Match[str]) -> str:
        where = address(page, match["path"])
        path = match["path"] if where is None else os.path.relpath(where, PurePosixPath(new).parent)
        return path + (match["anchor"] or "")

    return _LINK.sub(replace, text)


def linked_sources(pages: dict[str, str]) -> list[str]:
    """The files outside of docs/ that pages link to, relative to the repository.

    Args:
        pages: Texts by their place in the repository.
    """
    found = {address(page, match["path"]) for page, text in pages.items() for match in _LINK.finditer(text)}
    return sorted(name[len("source/") : -len(".md")] for name in found if name and name.startswith("source/"))


def source_page(path: str) -> str:
    """A page that shows a file, left out of the search.

    Args:
        path: Relative to the repository.
    """
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    language = _LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n````{language}\n{text}\n````\n"
