"""A synthetic dataset on disk, read back from its bytes alone: HO-3D's files, axes, orders, units and encodings."""

import hashlib
import json
import os
import pickle
import pickletools
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit import files
from handlit.data.synthesis import PRESETS, generate, ho3d_writer, synthesise
from handlit.errors import InputError
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS, ORDERS

PRESET = replace(PRESETS["easy"], held_probability=1.0, frames_per_sequence=3)
TRAIN, EVALUATION = 5, 4
TO_OPENCV = np.array([1.0, -1.0, -1.0])
OFFICIAL_DEPTH_SCALE = 0.00012498664727900177


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    synthesise(folder, "ho3d_v3", TRAIN, EVALUATION, seed=3, preset=PRESET, workers=0, progress=False)
    return folder


@pytest.fixture(scope="module")
def layer() -> HandLayer:
    return HandLayer(load_hand(), tips="ho3d", flat_hand_mean=True)


def names(root: Path, split: str) -> list[str]:
    return (root / f"{split}.txt").read_text().split()


def meta_of(root: Path, split: str, name: str) -> dict[str, Any]:
    sequence, frame = name.split("/")
    return pickle.loads((root / split / sequence / "meta" / f"{frame}.pkl").read_bytes(), encoding="latin1")


def image_of(root: Path, split: str, name: str, kind: str, suffix: str) -> np.ndarray:
    sequence, frame = name.split("/")
    path = root / split / sequence / kind / f"{frame}{suffix}"
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.shape == (480, 640, 3)
    return image


def depth_of(root: Path, split: str, name: str) -> np.ndarray:
    image = image_of(root, split, name, "depth", ".png").astype(np.int64)
    assert not image[..., 0].any()
    return (image[..., 2] + 256 * image[..., 1]) * OFFICIAL_DEPTH_SCALE


