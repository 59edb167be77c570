"""Damaged HO-3D trees: every message names the file, nothing runs, nothing is lost."""

import logging
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlit.data.ho3d import HO3D
from handlit.data.synthesis import synthesise
from handlit.errors import InputError
from handlit.formats.ho3d import read_frames, read_list, read_masks
from handlit.formats.ho3d_splits import mhentropy_rows
from tests.processes import server


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad") / "tree"
    synthesise(root, train=8, evaluation=2, seed=4, preset="easy", workers=0, progress=False)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANDLIT_CACHE", str(tmp_path / "user"))
    return Path(shutil.copytree(tree, tmp_path / "tree"))


def metas(root: Path, split: str = "train") -> list[Path]:
    return sorted(root.glob(f"{split}/*/meta/*.pkl"))


def edit(path: Path, **fields: object) -> None:
    meta = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({**meta, **fields}, protocol=2))


def camera(**entries: float) -> np.ndarray:
    values = {"fx": 600.0, "fy": 600.0, "cx": 320.0, "cy": 240.0, "low": 0.0, "one": 1.0} | entries
    return np.array(
        [[values["fx"], 0, values["cx"]], [values["low"], values["fy"], values["cy"]], [0, 0, values["one"]]]
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"handPose": np.full(48, np.nan)}, "'handPose' holds NaN"),
        ({"handJoints3D": np.full((21, 3), np.inf)}, "'handJoints3D' holds NaN or infinity"),
        ({"handBeta": np.zeros(9)}, r"'handBeta' has shape \(9,\)"),
        ({"handJoints3D": np.zeros((3, 21))}, r"'handJoints3D' has shape \(3, 21\)"),
        ({"handBeta": "x"}, "'handBeta' holds str x, expected numbers"),
        ({"handJoints3D": np.full((21, 3), 0.5)}, "behind the camera"),
        ({"handBeta": [10**400] * 10}, "'handBeta' holds list"),
        ({"objName": "x" * 300, "objCorners3D": np.ones((8, 3))}, "'objName' must be an object's name .*xxx"),
        ({"objName": "../003_box", "objCorners3D": np.ones((8, 3))}, "'objName' must be"),
        ({"camMat": None}, "has no 'camMat'"),
        ({"camMat": np.eye(4)}, r"'camMat' has shape \(4, 4\)"),
        ({"camMat": camera(fx=-600)}, "no camera of a 640x480 image"),
        ({"camMat": camera(fy=0)}, "no camera of a 640x480 image"),
        ({"camMat": camera(cx=2000)}, "no camera of a 640x480 image"),
        ({"camMat": camera(cy=-900)}, "no camera of a 640x480 image"),
        ({"camMat": camera(low=3)}, "no camera of a 640x480 image"),
        ({"camMat": camera(one=0)}, "no camera of a 640x480 image"),
    ],
)
def test_bad_annotations_are_named(copy: Path, fields: dict[str, object], message: str) -> None:
    path = metas(copy)[3]
    edit(path, **fields)
    with pytest.raises(InputError, match=message) as error:
        read_frames(copy, "train", "v3")
    assert str(path) in str(error.value)


def test_bad_evaluation_annotations_are_named(copy: Path) -> None:
    path = metas(copy, "evaluation")[1]
    original = path.read_bytes()
    for fields, message in (
        ({"handBoundingBox": np.full(4, np.nan)}, "'handBoundingBox' holds NaN"),
        ({"handJoints3D": np.zeros(5)}, "finite root"),
        ({"handJoints3D": np.array([0, 0, 0.6])}, "behind the camera"),
    ):
        path.write_bytes(original)
        edit(path, **fields)
        with pytest.raises(InputError, match=message) as error:
            read_frames(copy, "evaluation", "v3")
        assert str(path) in str(error.value)
    edit(path, handJoints3D=None)
    with pytest.raises(InputError, match="1 evaluation frames have no root"):
        read_frames(copy, "evaluation", "v3")


@pytest.mark.parametrize("content", [b"", b"\x80\x02}", b"no pickle at all", pickle.dumps([1, 2], protocol=2)])
def test_damaged_files_are_named(copy: Path, content: bytes) -> None:
    path = metas(copy)[2]
    path.write_bytes(content)
    with pytest.raises(InputError, match="again") as error:
        read_frames(copy, "train", "v3")
    assert str(path) in str(error.value)


