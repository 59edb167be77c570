"""YAML that is small as a file and large in memory is refused at once."""

import time
from pathlib import Path

import pytest

from handlit.cli import main
from handlit.errors import InputError
from handlit.yaml_files import MAX_BYTES, load_yaml
from tests.test_cli import refused

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "aliases of aliases": (LAUGHS, "aliases written out"),
    "merged aliases": (LAUGHS.replace("[", "{<<: [").replace("]", "]}"), "is no YAML file"),
    "an alias of itself": ("a: &a [*a]", "holds itself"),
    "deep brackets": ("a: " + "[" * 100_000, "nest"),
    "deep dashes": ("- " * 100_000, "nested"),
    "many values": ("[" + "1," * 200_000 + "1]", "more than 100,000 values"),
    "many bytes": (f"a: {'x' * MAX_BYTES}", "too much"),
    "a long number": (f"a: {'9' * 5000}", "is no YAML file"),
    "a day that is none": ("a: 2026-99-99", "is no YAML file"),
    "code": ("a: !!python/object/apply:os.system [true]", "is no YAML file"),
    "a key that is a list": ("[1, 2]: 3\n? [4]\n: 5", "is no YAML file"),
    "a zero byte": ("a: \0", "is no YAML file"),
    "no end": ("a: [1", "is no YAML file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_fills_the_memory_is_refused(name: str, tmp_path: Path) -> None:
    text, message = HOSTILE[name]
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_yaml(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: &a {x: 1, y: [1, 2]}\nb: [*a, *a]\nc: {<<: *a, x: 2}\n", encoding="utf-8-sig")
    content = load_yaml(path)
    assert content["b"] == [content["a"]] * 2
    assert content["c"] == {"x": 2, "y": [1, 2]}
    with pytest.raises(InputError, match="cannot be read"):
        load_yaml(tmp_path)


@pytest.mark.parametrize("name", ["aliases of aliases", "an alias of itself", "deep dashes", "a long number"])
@pytest.mark.parametrize("command", [["fit", "--config"], ["predict", "--config"], ["sweep", "--local", "1"]])
def test_commands_refuse_it_in_one_line(
    name: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(HOSTILE[name][0])
    message = refused([*command, str(path)], capsys)
    assert message.startswith(f"error: {path} is no YAML file")
    assert message.count("\n") == 1


def test_files_within_files_are_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.yaml").write_text(LAUGHS)
    (tmp_path / "file.yaml").write_text("model: model.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(tmp_path / "file.yaml")])
    assert stop.value.code == 2
    assert "aliases written out" in capsys.readouterr().err
    (tmp_path / "file.yaml").write_text("[1, 2]")
    assert "holds no settings by name" in refused(["fit", "--config", str(tmp_path / "file.yaml")], capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("".join(f"k{i}: &a{i} 1\n" for i in range(40_000)), "names more than 1,000 values"),
        ("a: " + "1:" * 100_000 + "1\n", "a value without quotes has more than 10,000 characters"),
    ],
)
def test_what_takes_the_square_of_its_length_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(content)
    start = time.process_time()
    with pytest.raises(InputError, match=message):
        load_yaml(path)
    assert time.process_time() - start < 3
