"""The networks' files: fetched once, checked, whole or not there; once there, nothing is downloaded."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from handlit.cli import main
from handlit.errors import InputError
from handlit.landmarks import model_files
from handlit.landmarks.model_files import ModelFile

CONTENTS = {"a/palm.tflite": b"palms" * 1000, "b/joints.tflite": b"joints" * 1000}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, small networks, and a pip that reaches nothing."""
    monkeypatch.setenv("HANDLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    files = tuple(ModelFile(name, hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items())
    monkeypatch.setattr(model_files, "MODEL_FILES", files)
    return tmp_path / "cache" / "detector"


def write_wheel(path: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**contents, "mediapipe/__init__.py": b""}.items():
            archive.writestr(name, content)
    return path


def test_a_wheel_at_hand_is_taken_once(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = write_wheel(tmp_path / "some.whl")
    assert not model_files.are_fetched()
    main(["fetch-detector", "--wheel", str(wheel)])
    assert str(cache / "joints.tflite") in capsys.readouterr().out
    assert {path.name for path in cache.iterdir()} == {"palm.tflite", "joints.tflite"}
    assert [model_files.read(model) for model in model_files.MODEL_FILES] == list(CONTENTS.values())
    wheel.unlink()
    main(["fetch-detector"])
    assert f"in {cache} already" in capsys.readouterr().out


def test_without_a_network_a_line_says_what_to_do(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fetch-detector"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip cannot download mediapipe==0.10.21" in error
    assert "--wheel FILE" in error
    assert not cache.exists()


def test_a_download_is_unpacked_and_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []

    def download(folder: Path) -> Path:
        places.append(folder)
        return write_wheel(folder / "mediapipe.whl")

    monkeypatch.setattr(model_files, "_download", download)
    assert [path.parent for path in model_files.fetch()] == [cache, cache]
    assert model_files.are_fetched()
    assert not places[0].exists()


def test_networks_that_are_not_there_or_damaged(tmp_path: Path, cache: Path) -> None:
    first = model_files.MODEL_FILES[0]
    with pytest.raises(InputError, match=r"not fetched yet: run `.* fetch-detector` once"):
        model_files.read(first)
    model_files.fetch(write_wheel(tmp_path / "some.whl"))
    (cache / "palm.tflite").write_bytes(b"half")
    with pytest.raises(InputError, match=r"palm\.tflite is damaged: run `.* fetch-detector`"):
        model_files.read(first)
    assert not model_files.are_fetched()
    model_files.fetch(write_wheel(tmp_path / "some.whl"))
    assert model_files.are_fetched()


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({"a/palm.tflite": CONTENTS["a/palm.tflite"]}, r"holds no b/joints\.tflite: give the wheel of mediapipe"),
        ({**CONTENTS, "b/joints.tflite": b"other"}, r"joints\.tflite is not that of mediapipe==0\.10\.21"),
    ],
)
def test_another_wheel_writes_nothing(tmp_path: Path, cache: Path, contents: dict[str, bytes], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        model_files.fetch(write_wheel(tmp_path / "some.whl", contents))
    assert not cache.exists()


def test_a_wheel_that_is_cut_off_writes_nothing(tmp_path: Path, cache: Path) -> None:
    wheel = write_wheel(tmp_path / "some.whl")
    content = wheel.read_bytes()
    wheel.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a readable zip archive"):
        model_files.fetch(wheel)
    position = content.index(b"a/palm.tflite") + 20
    wheel.write_bytes(content[:position] + bytes(8) + content[position + 8 :])
    with pytest.raises(InputError, match=r"is damaged|not that of"):
        model_files.fetch(wheel)
    with pytest.raises(FileNotFoundError):
        model_files.fetch(tmp_path / "none.whl")
    assert not cache.exists()


def test_the_real_files_are_named_by_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [len(model.sha256) for model in model_files.MODEL_FILES] == [64, 64]
    assert [model.path.suffix for model in model_files.MODEL_FILES] == [".tflite", ".tflite"]
    assert len({model.path for model in model_files.MODEL_FILES}) == 2
