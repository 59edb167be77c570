"""HO-3D's objects: the YCB models in ``models/``, and the boxes that they take in the images."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.formats.ho3d_annotations import projected_boxes
from handlit.formats.scenes import read_obj

log = logging.getLogger(__name__)

#: An object's mesh in its folder of ``models/``.
MODEL_FILE = "textured_simple.obj"
#: Frames whose object is projected at a time.
CHUNK = 500


def model_file(root: Path, name: str) -> Path | None:
    """``models/NAME/textured_simple.obj`` of a dataset; None where it is not there."""
    # the name comes from a file: it must stay inside the folder
    path = root / "models" / Path(name).name / MODEL_FILE
    return path if os.path.isfile(path) else None


def model_files(root: Path) -> list[Path]:
    """The models that a dataset has."""
    return sorted(root.glob(f"models/*/{MODEL_FILE}"))


def object_boxes(root: Path, table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Boxes around the held objects as their models' vertices project, as MHEntropy's released code has them.

    Args:
        root: Of the dataset.
        table: ``object_boxes`` of the corners of the objects' 3D boxes, ``object_names``, ``object_pose``,
            ``intrinsics``.

    Returns:
        (N, 4) source pixels; of the corners where a model is not there or damaged.
    """
    import roma
    import torch

    boxes = table["object_boxes"].copy()
    known = ~np.isnan(boxes[:, 0])
    for name in np.unique(table["object_names"][known]).tolist():
        path = model_file(root, name)
        if path is None:
            continue
        try:
            points = _outermost(read_obj(path)[0])
        except InputError as error:
            log.warning("%s; its box in the images is that of the annotated corners", error)
            continue
        rows = np.flatnonzero(known & (table["object_names"] == name))
        for chunk in np.array_split(rows, -(-len(rows) // CHUNK)):
            pose = table["object_pose"][chunk].astype(np.float64)
            turns = roma.rotvec_to_rotmat(torch.from_numpy(pose[:, :3])).numpy()
            moved = points @ turns.transpose(0, 2, 1) + pose[:, None, 3:]
            boxes[chunk] = projected_boxes(moved, table["intrinsics"][chunk])
    return boxes


def _outermost(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull of points (V, 3): in front of a camera no other point decides about the box."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        corners: np.ndarray = points[ConvexHull(points).vertices]
    except QhullError:
        # all in one plane
        return points
    return corners
