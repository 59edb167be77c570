"""The on-disk layout of HO-3D v2 and v3: where each file lies, what it holds, and how it is encoded.

Annotations are in OpenGL camera axes (x right, y up, z towards the viewer), metres, joints in HO-3D's order.
"""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import orjson

from handlit.data.synthesis.drawing import Picture
from handlit.data.synthesis.motion import rotation_vectors
from handlit.data.synthesis.scene import Scene
from handlit.data.synthesis.solids import to_obj
from handlit.geometry.cameras import OPENGL_TO_OPENCV
from handlit.skeleton import reorder

Layout = Literal["ho3d_v2", "ho3d_v3"]
Split = Literal["train", "evaluation"]
#: Width and height of the segmentation images; both were published.
SegmentationSize = Literal["640x480", "160x120"]

#: Metres per unit of a depth image.
DEPTH_SCALE = 0.00012498664727900177
#: Hand vertices nearer to the object than this touch it (HO-3D v3's definition), metres.
CONTACT_DISTANCE = 0.004
#: Colours of the segmentation, RGB, by `Picture.parts`: nothing, hand, arm (not a part of the hand model), object.
SEGMENTATION_COLOURS = np.array([(0, 0, 0), (0, 0, 255), (0, 0, 0), (0, 255, 0)], dtype=np.uint8)
IMAGE_SUFFIX: dict[Layout, str] = {"ho3d_v2": ".png", "ho3d_v3": ".jpg"}
JPEG_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 92]
#: Run-length coding: on these images twice as fast as the lowest compression level, and hardly larger.
PNG_OPTIONS = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
FLIP = np.array(OPENGL_TO_OPENCV)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    temporary.replace(path)


def frame_files(root: Path, split: Split, sequence: str, frame: int, layout: Layout) -> dict[str, Path]:
    """The files of one frame: ``rgb``, ``depth``, ``seg`` and ``meta``."""
    folder = root / split / sequence
    suffix = {"rgb": IMAGE_SUFFIX[layout], "depth": ".png", "seg": ".png", "meta": ".pkl"}
    return {kind: folder / kind / f"{frame:04d}{ending}" for kind, ending in suffix.items()}


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """Depth as HO-3D stores it: ``R + 256 G`` units of `DEPTH_SCALE`.

    Args:
        depth: (H, W) metres; 0 where nothing was measured.

    Returns:
        (H, W, 3) uint8 **BGR**, as `cv2.imwrite` takes it.
    """
    units = np.rint(depth * np.float32(1 / DEPTH_SCALE)).clip(0, 65535).astype(np.uint16)
    low, high = (units & 255).astype(np.uint8), (units >> 8).astype(np.uint8)
    return cv2.merge([np.zeros_like(low), high, low])


def frame_meta(scene: Scene, frame: int, split: Split, layout: Layout) -> dict[str, Any]:
    """The annotation of one frame.

    Args:
        scene: Its sequence.
        frame: Number within the sequence.
        split: Training frames have the hand's parameters, evaluation frames only its root and box.
        layout: v3 training frames also tell which hand vertices touch the object.

    Returns:
        A dict of NumPy arrays (float32), strings and integers, in OpenGL axes and metres.
    """
    meta: dict[str, Any] = _object_meta(scene, frame)
    joints = scene.joints[frame][reorder("handlit", "ho3d")] * FLIP
    if split == "evaluation":
        homogeneous = scene.joints[frame] @ scene.intrinsics.T
        points = homogeneous[:, :2] / homogeneous[:, 2:]
        meta["handJoints3D"] = joints[0]
        meta["handBoundingBox"] = np.concatenate([points.min(axis=0), points.max(axis=0)])
    else:
        rotation = rotation_vectors(np.diag(FLIP) @ scene.hand_rotation[frame])
        meta["handPose"] = np.concatenate([rotation, scene.pose[frame]])
        meta["handBeta"] = scene.betas
        # the hand model turns about its own wrist w: vertices = R (v - w) + w + translation
        meta["handTrans"] = joints[0] - scene.rest_wrist
        meta["handJoints3D"] = joints
        meta["camIDList"] = ["0"]
        if layout == "ho3d_v3":
            meta |= _contact_meta(scene, frame)
    return {name: _as_float32(value) for name, value in meta.items()}


