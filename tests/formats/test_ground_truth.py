import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.formats.benchmark import PROTOCOLS
from handlit.formats.ground_truth import read_ground_truth
from tests.scoring.hands import make_hands


def write_truth(root: Path, protocol_name: str, count: int = 6) -> Path:
    """The files that the benchmarks publish."""
    protocol = PROTOCOLS[protocol_name]
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


@pytest.mark.parametrize(
    ("name", "folder"), [("ho3d_v2", "HO3D_v2"), ("ho3d_v3", "HO3D_v3"), ("freihand", "FreiHAND_pub_v2")]
)
def test_the_benchmark_is_told_from_the_files(tmp_path: Path, name: str, folder: str) -> None:
    root = write_truth(tmp_path / folder, name)
    for path in (root, root / "evaluation_xyz.json"):
        truth = read_ground_truth(path)
        assert truth.protocol.name == name
        hands = make_hands(6, PROTOCOLS[name])
        np.testing.assert_array_equal(truth.joints, hands.joints)
        np.testing.assert_array_equal(truth.vertices, hands.vertices)
    if name == "freihand":
        assert truth.sequences is None
        assert truth.names[1] == "00000001"
    else:
        assert truth.names[0] == "SM1/0000"
        assert truth.sequences == ["SM1"] * 3 + ["AP10"] * 3


def test_image_type_and_count_tell_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_truth(tmp_path / "data", "ho3d_v2")
    assert read_ground_truth(root).protocol.name == "ho3d_v3"
    frame = root / "evaluation" / "SM1" / "rgb" / "0000.png"
    frame.parent.mkdir(parents=True)
    frame.touch()
    assert read_ground_truth(root).protocol.name == "ho3d_v2"
    assert read_ground_truth(root, "ho3d_v3").protocol.name == "ho3d_v3"


def test_zip_archives(tmp_path: Path) -> None:
    root = write_truth(tmp_path / "HO3D_v2", "ho3d_v2")
    archive_path = tmp_path / "HO3D_v2_truth.zip"
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.iterdir():
            archive.write(file, f"inner/{file.name}")
    truth = read_ground_truth(archive_path)
    assert truth.protocol.name == "ho3d_v2"
    assert truth.names == read_ground_truth(root).names
    archive_path.write_bytes(archive_path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"neither a folder nor a zip archive|not a readable zip"):
        read_ground_truth(archive_path)


def test_errors_name_what_is_missing_or_contradicts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_ground_truth(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no evaluation_xyz\.json and no evaluation_verts\.json"):
        read_ground_truth(tmp_path / "empty")
    root = write_truth(tmp_path / "HO3D_v2", "ho3d_v2")
    with pytest.raises(InputError, match=r"looks like the ground truth of HO-3D v2 .* protocol is freihand"):
        read_ground_truth(root, "freihand")
    with pytest.raises(InputError, match="unknown protocol 'rhd'"):
        read_ground_truth(root, "rhd")  # type: ignore[arg-type]
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
