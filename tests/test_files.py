"""Files are whole or not there, whatever happens while they are written."""

import errno
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from handlit.files import check_writable, file_stem, open_regular, sha256, whole, write_bytes, write_text


def test_a_file_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "numbers.json"
    write_text(path, "1\n")
    write_bytes(path, b"2\n")
    assert path.read_bytes() == b"2\n"
    assert os.listdir(path.parent) == ["numbers.json"]


def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_text(path, "1")
    with pytest.raises(RuntimeError, match="disk"):
        break_down_while_writing(path)
    assert path.read_text() == "1"
    assert os.listdir(tmp_path) == ["numbers.json"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_is_an_error_of_the_file_and_leaves_nothing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync" if where == "fsync" else "pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_text(tmp_path / "numbers.json", "1")
    assert caught.value.filename == str(tmp_path / "numbers.json")
    assert not os.listdir(tmp_path)


def break_down_while_writing(path: Path) -> None:
    with whole(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".json"
        assert path.read_text() == "1"
        raise RuntimeError("disk")


def test_two_writers_of_one_path_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    other = f"from pathlib import Path; from handlit.files import write_text; write_text(Path({str(path)!r}), 'theirs')"
    with whole(path) as temporary:
        temporary.write_text("ours")
        subprocess.run([sys.executable, "-c", other], check=True)
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours"


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "numbers[1].json"
    script = (
        "import os, signal; from pathlib import Path; from handlit.files import whole\n"
        f"with whole(Path({str(path)!r})) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    assert not path.exists()
    write_text(path, "1")
    assert os.listdir(tmp_path) == [path.name]


def test_files_that_need_not_be_durable_are_whole_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sync(_: int) -> None:
        raise AssertionError("waited for the disk")

    monkeypatch.setattr(os, "fsync", no_sync)
    path = tmp_path / "image.jpg"
    write_bytes(path, b"first", durable=False)
    write_bytes(path, b"second", durable=False)
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["image.jpg"]


def test_the_checksum_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    write_bytes(tmp_path / "file", content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_every_key_has_files_of_its_own() -> None:
    """Folders, case, other scripts, characters that file systems refuse, long keys, several hands of an image."""
    pictures = ["a.jpg", "A.jpg", "a_b.jpg", "a/b.jpg", "A/B.jpg", "a/./b.jpg", "../a.jpg", "手.jpg", "指.jpg", "ä.jpg"]
    pictures += [
        "con",
        "a:b?.jpg",
        "a*b<.jpg",
        "a b.jpg",
        "\udcff.jpg",
        "",
        "..",
        "x" * 300,
        "x" * 299 + "y",
        "a.jpg_0",
    ]
    keys = [f"{picture}#{hand}" for picture in pictures for hand in (0, 1, 10)]
    keys += [*pictures, "a.jpg/0", "a.jpg#00", "ABF10/0000", "abf10/0000", "ABF1/00000", "00000012"]
    # no name can be made to look like that of another key
    keys += [f"{file_stem(key)}{end}" for key in keys for end in ("", "#0")]
    names = {key: file_stem(key) for key in keys}
    assert len({name.lower() for name in names.values()}) == len(names)
    assert all(re.fullmatch(r"[\w.-]{1,120}", name, re.ASCII) and not name.startswith(".") for name in names.values())
    assert (names["a.jpg#1"], names["00000012"]) == ("a.jpg_1", "00000012")
    assert re.fullmatch("ABF10_0000-[0-9a-f]{12}", names["ABF10/0000"])


@pytest.mark.parametrize(
    ("name", "is_file", "reason"),
    [
        ("file/run", False, "not a directory"),
        ("file", False, "not a directory"),
        ("file/page.html", True, "not a directory"),
        ("folder", True, "is a directory"),
        ("fifo", True, "no file that can be replaced"),
        ("x" * 300, False, "name too long"),
        ("x" * 300, True, "name too long"),
        ("a\0b", False, "no name of a file"),
        (" ", True, "no name of a file"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_work(
    name: str, is_file: bool, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=f"(?i){reason}"):
        check_writable(Path(name), is_file)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file", "folder"]


def test_what_can_be_written_is_neither_made_nor_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "page.html", "1")
    for name, is_file in (("new/run", False), ("new/page.html", True), ("page.html", True), (".", False)):
        check_writable(tmp_path / name, is_file)
    assert os.listdir(tmp_path) == ["page.html"]
    # whoever runs the tests may be allowed everything
    refusal = OSError(errno.EACCES, "Permission denied", "temporary")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: (_ for _ in ()).throw(refusal))
    with pytest.raises(PermissionError, match=r"Permission denied: '.*new/run'"):
        check_writable(tmp_path / "new" / "run")


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="no file that can be replaced"):
        write_text(path, "1")
    assert path.is_fifo()


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "content")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"content"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, message in (("fifo", "pipe"), ("link", "device"), (".", "directory"), ("none", "No such file")):
        with pytest.raises(OSError, match=message):
            open_regular(tmp_path / name)
