"""Messages name the program that was called."""

import pytest

from handlit.program import program


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("main.py", "python main.py"),
        ("/a/checkout/main.py", "python main.py"),
        ("/usr/bin/handlit", "handlit"),
        ("/site-packages/handlit/__main__.py", "python -m handlit"),
        ("/site-packages/pytest/__main__.py", "handlit"),
        ("", "handlit"),
    ],
)
def test_the_program_is_named_as_it_was_called(called: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [called, "score"])
    assert program() == name
