"""Photographs of digits become labels of fingers, and runs are tested on them; the commands are played."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from handlit.errors import InputError
from handlit.formats.folder import read_folder
from handlit.metrics.finger_measures import FINGER_MEASURES
from scripts.real_people import add_fingers, fingers_of, main, name_of

HAND = {"hand": "right", "box": [10, 10, 50, 50], "split": "test"}


def photographs(folder: Path, *names: str) -> None:
    """What `annotate` would have written."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((60, 60, 3), np.uint8))
    (folder / "annotations.json").write_text(json.dumps({name: [HAND] for name in names}))


def test_a_digit_says_which_fingers_are_stretched_and_which_touches_the_thumb() -> None:
    assert fingers_of(1) == [None, "stretched", "bent", "bent", "bent"]
    assert fingers_of(8) == [None, "stretched", "touching", "stretched", "stretched"]


def test_hands_get_the_fingers_of_their_folder(tmp_path: Path) -> None:
    photographs(tmp_path, "images/1/person000_1.jpg", "images/8/person000_2.jpg")
    add_fingers(tmp_path / "annotations.json")
    columns = read_folder(tmp_path, 60.0)
    assert columns["fingers"].tolist() == [[-1, 1, 0, 0, 0], [-1, 1, 2, 1, 1]]
    photographs(tmp_path, "images/ten/person000_1.jpg")
    with pytest.raises(InputError, match="no folder DIGIT"):
        add_fingers(tmp_path / "annotations.json")


def test_every_run_is_tested_on_the_photographs_with_its_own_crops(tmp_path: Path) -> None:
    commands: list[Sequence[str]] = []
    values = {"amvur": 0.25, "other": 0.75}

    def run(words: Sequence[str], log: Path) -> None:
        commands.append(words)
        out = Path(words[words.index("--out") + 1] if words[0] == "annotate" else words[words.index("--run_dir") + 1])
        if words[0] == "annotate":
            photographs(out, "images/3/person001_1.jpg")
            return
        out.mkdir()
        of_run = values[name_of(Path(words[words.index("--config") + 1]).parent)]
        columns: dict[str, Any] = {measure.key: np.array([of_run, np.nan, of_run]) for measure in FINGER_MEASURES}
        np.savez(out / "hypotheses.npz", **columns)

    for name, size in (("amvur/seed0", 96), ("other", 128)):
        (tmp_path / name).mkdir(parents=True)
        config = {"data": {"init_args": {"image_size": size}}}
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
    figures = tmp_path / "figures.json"
    runs = [str(tmp_path / "amvur" / "seed0"), str(tmp_path / "other")]
    main(["photos", *runs, "--out", str(tmp_path / "out")], run, figures)
    annotate, *tests = commands
    assert annotate[:2] == ["annotate", "photos"]
    assert [words[words.index("--data.init_args.image_size") + 1] for words in tests] == ["96", "128"]
    assert {words[words.index("--data.init_args.root") + 1] for words in tests} == {str(tmp_path / "out/photographs")}
    found = json.loads(figures.read_text())
    assert found["amvur"] == {measure.key: 0.25 for measure in FINGER_MEASURES} | {"images": 3}
    assert found["other"]["finger_states"] == 0.75
    # another run is added, and the photographs are not annotated again
    main(["photos", runs[1], "--out", str(tmp_path / "again")], run, figures)
    commands.clear()
    main(["photos", runs[1], "--out", str(tmp_path / "again")], lambda words, log: commands.append(words), figures)
    assert [words[0] for words in commands] == ["test"]
    assert json.loads(figures.read_text()).keys() == {"amvur", "other"}
