from pathlib import Path

import pytest

from handlit.errors import InputError
from handlit.formats.media import find_media


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/er/c.mov", "._a.PNG", "out/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_folders_are_searched_and_the_output_is_left_out(folder: Path) -> None:
    found = find_media([folder], leave_out=folder / "out")
    assert [(media.name, media.kind) for media in found] == [
        ("a.PNG", "image"),
        ("b.jpg", "image"),
        ("deep/er/c.mov", "video"),
    ]
    assert [media.path for media in found] == [folder / media.name for media in found]


def test_inputs_keep_their_order_and_come_once(folder: Path) -> None:
    found = find_media([folder / "b.jpg", "webcam:2", folder / "a.PNG", folder / "b.jpg"])
    assert [media.name for media in found] == ["b.jpg", "webcam:2", "a.PNG"]
    assert found[1].kind == "webcam"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("notes.txt", "neither an image nor a video"),
        ("none.jpg", "is not there"),
        ("webcam:x", "names no webcam"),
    ],
)
def test_what_is_no_input_is_refused_by_name(folder: Path, given: str, words: str) -> None:
    name = given if given.startswith("webcam") else str(folder / given)
    with pytest.raises((InputError, FileNotFoundError), match=words) as refused:
        find_media([name])
    assert name in str(refused.value)


def test_a_folder_without_media_and_two_files_of_one_name_are_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no images and no videos"):
        find_media([folder / "empty"])
    (folder / "deep/b.jpg").touch()
    with pytest.raises(InputError, match=r"both be called b\.jpg"):
        find_media([folder / "b.jpg", folder / "deep" / "b.jpg"])
