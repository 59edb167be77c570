from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from handlit.demo.given_boxes import find_given, read_boxes
from handlit.errors import InputError
from tests.reconstruct.fakes import FakeDetector, detected_hand, picture

BOX = [60.0, 50, 180, 130]


def test_boxes_are_read_and_the_given_side_wins(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_bytes(orjson.dumps({"a.jpg": [{"box": BOX, "hand": "left"}, {"box": BOX}], "b.jpg": []}))
    given = read_boxes(path)
    assert [hand.right for hand in given["a.jpg"]] == [False, None]
    assert given["b.jpg"] == []
    found = find_given(FakeDetector(detected_hand()), picture(), given["a.jpg"])
    assert [hand.right for hand in found] == [False, True]
    assert [hand.box.tolist() for hand in found] == [BOX, BOX]
    assert find_given(FakeDetector(detected_hand()), picture(), []) == []
    with pytest.raises(InputError, match="outside the 240x180 image"):
        find_given(FakeDetector(), picture(), [replace(given["a.jpg"][0], box=np.array([300.0, 0, 400, 100]))])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "must map names of images"),
        ({"a.jpg": {}}, "must map names of images"),
        ({"a.jpg": [{"box": [1, 2, 3]}]}, r"a\.jpg, hand 0: 'box' must be"),
        ({"a.jpg": [{"box": "no"}]}, "'box' must be"),
        ({"a.jpg": [5]}, "'box' must be"),
        ({"a.jpg": [{"box": [5, 5, 1, 1]}]}, "'box' must be"),
        ({"a.jpg": [{"box": BOX, "hand": "both"}]}, "'hand' must be"),
    ],
)
def test_what_is_no_list_of_boxes_is_one_line(tmp_path: Path, content: object, words: str) -> None:
    (tmp_path / "boxes.json").write_bytes(orjson.dumps(content))
    with pytest.raises(InputError, match=words):
        read_boxes(tmp_path / "boxes.json")
