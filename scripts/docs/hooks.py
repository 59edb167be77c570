"""What MkDocs calls while it builds the site (mkdocs.yml names this file): adds the pages that are made of the code."""

import posixpath
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

# MkDocs loads this file by its path
sys.path.insert(0, str(Path(__file__).parents[2]))
from scripts.docs.api import api_pages
from scripts.docs.commands import command_pages
from scripts.docs.configurations import configurations_page
from scripts.docs.links import ROOT, TOP_PAGES, linked_sources, rebased, source_page
from scripts.docs.measures import measures_page
from scripts.docs.notebook_pages import notebook_page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the generated pages behind the sections "Commands" and "Python API"."""
    generated = {"Commands": command_pages(), "Python API": api_pages()}
    for section in _sections(config.nav):
        for title, children in section.items():
            if title in generated and isinstance(children, list):
                children += [page for page in generated[title] if page not in children]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code, those at the top of the repository, and the files that pages link to."""
    written = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    written |= {name: (ROOT / name).read_text(encoding="utf-8") for name in TOP_PAGES if (ROOT / name).is_file()}
    generated = {**command_pages(), **api_pages()}
    generated["reference/configurations.md"] = configurations_page()
    generated["reference/measures.md"] = measures_page()
    for name, place in TOP_PAGES.items():
        if name in written:
            generated[place] = rebased(written[name], name, place)
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text, images = notebook_page(notebook)
        generated[f"notebooks/{notebook.stem}.md"] = text
        for name, content in images.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for path, text in generated.items():
        files.append(File.generated(config, path, content=text))
    for source in linked_sources(written):
        file = File.generated(
            config, f"source/{source}.md", content=source_page(source), inclusion=InclusionLevel.NOT_IN_NAV
        )
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to files of the repository to their pages in the site."""
    if page.file.generated_by:
        return markdown
    return rebased(markdown, posixpath.join("docs", page.file.src_uri), page.file.src_uri)


def _sections(nav: Any) -> list[dict[str, Any]]:
    """Every titled entry of the navigation, at any depth."""
    if not isinstance(nav, list):
        return []
    found = [entry for entry in nav if isinstance(entry, dict)]
    return found + [deep for entry in found for children in entry.values() for deep in _sections(children)]