def _as_float32(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != np.bool_:
        return np.ascontiguousarray(value, dtype=np.float32)
    return value


def _object_meta(scene: Scene, frame: int) -> dict[str, Any]:
    rotation = np.diag(FLIP) @ scene.object_rotation[frame]
    translation = scene.object_translation[frame] * FLIP
    return {
        "camMat": scene.intrinsics,
        "objRot": rotation_vectors(rotation)[:, None],
        "objTrans": translation,
        "objName": scene.object_name,
        "objLabel": scene.object_label,
        "objCorners3DRest": scene.solid.corners,
        "objCorners3D": scene.solid.corners @ rotation.T + translation,
    }


def _contact_meta(scene: Scene, frame: int) -> dict[str, Any]:
    rotation, translation = scene.object_rotation[frame], scene.object_translation[frame]
    surface, distance = scene.solid.closest_surface((scene.vertices[frame] - translation) @ rotation)
    return {
        "handVertContact": np.abs(distance) < CONTACT_DISTANCE,
        "handVertDist": np.abs(distance),
        "handVertIntersec": distance < 0,
        "handVertObjSurfProj": (surface @ rotation.T + translation) * FLIP,
    }


def encode_meta(meta: dict[str, Any]) -> bytes:
    """Pickle an annotation (protocol 2) so that it names the same NumPy globals as the original dataset's files.

    NumPy 2 renamed the module of its array constructor; every version still answers to the old name.
    """
    return pickle.dumps(meta, protocol=2).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_frame(
    files: dict[str, Path], picture: Picture, meta: dict[str, Any], segmentation_size: SegmentationSize
) -> None:
    """Write the four files of a frame, the annotation last.

    Args:
        files: Of `frame_files`.
        picture: Image, depth and parts.
        meta: Of `frame_meta`.
        segmentation_size: Of the segmentation; the smaller one keeps the third of every four pixels, both ways.
    """
    rgb = cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR)
    parts = picture.parts if segmentation_size == "640x480" else picture.parts[2::4, 2::4]
    segmentation = np.take(SEGMENTATION_COLOURS[:, ::-1], parts, axis=0)
    images = {"rgb": rgb, "depth": encode_depth(picture.depth), "seg": segmentation}
    for kind, image in images.items():
        suffix = files[kind].suffix
        options = JPEG_OPTIONS if suffix == ".jpg" else PNG_OPTIONS
        write_bytes(files[kind], cv2.imencode(suffix, image, options)[1].tobytes())
    write_bytes(files["meta"], encode_meta(meta))


def write_model(root: Path, scene: Scene) -> None:
    """Write a sequence's object to ``models/<name>/`` as a textured mesh in its own frame, metres."""
    folder = root / "models" / scene.object_name
    folder.mkdir(parents=True, exist_ok=True)
    texture = cv2.imencode(".png", cv2.cvtColor(scene.texture, cv2.COLOR_RGB2BGR))[1].tobytes()
    write_bytes(folder / "texture_map.png", texture)
    write_bytes(folder / "textured_simple.obj.mtl", b"newmtl material_0\nKd 1 1 1\nmap_Kd texture_map.png\n")
    write_bytes(folder / "textured_simple.obj", to_obj(scene.solid).encode())


def write_list(path: Path, names: Iterable[str]) -> None:
    """Write ``train.txt`` or ``evaluation.txt``: one ``SEQ/FRAME`` a line."""
    write_bytes(path, ("\n".join(names) + "\n").encode())


def write_truth(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write ``evaluation_xyz.json`` or its kin: a list with an array per frame.

    Args:
        path: File to write.
        frames: Arrays of one shape, a number's is (); in the order of the split's list; consumed one by one.
    """
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(b"[")
        for number, points in enumerate(frames):
            file.write(b"," if number else b"")
            content = np.ascontiguousarray(points) if points.ndim else points.item()
            file.write(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))
        file.write(b"]")
    temporary.replace(path)
