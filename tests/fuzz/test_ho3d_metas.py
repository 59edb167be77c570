"""HO-3D's annotations: pickles from strangers."""

from pathlib import Path

import numpy as np

from handlit.data.synthesis.ho3d_writer import encode_meta
from handlit.formats.ho3d import HO3DScenes
from handlit.formats.ho3d_annotations import annotation_arrays, read_annotation
from tests.fuzz.harness import file_reader, fuzz

CAMERA = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
OBJECT = {"objName": "003_box", "objLabel": 2, "objCorners3D": np.ones((8, 3)), "objRot": np.ones((3, 1))}
META = {
    "handJoints3D": np.random.default_rng(0).uniform(-0.1, 0.1, (21, 3)) - [0, 0, 1],
    "handPose": np.linspace(0, 1, 48),
    "handBeta": np.zeros(10),
    "handTrans": np.zeros(3),
    "camMat": CAMERA,
    "objTrans": np.zeros(3),
    **OBJECT,
}
UNSEEN = {"handJoints3D": None, "handPose": None, "handBeta": None, "camMat": CAMERA, **OBJECT}


def test_annotations(tmp_path: Path) -> None:
    def read(path: Path) -> object:
        return annotation_arrays([read_annotation(path, "train")], "train")

    fuzz(file_reader(read, tmp_path / "0000.pkl"), [encode_meta(META), encode_meta(UNSEEN)])


def test_annotations_beside_ground_truth(tmp_path: Path) -> None:
    path = tmp_path / "evaluation" / "SM1" / "meta" / "0000.pkl"
    path.parent.mkdir(parents=True)
    meta = {**META, "handJoints3D": np.array([0, 0, -1.0]), "handBoundingBox": np.array([0, 0, 9.0, 9])}

    def read(path: Path) -> object:
        scenes = HO3DScenes(tmp_path, ["SM1/0000"])
        pose = scenes.object_pose(0)
        return scenes.intrinsics(0), pose and scenes.object_mesh(pose.name), read_annotation(path, "evaluation")

    fuzz(file_reader(read, path), [encode_meta(meta)])
