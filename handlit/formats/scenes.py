"""What a dataset's folder knows about the scored images beside the true hands: picture, camera, object."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson

from handlit.errors import InputError
from handlit.formats.ground_truth import INTRINSICS_FILE, GroundTruth
from handlit.geometry.cameras import OPENGL_TO_OPENCV
from handlit.hand.unpickle import restricted_load

#: Height and width, pixels, of images that are not at hand.
IMAGE_SIZES = {"opengl": (480, 640), "opencv": (224, 224)}
#: Metres; edges of a hand mesh are about 5 mm. Triangles of another topology join points across the hand.
LONGEST_MEAN_EDGE = 0.012


@dataclass(frozen=True)
class ObjectPose:
    """An object in one image.

    Attributes:
        name: Its folder in ``models/``.
        rotation: (3, 3) and `translation` (3,), metres: model coordinates to the camera frame (OpenCV axes).
    """

    name: str
    rotation: np.ndarray
    translation: np.ndarray


class Scenes:
    """Looks up what lies beside the ground truth; each answer is None where the files are not there.

    Args:
        truth: Read from a dataset root; a zip archive or bare JSON files know nothing more.
    """

    def __init__(self, truth: GroundTruth) -> None:
        self.truth = truth
        self.root = truth.source if truth.source.is_dir() else truth.source.parent
        self.image_size = IMAGE_SIZES[truth.protocol.axes]

    def image(self, number: int) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, or None."""
        if self._is_ho3d:
            sequence, frame = self.truth.names[number].split("/", 1)
            stem = self.root / "evaluation" / sequence / "rgb" / frame
        else:
            stem = self.root / "evaluation" / "rgb" / self.truth.names[number]
        for suffix in (".jpg", ".png"):
            path = stem.with_name(stem.name + suffix)
            if path.is_file():
                picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
                return None if picture is None else np.ascontiguousarray(picture[..., ::-1])
        return None

    def intrinsics(self, number: int) -> np.ndarray | None:
        """(3, 3) camera of the whole image, pixels, or None."""
        if not self._is_ho3d:
            return None if self._freihand_intrinsics is None else self._freihand_intrinsics[number]
        meta = self._meta(number)
        return None if meta is None else _array(meta, "camMat", (3, 3), self._meta_path(number))

    def has_all_cameras(self) -> bool:
        """Whether the camera of every image is at hand."""
        if not self._is_ho3d:
            return self._freihand_intrinsics is not None
        return all(self._meta_path(number).is_file() for number in range(len(self.truth)))

    def object_pose(self, number: int) -> ObjectPose | None:
        """Name and pose of the object, or None without one."""
        meta = self._meta(number) if self._is_ho3d else None
        if meta is None or meta.get("objName") is None:
            return None
        path, flip = self._meta_path(number), np.array(OPENGL_TO_OPENCV)
        rotation, _ = cv2.Rodrigues(_array(meta, "objRot", (3,), path))
        translation = _array(meta, "objTrans", (3,), path)
        return ObjectPose(str(meta["objName"]), np.diag(flip) @ rotation, flip * translation)

    def object_mesh(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Vertices (V, 3), metres, and faces (F, 3) of ``models/NAME/textured_simple.obj``, or None."""
        # the name comes from a file: it must stay inside the folder
        path = self.root / "models" / Path(name).name / "textured_simple.obj"
        return read_obj(path) if path.is_file() else None

    @property
    def _is_ho3d(self) -> bool:
        return self.truth.protocol.axes == "opengl" and self.truth.sequences is not None

    def _meta_path(self, number: int) -> Path:
        sequence, frame = self.truth.names[number].split("/", 1)
        return self.root / "evaluation" / sequence / "meta" / f"{frame}.pkl"

    def _meta(self, number: int) -> dict[str, Any] | None:
        path = self._meta_path(number)
        meta = restricted_load(path) if path.is_file() else None
        return meta if isinstance(meta, dict) else None

    @cached_property
    def _freihand_intrinsics(self) -> np.ndarray | None:
        path = self.root / INTRINSICS_FILE
        if not path.is_file():
            return None
        try:
            matrices = np.array(orjson.loads(path.read_bytes()), dtype=np.float64)
        except (ValueError, orjson.JSONDecodeError):
            return None
        return matrices if matrices.shape == (len(self.truth), 3, 3) else None


def true_vertices_cam(truth: GroundTruth, frames: np.ndarray | slice) -> np.ndarray:
    """(n, 778, 3) true vertices of some frames in handlit's camera axes, metres."""
    return truth.protocol.points_to_official(truth.vertices[frames])


def faces_fit(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Whether triangles belong to a mesh: whether they join neighbours.

    Args:
        vertices: (V, 3) metres, of one hand.
        faces: (F, 3).
    """
    corners = vertices[faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    return bool(edges.mean() < LONGEST_MEAN_EDGE)


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a Wavefront file; polygons are split into fans, everything else is passed over.

    Raises:
        InputError: The file is no mesh.
    """
    vertices, faces = [], []
    try:
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("v "):
                vertices.append([float(value) for value in line.split()[1:4]])
            elif line.startswith("f "):
                corners = [int(corner.split("/")[0]) for corner in line.split()[1:]]
                corners = [corner - 1 if corner > 0 else len(vertices) + corner for corner in corners]
                faces += [[corners[0], b, c] for b, c in pairwise(corners[1:])]
        points, triangles = np.array(vertices, dtype=np.float64), np.array(faces, dtype=np.int64)
        is_mesh = points.ndim == 2 and points.shape[1] == 3 and triangles.ndim == 2
        is_mesh = is_mesh and triangles.min() >= 0 and triangles.max() < len(points)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is not a mesh in Wavefront's format ({error}); copy it again") from error
    if not is_mesh:
        raise InputError(f"{path} is not a mesh in Wavefront's format; copy it again")
    return points, triangles


def _array(meta: dict[str, Any], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    value = np.asarray(meta.get(name), dtype=np.float64)
    if value.size != np.prod(shape) or not np.isfinite(value).all():
        raise InputError(f"annotation {path}: '{name}' must be {shape} finite numbers, got shape {value.shape}")
    return value.reshape(shape)