def project(points: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    homogeneous = (points * TO_OPENCV) @ meta["camMat"].T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def hand_of(meta: dict[str, Any], layer: HandLayer) -> Any:
    pose = torch.from_numpy(meta["handPose"])
    mesh = layer(
        pose[3:],
        torch.from_numpy(meta["handBeta"]),
        pose[:3],
        torch.from_numpy(meta["handTrans"]),
    )
    return mesh.vertices.numpy(), mesh.joints.numpy()


def test_tree_holds_exactly_what_the_lists_name(root: Path) -> None:
    expected = {"synthesis.json", "train.txt", "evaluation.txt", "evaluation_xyz.json", "evaluation_verts.json"}
    for split, count in (("train", TRAIN), ("evaluation", EVALUATION)):
        assert len(names(root, split)) == count
        for name in names(root, split):
            sequence, frame = name.split("/")
            for kind, suffix in (("rgb", ".jpg"), ("depth", ".png"), ("meta", ".pkl"), ("seg", ".png")):
                expected.add(f"{split}/{sequence}/{kind}/{frame}{suffix}")
            model = meta_of(root, split, name)["objName"]
            for file in ("textured_simple.obj", "textured_simple.obj.mtl", "texture_map.png"):
                expected.add(f"models/{model}/{file}")
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == expected
    assert names(root, "train") == ["SYN10/0000", "SYN10/0001", "SYN10/0002", "SYN20/0000", "SYN20/0001"]


def test_splits_share_no_sequence_and_no_object(root: Path) -> None:
    used = {
        split: {(name.split("/")[0], meta_of(root, split, name)["objName"]) for name in names(root, split)}
        for split in ("train", "evaluation")
    }
    for column in (0, 1):
        assert not {pair[column] for pair in used["train"]} & {pair[column] for pair in used["evaluation"]}


def test_training_annotation_has_every_field(root: Path) -> None:
    shapes = {
        "handPose": (48,),
        "handBeta": (10,),
        "handTrans": (3,),
        "handJoints3D": (21, 3),
        "camMat": (3, 3),
        "objRot": (3, 1),
        "objTrans": (3,),
        "objCorners3D": (8, 3),
        "objCorners3DRest": (8, 3),
        "handVertContact": (778,),
        "handVertDist": (778,),
        "handVertIntersec": (778,),
        "handVertObjSurfProj": (778, 3),
    }
    for name in names(root, "train"):
        meta = meta_of(root, "train", name)
        assert {key: value.shape for key, value in meta.items() if isinstance(value, np.ndarray)} == shapes
        assert set(meta) - set(shapes) == {"objName", "objLabel", "camIDList"}
        assert isinstance(meta["objName"], str)
        assert type(meta["objLabel"]) is int


def test_evaluation_annotation_hides_the_hand(root: Path) -> None:
    for name in names(root, "evaluation"):
        meta = meta_of(root, "evaluation", name)
        assert meta["handJoints3D"].shape == (3,)
        assert meta["handBoundingBox"].shape == (4,)
        assert not {"handPose", "handBeta", "handTrans"} & set(meta)


def test_pickles_are_old_and_name_only_numpy(root: Path) -> None:
    path = next((root / "train").rglob("*.pkl"))
    content = path.read_bytes()
    opcodes = list(pickletools.genops(content))
    assert opcodes[0][1] == 2  # protocol
    assert {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"} == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
        "_codecs encode",
    }


def test_hand_parameters_reproduce_joints_in_opengl_axes(root: Path, layer: HandLayer) -> None:
    order = [JOINTS.index(name) for name in ORDERS["ho3d"]]
    for name in names(root, "train"):
        meta = meta_of(root, "train", name)
        vertices, joints = hand_of(meta, layer)
        np.testing.assert_allclose(joints[order], meta["handJoints3D"], atol=1e-5)
        assert (vertices[:, 2] < 0).all()
        # the tips are the official vertices, in the order thumb to pinky
        np.testing.assert_allclose(vertices[[744, 333, 444, 555, 672]], meta["handJoints3D"][16:], atol=1e-5)


def test_truth_files_have_the_evaluation_list_s_length_and_axes(root: Path, layer: HandLayer) -> None:
    xyz = np.array(json.loads((root / "evaluation_xyz.json").read_text()))
    verts = np.array(json.loads((root / "evaluation_verts.json").read_text()))
    assert xyz.shape == (EVALUATION, 21, 3)
    assert verts.shape == (EVALUATION, 778, 3)
    assert (xyz[..., 2] < 0).all()
    np.testing.assert_allclose(verts[:, [744, 333, 444, 555, 672]], xyz[:, 16:], atol=1e-6)
    for row, name in enumerate(names(root, "evaluation")):
        meta = meta_of(root, "evaluation", name)
        np.testing.assert_allclose(meta["handJoints3D"], xyz[row, 0], atol=1e-6)
        points = project(xyz[row], meta)
        np.testing.assert_allclose(meta["handBoundingBox"], [*points.min(axis=0), *points.max(axis=0)], atol=1e-2)


def test_truth_bones_keep_their_length_within_a_subject_only(root: Path) -> None:
    xyz = np.array(json.loads((root / "evaluation_xyz.json").read_text()))
    # HO-3D's order: chains of three joints behind the wrist
    lengths = np.stack([np.linalg.norm(xyz[:, 3 * i + 2] - xyz[:, 3 * i + 1], axis=1) for i in range(5)], axis=1)
    np.testing.assert_allclose(lengths[:3], lengths[:1].repeat(3, axis=0), atol=1e-6)
    assert np.abs(lengths[3] - lengths[0]).max() > 1e-4


def test_depth_is_the_hand_where_the_hand_is_seen(root: Path, layer: HandLayer) -> None:
    for name in names(root, "train"):
        meta = meta_of(root, "train", name)
        depth = depth_of(root, "train", name)
        hand = image_of(root, "train", name, "seg", ".png")[..., 0] > 200  # blue, BGR
        vertices = hand_of(meta, layer)[0]
        pixels = np.rint(project(vertices, meta)).astype(int)
        inside = ((pixels >= 0) & (pixels < (640, 480))).all(axis=1)
        z, (u, v) = -vertices[inside, 2], pixels[inside].T
        gap = z - depth[v, u]
        # many vertices are seen themselves; only beside a silhouette the rounded pixel shows something further away
        seen = hand[v, u]
        assert np.quantile(np.abs(gap[seen]), 0.2) < 1e-3
        assert (gap[seen] > -0.004).mean() > 0.9


def test_vertices_reappear_in_the_depth_image_to_its_quantisation(root: Path, layer: HandLayer) -> None:
    """Rays through pixel centres, met with the mesh by hand, give the stored depth."""
    name = names(root, "train")[0]
    meta = meta_of(root, "train", name)
    depth = depth_of(root, "train", name)
    hand = image_of(root, "train", name, "seg", ".png")[..., 0] > 200
    triangles = (hand_of(meta, layer)[0].astype(np.float64) * TO_OPENCV)[load_hand().faces]
    rows, columns = np.nonzero(hand)
    for row, column in list(zip(rows, columns, strict=True))[::97]:
        ray = np.linalg.inv(meta["camMat"].astype(np.float64)) @ (column, row, 1)
        first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        cross = np.cross(ray, second)
        inverse = 1 / (first * cross).sum(-1)
        u = -(triangles[:, 0] * cross).sum(-1) * inverse
        other = np.cross(-triangles[:, 0], first)
        v = (other @ ray) * inverse
        t = (second * other).sum(-1) * inverse
        hit = (u > -1e-4) & (v > -1e-4) & (u + v < 1 + 1e-4)
        assert hit.any()
        assert np.abs(t[hit] - depth[row, column]).min() < OFFICIAL_DEPTH_SCALE


def test_joints_fall_on_the_hand_or_on_what_hides_it(root: Path) -> None:
    for name in names(root, "train"):
        meta = meta_of(root, "train", name)
        segmentation = image_of(root, "train", name, "seg", ".png")
        colours = np.unique(segmentation.astype(int) @ (1 << 16, 1 << 8, 1))
        assert colours.tolist() == [0x000000, 0x00FF00, 0xFF0000]  # BGR: nothing, object green, hand blue
        known = cv2.dilate(np.asarray((segmentation > 0).any(axis=2), np.uint8), np.ones((5, 5)))
        u, v = np.rint(project(meta["handJoints3D"], meta)).astype(int).T
        on_hand = segmentation[v, u, 0] == 255
        # the wrist joint lies at the border to the arm, which is no part of the hand model
        assert known[v[1:], u[1:]].all()
        assert on_hand.mean() > 0.4


def test_object_fields_agree(root: Path) -> None:
    for split in ("train", "evaluation"):
        for name in names(root, split):
            meta = meta_of(root, split, name)
            rotation, _ = cv2.Rodrigues(meta["objRot"].astype(np.float64))
            corners = meta["objCorners3DRest"] @ rotation.T + meta["objTrans"]
            np.testing.assert_allclose(corners, meta["objCorners3D"], atol=1e-6)
            obj = (root / "models" / meta["objName"] / "textured_simple.obj").read_text().splitlines()
            vertices = np.array([line.split()[1:] for line in obj if line.startswith("v ")], dtype=float)
            np.testing.assert_allclose(vertices.max(axis=0), meta["objCorners3DRest"].max(axis=0), atol=1e-5)
            # the object is seen where its model projects
            green = image_of(root, split, name, "seg", ".png")[..., 1] == 255
            pixels = project(vertices @ rotation.T + meta["objTrans"], meta)
            rows, columns = np.nonzero(green)
            if len(rows):
                assert columns.min() >= pixels[:, 0].min() - 1
                assert columns.max() <= pixels[:, 0].max() + 1
                assert rows.min() >= pixels[:, 1].min() - 1
                assert rows.max() <= pixels[:, 1].max() + 1


def test_contact_fields_agree(root: Path, layer: HandLayer) -> None:
    touching = 0
    for name in names(root, "train"):
        meta = meta_of(root, "train", name)
        vertices = hand_of(meta, layer)[0]
        distance = np.linalg.norm(vertices - meta["handVertObjSurfProj"], axis=1)
        np.testing.assert_allclose(distance, meta["handVertDist"], atol=1e-5)
        clear = np.abs(distance - 0.004) > 1e-5
        np.testing.assert_array_equal((distance < 0.004)[clear], meta["handVertContact"][clear])
        assert not (meta["handVertIntersec"] & (meta["handVertDist"] > 0.02)).any()
        touching += meta["handVertContact"].sum()
    assert touching > 50


def test_camera_is_near_ho3d_s(root: Path) -> None:
    meta = meta_of(root, "train", names(root, "train")[0])
    assert meta["camMat"][0, 0] == pytest.approx(614, rel=0.04)
    assert meta["camMat"][0, 2] == pytest.approx(320, abs=10)
    assert meta["camMat"][1, 2] == pytest.approx(240, abs=10)
    np.testing.assert_array_equal(meta["camMat"][2], [0, 0, 1])


def test_depth_encoding_rounds_to_the_nearest_unit() -> None:
    depth = np.array([[0.0, OFFICIAL_DEPTH_SCALE * 255, OFFICIAL_DEPTH_SCALE * 256.4, 0.7, 100.0]], dtype=np.float32)
    encoded = ho3d_writer.encode_depth(depth).astype(int)
    values = encoded[..., 2] + 256 * encoded[..., 1]
    np.testing.assert_array_equal(values[0, :3], [0, 255, 256])
    assert values[0, 3] * OFFICIAL_DEPTH_SCALE == pytest.approx(0.7, abs=OFFICIAL_DEPTH_SCALE / 2 + 1e-6)
    assert values[0, 4] == 65535


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_bytes_do_not_depend_on_the_number_of_workers(root: Path, tmp_path: Path) -> None:
    synthesise(tmp_path / "two", "ho3d_v3", TRAIN, EVALUATION, seed=3, preset=PRESET, workers=2, progress=False)
    assert contents(tmp_path / "two") == contents(root)


def test_larger_dataset_begins_with_the_smaller_and_other_seeds_differ(root: Path, tmp_path: Path) -> None:
    synthesise(tmp_path / "more", "ho3d_v3", 3, 0, seed=3, preset=PRESET, workers=0, progress=False)
    more, base = contents(tmp_path / "more"), contents(root)
    pictures = [name for name in more if name.endswith((".jpg", ".png", ".pkl"))]
    assert all(more[name] == base[name] for name in pictures)
    synthesise(tmp_path / "other", "ho3d_v3", 3, 0, seed=4, preset=PRESET, workers=0, progress=False)
    other = contents(tmp_path / "other")
    assert not any(other[name] == base[name] for name in pictures if name in other and "models" not in name)


def test_interrupted_synthesis_is_completed_by_running_it_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: tuple[Any, ...] = ("ho3d_v3", TRAIN, EVALUATION, 3, PRESET, 0, None, False)
    write_bytes = files.write_bytes
    written: list[Any] = []

    def failing(path: Path, content: bytes, durable: bool = True) -> None:
        if len(written) == 20:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.stem}.host-1.part{path.suffix}").write_bytes(content[:10])
            raise KeyboardInterrupt
        written.append(path)
        write_bytes(path, content, durable)

    monkeypatch.setattr(ho3d_writer, "write_bytes", failing)
    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path / "cut", *arguments)
    assert not (tmp_path / "cut" / "train.txt").exists()
    kept = next((tmp_path / "cut" / "train").rglob("*.jpg"))
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr(ho3d_writer, "write_bytes", write_bytes)
    synthesise(tmp_path / "cut", *arguments)
    assert contents(tmp_path / "cut") == contents(root)
    assert kept.stat().st_mtime_ns == before


