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

from handlit.data.synthesis.drawing import Frame
from handlit.data.synthesis.motion import rotation_vectors
from handlit.data.synthesis.sequence import Sequence
from handlit.data.synthesis.solids import to_obj
from handlit.files import whole, write_bytes, write_text
from handlit.formats.benchmark import Benchmark
from handlit.formats.ho3d import DEPTH_SCALE, HAND_COLOUR, HO3D_V2, HO3D_V3, OBJECT_COLOUR
from handlit.formats.ho3d_annotations import FLIP, HO3DSplit
from handlit.formats.ho3d_objects import MODEL_FILE
from handlit.skeleton import reorder

Layout = Literal["ho3d_v2", "ho3d_v3"]
#: Width and height of the segmentation images; both were published.
SegmentationSize = Literal["640x480", "160x120"]

#: Hand vertices nearer to the object than this touch it (HO-3D v3's definition), metres.
CONTACT_DISTANCE = 0.004
#: Colours of the segmentation, RGB, by `Frame.parts`: nothing, hand, arm (not a part of the hand model), object.
SEGMENTATION_COLOURS = np.array([(0, 0, 0), HAND_COLOUR, (0, 0, 0), OBJECT_COLOUR], dtype=np.uint8)
#: Blue, green and red, of every byte that parts may have.
_COLOUR_TABLES = np.pad(SEGMENTATION_COLOURS[:, ::-1].T, ((0, 0), (0, 256 - len(SEGMENTATION_COLOURS))))
BENCHMARKS: dict[Layout, Benchmark] = {"ho3d_v2": HO3D_V2, "ho3d_v3": HO3D_V3}
JPEG_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 92]
#: Run-length coding: on these images twice as fast as the lowest compression level, and hardly larger.
PNG_OPTIONS = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def frame_files(root: Path, split: HO3DSplit, sequence: str, frame: int, layout: Layout) -> dict[str, Path]:
    """The files of one frame: ``rgb``, ``depth``, ``seg`` and ``meta``."""
    folder = root / split / sequence
    suffix = {"rgb": BENCHMARKS[layout].image_suffix, "depth": ".png", "seg": ".png", "meta": ".pkl"}
    return {kind: folder / kind / f"{frame:04d}{ending}" for kind, ending in suffix.items()}


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """Depth as HO-3D stores it: ``R + 256 G`` units of `DEPTH_SCALE`.

    Args:
        depth: (H, W) metres; 0 where nothing was measured.

    Returns:
        (H, W, 3) uint8 **BGR**, as `cv2.imwrite` takes it.
    """
    units = np.rint(depth * np.float32(1 / DEPTH_SCALE)).clip(0, 65535).astype("<u2")
    # blue is 0, green the high byte, red the low one
    return cv2.merge([np.zeros(depth.shape, np.uint8), *cv2.split(units.view(np.uint8).reshape(*depth.shape, 2))[::-1]])


def annotations(sequence: Sequence, split: HO3DSplit, layout: Layout) -> list[dict[str, Any]]:
    """The annotations of a sequence's frames.

    Args:
        sequence: What was drawn.
        split: Training frames have the hand's parameters, evaluation frames only its root and box.
        layout: v3 training frames also say which hand vertices touch the object.

    Returns:
        Of each frame a dict of NumPy arrays (float32), strings and integers, in OpenGL axes and metres.
    """
    joints = sequence.joints[:, reorder("handlit", "ho3d")] * FLIP
    moving = _object_fields(sequence)
    fixed: dict[str, Any] = {
        "camMat": sequence.intrinsics,
        "objName": sequence.object_name,
        "objLabel": sequence.object_label,
        "objCorners3DRest": sequence.solid.corners,
    }
    if split == "evaluation":
        homogeneous = sequence.joints @ sequence.intrinsics.T
        points = homogeneous[..., :2] / homogeneous[..., 2:]
        moving["handJoints3D"] = joints[:, 0]
        moving["handBoundingBox"] = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    else:
        rotations = rotation_vectors(np.diag(FLIP) @ sequence.hand_rotation)
        moving["handPose"] = np.concatenate([rotations, sequence.pose], axis=1)
        # the hand model turns about its own wrist w: vertices = R (v - w) + w + translation
        moving["handTrans"] = joints[:, 0] - sequence.rest_wrist
        moving["handJoints3D"] = joints
        fixed |= {"handBeta": sequence.betas, "camIDList": ["0"]}
        if layout == "ho3d_v3":
            moving |= _contact_fields(sequence)
    fixed = {name: _as_float32(value) for name, value in fixed.items()}
    moving = {name: _as_float32(value) for name, value in moving.items()}
    # copies: a pickled view would name other NumPy functions
    frames = range(len(joints))
    return [fixed | {name: values[frame].copy() for name, values in moving.items()} for frame in frames]


