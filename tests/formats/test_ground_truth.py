import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.formats.benchmark import Benchmark
from handlit.formats.ground_truth import read_ground_truth
from handlit.formats.registry import benchmark_named, recognise
from tests.scoring.hands import make_hands


def write_truth(root: Path, protocol_name: Any, count: int = 6) -> Path:
    """The files that the benchmarks publish."""
    protocol = benchmark_named(protocol_name)
    hands = make_hands(count, protocol)
    root.mkdir(parents=True, exist_ok=True)
    (root / "evaluation_xyz.json").write_text(json.dumps(hands.joints.tolist()))
    (root / "evaluation_verts.json").write_text(json.dumps(hands.vertices.tolist()))
    if protocol.axes == "opengl":
        lines = [f"{'SM1' if i < count // 2 else 'AP10'}/{i:04d}\n" for i in range(count)]
        (root / "evaluation.txt").write_text("".join(lines))
    else:
        (root / "evaluation_K.json").write_text("[]")
    return root


@pytest.mark.parametrize("name", ["ho3d_v2", "ho3d_v3", "freihand"])
def test_the_benchmark_is_recognised_by_the_files(tmp_path: Path, name: str) -> None:
    root = write_truth(tmp_path / "data", name)
    if name == "ho3d_v2":
        (root / "evaluation" / "SM1" / "rgb").mkdir(parents=True)
        (root / "evaluation" / "SM1" / "rgb" / "0000.png").touch()
    for path in (root, root / "evaluation_xyz.json"):
        truth = read_ground_truth(path)
        assert truth.benchmark.name == name
        hands = make_hands(6, benchmark_named(name))
        np.testing.assert_array_equal(truth.joints, hands.joints)
        np.testing.assert_array_equal(truth.vertices, hands.vertices)
    if name == "freihand":
        assert truth.sequences is None
        assert truth.names[1] == "00000001"
    else:
        assert truth.names[0] == "SM1/0000"
        assert truth.sequences == ["SM1"] * 3 + ["AP10"] * 3


def test_images_and_else_the_number_of_samples_decide_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_truth(tmp_path / "HO3D_v2", "ho3d_v2")
    assert read_ground_truth(root).benchmark.name == "ho3d_v3"
    assert "may be HO-3D v2 or HO-3D v3" in caplog.text
    caplog.clear()
    monkeypatch.setattr(Benchmark, "num_samples", property(lambda self: {"ho3d_v2": 6}.get(self.name, 7)))
    assert read_ground_truth(root).benchmark.name == recognise(root).name == "ho3d_v2"
    (root / "evaluation.txt").unlink()
    assert read_ground_truth(root / "evaluation_xyz.json").benchmark.name == "ho3d_v2"
    # images are the better witness; the first folder that has some decides, and a stray file does not
    folder = root / "evaluation" / "SM1" / "rgb"
    folder.mkdir(parents=True)
    for name in ("0000.jpg", "0001.jpg", "0002.png"):
        (folder / name).touch()
    for path in (root, root / "evaluation_xyz.json"):
        assert read_ground_truth(path).benchmark.name == "ho3d_v3"
    assert read_ground_truth(root, "ho3d_v2").benchmark.name == "ho3d_v2"
    assert not caplog.text


def test_the_list_is_read_as_any_tool_writes_it(tmp_path: Path) -> None:
    root = write_truth(tmp_path / "data", "ho3d_v3")
    text, truth = (root / "evaluation.txt").read_text(), read_ground_truth(root)
    for encoding in ("utf-8-sig", "utf-16"):
        (root / "evaluation.txt").write_bytes(text.replace("\n", " \r\n").encode(encoding))
        assert read_ground_truth(root).sequences == truth.sequences == ["SM1"] * 3 + ["AP10"] * 3
    (root / "evaluation.txt").write_text(text.replace("/", "\\"))
    with pytest.raises(InputError, match=r"evaluation.txt names 'SM1.0000': write names with /"):
        read_ground_truth(root)


def test_zip_archives(tmp_path: Path) -> None:
    root = write_truth(tmp_path / "data", "ho3d_v2")
    archive_path = tmp_path / "truth.zip"
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.iterdir():
            archive.write(file, f"inner/{file.name}")
    truth = read_ground_truth(archive_path)
    assert truth.benchmark.name == "ho3d_v3"
    assert truth.names == read_ground_truth(root).names
    archive_path.write_bytes(archive_path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"neither a folder nor a zip archive|not a readable zip"):
        read_ground_truth(archive_path)


def test_errors_name_what_is_missing_or_contradicts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_ground_truth(tmp_path / "nowhere")
    (tmp_path / "truth.tar.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(InputError, match="is a gzip archive, expected a folder or zip archive: unpack it"):
        read_ground_truth(tmp_path / "truth.tar.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no evaluation_xyz\.json and no evaluation_verts\.json"):
        read_ground_truth(tmp_path / "empty")
    root = write_truth(tmp_path / "HO3D_v2", "ho3d_v2")
    with pytest.raises(InputError, match=r"expected the ground truth of FreiHAND .* like the ground truth of HO-3D"):
        read_ground_truth(root, "freihand")
    with pytest.raises(InputError, match="unknown benchmark 'rhd'"):
        read_ground_truth(root, "rhd")
    (root / "evaluation.txt").write_text("SM1/0000\n")
    with pytest.raises(InputError, match="names 1 images"):
        read_ground_truth(root)
    (root / "evaluation.txt").unlink()
    (root / "evaluation_verts.json").unlink()
    with pytest.raises(InputError, match=r"no evaluation_verts\.json"):
        read_ground_truth(root)
    flipped = write_truth(tmp_path / "flipped", "freihand")
    (flipped / "evaluation_K.json").unlink()
    (flipped / "evaluation.txt").write_text("\n".join(f"SM1/{i:04d}" for i in range(6)))
    with pytest.raises(InputError, match="OpenGL"):
        read_ground_truth(flipped)
    swapped = write_truth(tmp_path / "swapped", "freihand")
    (swapped / "evaluation_verts.json").write_text((swapped / "evaluation_xyz.json").read_text())
    with pytest.raises(InputError, match="expected N x 21 x 3 joints and N x 778 x 3"):
        read_ground_truth(swapped)


def test_what_lies_beside_is_found_from_the_folder_and_from_one_file(tmp_path: Path) -> None:
    root = write_truth(tmp_path / "data", "ho3d_v3")
    for path in (root, root / "evaluation_xyz.json"):
        assert read_ground_truth(path).open_scenes().root == root
