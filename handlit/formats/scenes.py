"""What lies beside the true hands of an evaluation split: image, camera, object."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.formats.images import read_image
from handlit.reading import MAX_TEXT, read_bytes, shown

#: Metres; edges of a hand mesh are about 5 mm. Triangles of another topology join points across the hand.
LONGEST_MEAN_EDGE = 0.012


@dataclass(frozen=True)
class ObjectPose:
    """An object in one image.

    Attributes:
        name: Which object, as `Scenes.object_mesh` takes it.
        rotation: (3, 3) and `translation` (3,), metres: model coordinates to the camera frame (OpenCV axes).
    """

    name: str
    rotation: np.ndarray
    translation: np.ndarray


class Scenes:
    """Looks up what lies beside the ground truth; each answer is None where the files are not there.

    This class knows nothing; a benchmark's own class overrides what its files say.

    Args:
        root: The dataset's root.
        names: Names of the images of the evaluation split, in the order of a submission.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names

    def image_file(self, number: int) -> Path | None:
        """The file of an image, or None."""
        return None

    def image(self, number: int) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, or None where there is no file or it is damaged."""
        path = self.image_file(number)
        try:
            return None if path is None else read_image(path)
        except (FileNotFoundError, InputError):
            return None

    def intrinsics(self, number: int) -> np.ndarray | None:
        """(3, 3) camera of the whole image, pixels, or None."""
        return None

    def has_all_cameras(self) -> bool:
        """Whether the camera of every image is there; a reader that can say so without reading them does."""
        return all(self.intrinsics(number) is not None for number in range(len(self.names)))

    def object_pose(self, number: int) -> ObjectPose | None:
        """Name and pose of the object, or None without one."""
        return None

    def object_mesh(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Vertices (V, 3), metres, and faces (F, 3) of an object, or None."""
        return None


def existing(stem: Path, suffixes: Sequence[str]) -> Path | None:
    """The file with the first of the suffixes that is there, or None."""
    paths = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


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
    """Vertices (V, 3) and triangles (F, 3) of a Wavefront file; polygons are triangulated.

    Raises:
        InputError: The file is no mesh.
    """
    # a second, of the start of every command that knows datasets
    import trimesh

    try:
        # only the text: materials and textures beside the file may be damaged or missing
        text = io.StringIO(read_bytes(path, MAX_TEXT, "a mesh").decode("utf-8-sig", errors="replace"))
        mesh = trimesh.load_mesh(text, file_type="obj", process=False, skip_materials=True)
        vertices, faces = np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64)
        is_mesh = len(faces) > 0 and faces.min() >= 0 and faces.max() < len(vertices)
        is_mesh = is_mesh and np.isfinite(vertices).all()
    except InputError:
        raise
    # a damaged text can make the parser raise nearly anything
    except Exception as error:
        raise InputError(f"{path} is not a mesh in Wavefront's format ({shown(error)}); copy it again") from error
    if not is_mesh:
        raise InputError(f"{path} is not a mesh in Wavefront's format; copy it again")
    return vertices, faces
