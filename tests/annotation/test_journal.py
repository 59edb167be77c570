import json
from pathlib import Path

import pytest

from handlit.annotation.journal import JOURNAL, Journal
from handlit.errors import InputError

SETTINGS = {"every": 10, "files": ["a", "b"]}


def begun(out: Path) -> Journal:
    journal = Journal(out, SETTINGS)
    journal.add("images/a.jpg", [{"hand": "left"}])
    journal.finish("a.jpg", {"images": 1, "train": 1}, "")
    return journal


def test_it_becomes_the_list(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.finish("b.jpg", {"images": 0, "val": 0}, "no hand was found")
    journal.add("images/ü.jpg", [{"hand": "right"}, {"hand": "left"}])
    journal.finish("ü.jpg", {"images": 1, "val": 2}, "")
    path = journal.publish()
    assert [file.name for file in tmp_path.iterdir()] == ["annotations.json"]
    assert json.loads(path.read_text()) == {
        "images/a.jpg": [{"hand": "left"}],
        "images/ü.jpg": [{"hand": "right"}, {"hand": "left"}],
    }
    assert journal.counts == {"files": 3, "images": 2, "train": 1, "val": 2, "incomplete": 1}
    assert journal.left_out == "b.jpg: no hand was found"
    with pytest.raises(InputError, match=r"annotations\.json is there already"):
        Journal(tmp_path, SETTINGS)


@pytest.mark.parametrize("left", ["", '{"image": "images/b/0.jpg", "hands": []}\n', '{"image": "im'])
def test_what_an_interruption_left_of_a_file_is_taken_off(tmp_path: Path, left: str) -> None:
    begun(tmp_path).close()
    whole = (tmp_path / JOURNAL).read_text()
    with (tmp_path / JOURNAL).open("a") as file:
        file.write(left)
    journal = Journal(tmp_path, SETTINGS)
    assert journal.done == {"a.jpg"}
    assert journal.counts["images"] == 1
    journal.add("images/b/0.jpg", [])
    journal.close()
    assert (tmp_path / JOURNAL).read_text() == whole + '{"image": "images/b/0.jpg", "hands": []}\n'


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    begun(tmp_path).close()
    with pytest.raises(InputError, match="other inputs or settings"):
        Journal(tmp_path, {**SETTINGS, "every": 3})
    assert Journal(tmp_path, SETTINGS).done == {"a.jpg"}


def test_without_any_hand_nothing_is_left(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new", SETTINGS)
    journal.finish("a.jpg", {"images": 0}, "no hand was found")
    with pytest.raises(InputError, match=r"no hand was found in 1 files; a\.jpg: no hand"):
        journal.publish()
    assert not list((tmp_path / "new").iterdir())