class Attack:
    """A pickle of it calls `os.system` when it is read by the plain unpickler."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_a_pickle_that_runs_code_runs_nothing(copy: Path, tmp_path: Path) -> None:
    path, trace = metas(copy)[0], tmp_path / "ran"
    content = pickle.dumps({"handPose": Attack(f"touch {trace}")}, protocol=2)
    pickle.loads(content)
    assert trace.exists(), "the attack itself must work, or this test shows nothing"
    trace.unlink()
    path.write_bytes(content)
    for workers in (0, 2):
        with pytest.raises(InputError, match="was not loaded") as error:
            read_frames(copy, "train", "v3", workers=workers)
        assert str(path) in str(error.value)
    assert not trace.exists()


def test_lists_are_checked_line_by_line(copy: Path) -> None:
    path = copy / "train.txt"
    good = path.read_text().splitlines()
    for line in ("SYN10", "SYN10/0000/1", "../../etc/0000", "SYN10/..", "SYN10 /0001", "SYN10/0000.jpg", "\x00/1"):
        path.write_text("\n".join([*good[:2], "", line, *good[2:]]) + "\n")
        with pytest.raises(InputError, match="line 4: expected SEQ/FRAME") as error:
            read_list(copy, "train")
        assert str(path) in str(error.value)
    path.write_text("\n".join([*good, good[1]]) + "\n")
    with pytest.raises(InputError, match=r"line 9: .* stands on line 2 already"):
        read_list(copy, "train")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"train\.txt is UTF-16 text, expected a list of frames"):
        read_list(copy, "train")
    path.write_text(" \n\r\n")
    with pytest.raises(InputError, match="is empty"):
        read_list(copy, "train")
    # other systems' line ends and blank lines are no fault
    lines = "\r\n".join([*(line + " " for line in good), "", ""])
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(lines.encode(encoding))
        assert read_list(copy, "train") == good


def test_listed_frames_without_files_are_named(copy: Path) -> None:
    path = copy / "train.txt"
    names = path.read_text()
    path.write_text(names + "SYN990/0000\n")
    with pytest.raises(FileNotFoundError, match=r"1 images .*SYN990/rgb/0000\.jpg first"):
        read_frames(copy, "train", "v3")
    path.write_text(names)
    with pytest.raises(FileNotFoundError, match=r"8 images .* v2 has \.png images"):
        read_frames(copy, "train", "v2")
    meta = metas(copy)[4]
    meta.unlink()
    with pytest.raises(FileNotFoundError, match="is missing") as error:
        read_frames(copy, "train", "v3")
    assert str(meta) in str(error.value)


def module(root: Path) -> HO3D:
    return HO3D(str(root), image_size=64, crop="plain", batch_size=4, num_workers=0, val_fraction=0)


def test_the_index_is_used_and_follows_the_tree(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(copy).table("train")
    with monkeypatch.context() as without_reader:
        without_reader.setattr("handlit.data.ho3d.read_frames", None)
        frames = module(copy).table("train")
    assert isinstance(frames.joints_cam, np.memmap)
    edit(metas(copy)[1], handPose=None)
    assert len(module(copy).table("train")) == 7
    # pictures that vanish make the index invalid as well
    image = sorted(copy.glob("train/*/rgb/*.jpg"))[5]
    image.unlink()
    with pytest.raises(FileNotFoundError, match=image.name):
        module(copy).table("train")


def test_a_damaged_tree_leaves_no_index(copy: Path) -> None:
    metas(copy)[6].write_bytes(b"")
    with pytest.raises(InputError):
        module(copy).table("train")
    assert not list(copy.glob(".handlit/*"))


def test_a_read_only_dataset_has_its_index_in_the_users_cache(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # a file in the folder's place: permissions do not stop every user that runs tests
    (copy / ".handlit").write_text("")
    with caplog.at_level(logging.WARNING):
        frames = module(copy).table("train")
    assert len(frames) == 8
    keys: Any = frames.keys
    assert Path(keys.filename).is_relative_to(tmp_path / "user")
    assert str(copy) in caplog.text


def _open(root: Path, gate: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[int]") -> None:
    gate.wait(timeout=60)
    results.put(len(module(root).table("train")))


def test_two_processes_build_the_index_at_once(copy: Path) -> None:
    context = server()
    gate = context.Barrier(2)
    results: multiprocessing.Queue[int] = context.Queue()
    processes = [context.Process(target=_open, args=(copy, gate, results)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert counts == [8, 8]
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list((copy / ".handlit").iterdir())) == 1


def test_bad_options_and_missing_sequences_are_named(copy: Path) -> None:
    with pytest.raises(InputError, match="visibility must be one of none, depth, mesh, got 'rays'"):
        HO3D(str(copy), visibility="rays")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no frame of ABF14, SB14, ShSu13"):
        mhentropy_rows(np.array(["MC5/0001", "MC1/0001"]), leak_free=False)


def test_damaged_segmentations_are_named(copy: Path) -> None:
    path = min(copy.glob("train/*/seg/*.png"))
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name):
            read_masks(path)
