"""What lies beside the true hands: meshes of objects, and which triangles belong to a hand."""

from pathlib import Path

import pytest

from handlit.errors import InputError
from handlit.formats.scenes import Scenes, existing, faces_fit, read_obj
from handlit.hand.loading import load_hand

FACES = load_hand().faces
#: One polygon with texture coordinates and a material that is not there.
BOARD = "# a board\nmtllib none.mtl\nusemtl a\nv -0.2 0 0\nv 0.2 0 0\nv 0.2 0.4 0\nv -0.2 0.4 0\nf 1/1 2/2 3/3 4/4\n"


def test_triangles_of_another_topology_are_noticed() -> None:
    template = load_hand().template
    assert faces_fit(template, FACES)
    assert not faces_fit(template[::-1], FACES)


def test_mesh_files(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    path.write_text(BOARD)
    vertices, faces = read_obj(path)
    assert vertices.shape == (4, 3)
    assert [sorted(face) for face in faces.tolist()] == [[0, 1, 2], [0, 2, 3]]
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\n")
    assert read_obj(path)[1].tolist() == [[0, 1, 2]]
    for text in ("", "v 0 0 0\nf 1 2 3\n", "v a b c\nf 1 1 1\n", "v 0 0 0\nf a\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="not a mesh"):
            read_obj(path)


def test_a_benchmark_without_scenes_knows_nothing(tmp_path: Path) -> None:
    scenes = Scenes(tmp_path, ["a", "b"])
    assert [scenes.image(0), scenes.intrinsics(1), scenes.object_pose(0), scenes.object_mesh("x")] == [None] * 4
    assert not scenes.has_all_cameras()


def test_the_first_suffix_that_is_there_counts(tmp_path: Path) -> None:
    assert existing(tmp_path / "0001", (".png", ".jpg")) is None
    (tmp_path / "0001.jpg").touch()
    assert existing(tmp_path / "0001", (".png", ".jpg")) == tmp_path / "0001.jpg"
    (tmp_path / "0001.png").touch()
    assert existing(tmp_path / "0001", (".png", ".jpg")) == tmp_path / "0001.png"
