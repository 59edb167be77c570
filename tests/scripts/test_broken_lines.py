"""Lines are broken in code alone, each break is one edit, and the sample is spread over the package."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from scripts.broken_lines import __main__ as command
from scripts.broken_lines.breaks import find_breaks
from scripts.broken_lines.sample import draw_sample, mirrored_tests, shares

ROOT = Path(__file__).parents[2]


def broken(line: str) -> set[str]:
    """Every form that a line is broken into."""
    return {found.apply(line) for found in find_breaks(line)}


@pytest.mark.parametrize(
    ("line", "forms"),
    [
        ("x = a < b", {"x = a <= b"}),
        ("x = (a) >= (b)", {"x = (a) > (b)"}),
        ("x = a + é - b", {"x = a - é - b", "x = a + é + b", "x = a + é", "x = a - b"}),
        ("x = -a * 2", {"x = a * 2", "x = -a / 2", "x = -a * 3"}),
        ("x = a and not b", {"x = a or not b", "x = a", "x = a and b"}),
        ("x = 0.5, True", {"x = 0.75, True", "x = 0.5, False"}),
        (
            "x = a if b is None else c",
            {
                "x = a if not (b is None) else c",
                "x = a if False else c",
                "x = a if b is not None else c",
            },
        ),
        ("x += f(y)", {"pass"}),
    ],
)
def test_code_is_broken(line: str, forms: set[str]) -> None:
    assert broken(line) == forms


@pytest.mark.parametrize(
    "line",
    [
        '"""Docstring 3."""',
        "raise InputError(f'{a + 1} < 2')",
        "assert a < 3",
        "print(a + 1)",
        "log.warning('%d', a + 1)",
        "def f(a: Literal[1, 2]) -> tuple[3, 4]: ...",
        "Layout = Literal[1, 2]",
        "from a import b",
        "x = f'{a + 1}'",
        "x = g(y, indent=2)",
    ],
)
def test_what_is_for_people_or_the_type_checker_stays(line: str) -> None:
    assert not broken(line)


def test_each_break_is_in_one_line() -> None:
    source = "def f(x):\n    if x < 3:\n        return 1\n    return x + 2\n"
    for found in find_breaks(source):
        lines = zip(source.splitlines(), found.apply(source).splitlines(), strict=True)
        assert [number for number, (old, new) in enumerate(lines, start=1) if old != new] == [found.line]


def test_the_sample_is_seeded_and_spread_by_lines(tmp_path: Path) -> None:
    for room, lines in (("large", 90), ("small", 30)):
        (tmp_path / "handlit" / room).mkdir(parents=True)
        (tmp_path / "handlit" / room / "module.py").write_text("x = a < b\n" * lines)
    sample = draw_sample(tmp_path, 3, 8)
    assert sample == draw_sample(tmp_path, 3, 8)
    assert sample != draw_sample(tmp_path, 4, 8)
    assert len({(line.path, line.found.line) for line in sample}) == 8
    assert Counter(line.path.parts[1] for line in sample) == {"large": 6, "small": 2}


def test_every_break_of_a_module_is_python() -> None:
    source = (ROOT / "handlit" / "geometry" / "alignment.py").read_text()
    breaks = find_breaks(source)
    assert len(breaks) > 30
    for found in breaks:
        compile(found.apply(source), "alignment.py", "exec")


def test_shares_are_in_proportion_and_sum_up() -> None:
    assert shares({"a": 50, "b": 30, "c": 20}, 10) == {"a": 5, "b": 3, "c": 2}
    assert shares({"a": 2, "b": 1}, 4) == {"a": 3, "b": 1}


def test_the_tests_of_a_module_are_its_own_or_those_of_its_room() -> None:
    assert mirrored_tests(Path("handlit/geometry/crops.py"), ROOT) == ("tests/geometry/test_crops.py",)
    assert mirrored_tests(Path("handlit/geometry/__init__.py"), ROOT) == ("tests/geometry",)


def test_lines_are_tried_and_survivors_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a small tree with one tested and one untested line; the second run tries nothing again."""
    root = tmp_path / "root"
    (root / "handlit").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "handlit" / "__init__.py").write_text("")
    (root / "handlit" / "sums.py").write_text("def add(a, b):\n    return a + b\n\n\ndef limit(a):\n    return a < 3\n")
    (root / "tests" / "test_sums.py").write_text(
        "from handlit.sums import add, limit\n\n\ndef test_add():\n    assert add(1, 2) == 3\n    assert limit(1)\n"
    )
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    monkeypatch.setattr(command, "ROOT", root)
    monkeypatch.setattr(command, "copy_tree", lambda to: Path(shutil.copytree(root, to)))
    words = ["--count", "2", "--seed", "1", "--out", str(tmp_path / "out")]
    command.main(words)
    printed = capsys.readouterr().out
    assert "caught         handlit/sums.py:2" in printed
    assert "survived       handlit/sums.py:6" in printed
    assert "\n-    return a < 3\n" in printed
    assert "1 of 2 broken lines are caught (seed 1)" in (tmp_path / "out" / "broken_lines.md").read_text()
    monkeypatch.setattr(command, "first_failure", None)
    command.main(words)
    assert "0 of them still to be tried" in capsys.readouterr().out