def _as_float32(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != np.bool_:
        return np.ascontiguousarray(value, dtype=np.float32)
    return value


def _object_fields(sequence: Sequence) -> dict[str, np.ndarray]:
    rotation = np.diag(FLIP) @ sequence.object_rotation
    translation = sequence.object_translation * FLIP
    return {
        "objRot": rotation_vectors(rotation)[..., None],
        "objTrans": translation,
        "objCorners3D": sequence.solid.corners @ rotation.transpose(0, 2, 1) + translation[:, None],
    }


def _contact_fields(sequence: Sequence) -> dict[str, np.ndarray]:
    rotation, translation = sequence.object_rotation, sequence.object_translation[:, None]
    surface, distance = sequence.solid.closest_surface((sequence.vertices - translation) @ rotation)
    return {
        "handVertContact": np.abs(distance) < CONTACT_DISTANCE,
        "handVertDist": np.abs(distance),
        "handVertIntersec": distance < 0,
        "handVertObjSurfProj": (surface @ rotation.transpose(0, 2, 1) + translation) * FLIP,
    }


def encode_meta(meta: dict[str, Any]) -> bytes:
    """Pickle an annotation (protocol 2) so that it names the same NumPy globals as the original dataset's files.

    NumPy 2 renamed the module of its array constructor; every version still answers to the old name.
    """
    return pickle.dumps(meta, protocol=2).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_frame(files: dict[str, Path], frame: Frame, meta: dict[str, Any], segmentation: SegmentationSize) -> None:
    """Write the four files of a frame, the annotation last.

    Args:
        files: Of `frame_files`.
        frame: Image, depth and parts.
        meta: Of `annotations`.
        segmentation: Its size; the smaller one keeps the third of every four pixels, both ways.
    """
    parts = frame.parts if segmentation == "640x480" else frame.parts[2::4, 2::4]
    images = {
        "rgb": cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),
        "depth": encode_depth(frame.depth),
        "seg": cv2.merge([cv2.LUT(parts, channel) for channel in _COLOUR_TABLES]),
    }
    for kind, image in images.items():
        suffix = files[kind].suffix
        options = JPEG_OPTIONS if suffix == ".jpg" else PNG_OPTIONS
        write_bytes(files[kind], cv2.imencode(suffix, image, options)[1].tobytes(), durable=False)
    write_bytes(files["meta"], encode_meta(meta), durable=False)


def write_model(root: Path, sequence: Sequence, texture: np.ndarray) -> None:
    """Write a sequence's object to ``models/<name>/`` as a textured mesh in its own frame, metres.

    Args:
        root: Of the dataset.
        sequence: Names the object.
        texture: (h, w, 3) uint8 RGB.
    """
    folder = root / "models" / sequence.object_name
    encoded = cv2.imencode(".png", cv2.cvtColor(texture, cv2.COLOR_RGB2BGR))[1]
    write_bytes(folder / "texture_map.png", encoded.tobytes())
    write_bytes(folder / f"{MODEL_FILE}.mtl", b"newmtl material_0\nKd 1 1 1\nmap_Kd texture_map.png\n")
    write_bytes(folder / MODEL_FILE, to_obj(sequence.solid).encode())


def write_list(path: Path, names: Iterable[str]) -> None:
    """Write ``train.txt`` or ``evaluation.txt``: one ``SEQ/FRAME`` a line."""
    write_text(path, "\n".join(names) + "\n")


def write_truth(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write ``evaluation_xyz.json`` or its kin: a list with an array per frame.

    Args:
        path: File to write.
        frames: Arrays of one shape, a number's is (); in the order of the split's list; consumed one by one.
    """
    with whole(path) as temporary, temporary.open("wb") as file:
        file.write(b"[")
        for number, points in enumerate(frames):
            file.write(b"," if number else b"")
            content = np.ascontiguousarray(points) if points.ndim else points.item()
            file.write(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))
        file.write(b"]")
