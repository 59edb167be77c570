"""Files from strangers that are read whole: hand models, FreiHAND's lists, submissions, images and lists of frames."""

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlit.formats.freihand import LISTS, read_json
from handlit.formats.ground_truth import read_ground_truth
from handlit.formats.ho3d import read_list
from handlit.formats.images import decode
from handlit.formats.registry import benchmark_named
from handlit.formats.scenes import read_obj
from handlit.hand.mano import load_mano
from handlit.scoring.official.linter import lint
from handlit.scoring.official.submission import read_submission
from tests.fuzz.harness import file_reader, fuzz
from tests.hand.mano_file import write_mano
from tests.hand.synthetic_mano import synthetic_mano
from tests.scoring.hands import make_hands

PROTOCOL = benchmark_named("ho3d_v3")


@pytest.mark.filterwarnings("ignore:.*not the distributed right hand:UserWarning")
def test_hand_models(tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    write_mano(synthetic_mano(), path)
    fuzz(file_reader(load_mano, path), [path.read_bytes()])


def test_lists_of_labels(tmp_path: Path) -> None:
    labels = json.dumps(np.random.default_rng(0).normal(size=(9, 21, 3)).round(4).tolist()).encode()
    fuzz(file_reader(lambda path: read_json(path, LISTS["xyz"]), tmp_path / "training_xyz.json"), [labels])


def test_lists_of_frames(tmp_path: Path) -> None:
    names = "".join(f"ABF1{number % 3}/{number:04}\n" for number in range(30))
    valid = [names.encode(), names.replace("\n", "\r\n").encode("utf-8-sig"), names.encode("utf-16")]
    fuzz(file_reader(lambda path: read_list(path.parent, "train"), tmp_path / "train.txt"), valid)


def submission() -> bytes:
    hands = make_hands(4, PROTOCOL)
    return json.dumps([hands.joints.round(5).tolist(), hands.vertices.round(5).tolist()]).encode()


def zipped(members: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["json", "zip"])
def test_submissions(tmp_path: Path, kind: str) -> None:
    def read(path: Path) -> object:
        found = read_submission(path)
        return lint(found.joints, found.vertices, PROTOCOL, 4)

    text = submission()
    others = {"pred.json": text, "__MACOSX/._pred.json": b"\0\5\x16\7"}
    methods = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    valid = [text] if kind == "json" else [zipped(others, method) for method in methods]
    fuzz(file_reader(read, tmp_path / f"pred.{kind}"), valid)


def test_ground_truth(tmp_path: Path) -> None:
    joints, vertices = json.loads(submission())
    names = b"SM1/0000\nSM1/0001\nAP1/0000\nAP1/0001\n"
    members = {
        "evaluation_xyz.json": json.dumps(joints).encode(),
        "evaluation_verts.json": json.dumps(vertices).encode(),
    }
    valid = [zipped({**members, "evaluation.txt": names}, zipfile.ZIP_STORED), zipped(members, zipfile.ZIP_DEFLATED)]
    fuzz(file_reader(read_ground_truth, tmp_path / "truth.zip"), valid)


def test_meshes(tmp_path: Path) -> None:
    lines = ["# box", "mtllib x.mtl", "v 0 0 0", "v 1 0 0", "v 0 1 0", "vt 0 1", "vn 0 0 1", "f 1/1/1 2/1/1 3/1/1"]
    valid = "\n".join([*lines, "v 1 1 1", "f 2//1 3//1 -1//1 1//1", "f 1 2 4", ""]).encode()
    fuzz(file_reader(read_obj, tmp_path / "textured_simple.obj"), [valid])


@pytest.mark.parametrize("flags", [cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED])
def test_images(flags: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    valid = [cv2.imencode(ending, image)[1].tobytes() for ending in (".png", ".jpg", ".webp", ".bmp", ".tiff")]
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    valid.append(cv2.imencode(".jpg", image, options)[1].tobytes())
    fuzz(lambda content: decode(np.frombuffer(content, np.uint8), "x.png", flags), valid)