def test_a_synthesis_that_was_killed_at_its_record_begins_anew(tmp_path: Path) -> None:
    half = tmp_path / ".synthesis.host-1.part.json"
    half.write_text("{")
    (tmp_path / "synthesis.json").write_text('{"format"')
    with pytest.raises(InputError, match=r"synthesis\.json is damaged"):
        synthesise(tmp_path, "ho3d_v3", 1, 0, preset=PRESET, workers=0, progress=False)
    (tmp_path / "synthesis.json").unlink()
    synthesise(tmp_path, "ho3d_v3", 1, 0, preset=PRESET, workers=0, progress=False)
    # one of a process that still runs, and one of a process that is gone
    host = re.sub(r"\W", "-", socket.gethostname())
    theirs = tmp_path / "train" / f".0000.{host}-{os.getpid()}.part.jpg"
    theirs.write_text("")
    synthesise(tmp_path, "ho3d_v3", 1, 0, preset=PRESET, workers=0, progress=False)
    assert theirs.exists()
    assert not half.exists()


def test_machines_that_refuse_broken_checksums_for_security_synthesise(monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = hashlib.md5

    def approved(data: bytes = b"", *, usedforsecurity: bool = True) -> Any:
        if usedforsecurity:
            raise ValueError("disabled for FIPS")
        return md5(data)

    monkeypatch.setattr(hashlib, "md5", approved)
    assert len(generate.template_md5(load_hand())) == 32


def test_refuses_folders_of_others_and_other_settings(root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        synthesise(tmp_path, "ho3d_v3", 1, 0, workers=0, progress=False)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    with pytest.raises(InputError, match="seed differ"):
        synthesise(root, "ho3d_v3", TRAIN, EVALUATION, seed=5, preset=PRESET, workers=0, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "coco"}, "layout"),
        ({"train": 0, "evaluation": 0}, "at least 1"),
        ({"seed": -1}, "seed"),
        ({"preset": "hard"}, "easy, full"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "layout": "ho3d_v3",
        "train": 1,
        "evaluation": 0,
        "workers": 0,
        "progress": False,
    } | change
    with pytest.raises(InputError, match=message):
        synthesise(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_v2_layout_has_png_images_and_no_contact_fields(tmp_path: Path) -> None:
    synthesise(tmp_path / "v2", "ho3d_v2", 1, 1, preset=PRESET, workers=0, progress=False)
    meta = meta_of(tmp_path / "v2", "train", "SYN10/0000")
    assert "handVertContact" not in meta
    image_of(tmp_path / "v2", "train", "SYN10/0000", "rgb", ".png")
    image_of(tmp_path / "v2", "evaluation", "SYE10/0000", "rgb", ".png")


def test_sequences_of_one_split_differ_but_frames_share_the_subject(root: Path) -> None:
    metas = [meta_of(root, "train", name) for name in names(root, "train")]
    np.testing.assert_array_equal(metas[0]["handBeta"], metas[1]["handBeta"])
    assert not np.allclose(metas[0]["handBeta"], metas[3]["handBeta"])
    assert not np.array_equal(metas[0]["handPose"], metas[1]["handPose"])
    assert json.loads((root / "synthesis.json").read_text())["format"] == generate.FORMAT


def test_segmentation_in_the_smaller_published_size(root: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    settings: dict[str, Any] = {"seed": 3, "preset": PRESET, "workers": 0, "progress": False}
    synthesise(small, "ho3d_v3", 2, 0, **settings, segmentation="160x120")
    for name in names(small, "train"):
        sequence, frame = name.split("/")
        coded = cv2.imread(str(small / "train" / sequence / "seg" / f"{frame}.png"), cv2.IMREAD_UNCHANGED)
        assert coded.shape == (120, 160, 3)
        full = image_of(root, "train", name, "seg", ".png")
        hand = cv2.resize(coded, (640, 480), interpolation=cv2.INTER_NEAREST)[..., 0] > 200
        expected = full[..., 0] > 200
        assert expected.sum() > 1000
        assert (hand & expected).sum() / (hand | expected).sum() > 0.9
        assert (coded[..., 1] > 200).any()
