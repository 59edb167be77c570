import pytest

from scripts.docs.links import ROOT, address, linked_sources, rebased, source_page


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("docs/how_to/demo.md", "../benchmarks.md", "benchmarks.md"),
        ("docs/tutorials/adding.md", "../../tests/adding/brick_data.py", "source/tests/adding/brick_data.py.md"),
        ("docs/index.md", "../CHANGELOG.md", "changes.md"),
        ("CHANGELOG.md", "docs/how_to/annotate.md", "how_to/annotate.md"),
        ("docs/index.md", "../no_such_file.py", None),
    ],
)
def test_links_lead_to_pages_of_the_site(page: str, link: str, expected: str | None) -> None:
    assert address(page, link) == expected


def test_a_page_that_is_moved_keeps_its_links() -> None:
    text = "[a](docs/how_to/demo.md#boxes), [b](https://example.org/x.md), [c](#here), [d](gone.md)"
    moved = rebased(text, "CHANGELOG.md", "reference/changes.md")
    assert moved == "[a](../how_to/demo.md#boxes), [b](https://example.org/x.md), [c](#here), [d](gone.md)"


def test_files_that_pages_link_to_are_shown_whole() -> None:
    assert linked_sources({"docs/x.md": "[a](../main.py) [b](../main.py) [c](index.md)"}) == ["main.py"]
    assert (ROOT / "main.py").read_text().rstrip() in source_page("main.py")
