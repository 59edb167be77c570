"""What handlit knows of a dataset, in one record: choices, recognition, axes and readers derive from it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from handlit.formats.frame_table import FrameTable
from handlit.formats.images import DepthReader, MaskReader
from handlit.formats.scenes import Scenes
from handlit.formats.truth_files import LIST_FILE, TruePoints, read_json_truth
from handlit.geometry.axes import OPENGL_TO_OPENCV
from handlit.reading import read_text
from handlit.skeleton import JOINTS, TipConvention, permutation

#: Camera axes: x right, y down, z forward; or x right, y up, z towards the viewer.
Axes = Literal["opencv", "opengl"]

#: Metres; F-score thresholds of all benchmarks.
F_THRESHOLDS = (0.005, 0.015)
#: Share of the wrists that must be in front of the camera for axes to be those of a file.
IN_FRONT = 0.99


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetFormat:
    """How a dataset lies on disk and which data module reads it.

    Attributes:
        name: Short name, as on the command line.
        title: Name for people.
        page: Official page.
        marks: Files or folders (glob patterns relative to the root), any one of which identifies the dataset.
        data: Class path of its data module.
        settings: Arguments of the data module that follow from the format, e.g. the dataset's version.
        image_folders: Glob pattern of the folders of its images, relative to the root.
        image_suffix: Suffix of its image files; tells formats with the same marks apart.
        splits: Names of its splits, for `read`.
        read: Reads the labels of a split strictly, from the root and the split's name. `verify-data` checks what it
            returns; None for a format that has an inspection of its own.
        tips: Vertices that the labels take as finger tips.
        read_masks: Decodes its segmentation files; a module's own function.
        read_depth: Decodes its depth images, likewise.
    """

    name: str
    title: str
    page: str
    marks: tuple[str, ...]
    data: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    image_folders: str = ""
    image_suffix: str = ""
    splits: tuple[str, ...] = ()
    read: Callable[[Path, str], FrameTable] | None = None
    tips: TipConvention = "manopth"
    read_masks: MaskReader | None = None
    read_depth: DepthReader | None = None

    def is_marked(self, root: Path) -> bool:
        """Whether one of the marks is in a folder."""
        return any(next(root.glob(mark), None) is not None for mark in self.marks)

    def count_images(self, root: Path) -> int:
        """Number of files with the format's suffix in the first folder of images that is not empty."""
        for folder in sorted(root.glob(self.image_folders)) if self.image_folders else []:
            suffixes = [os.path.splitext(name)[1] for name in os.listdir(folder)]
            if suffixes:
                return suffixes.count(self.image_suffix)
        return 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark(DatasetFormat):
    """A dataset whose evaluation split is scored: what is expected of a submission and reported about it.

    Attributes:
        axes: Camera axes of submission and ground truth.
        joint_order: Joint names in the order of submission and ground truth.
        image_size: Width and height of the images, pixels.
        released: Number of images of each split in the official release, by the dataset's name of the split.
        evaluation: Name of the split that is scored.
        error_keys: Official key of each kind of error, e.g. ``"joints_procrustes" -> "xyz_al"``, in the order of
            ``scores.txt``; the keys get the endings ``_mean3d`` and ``_auc3d``.
        scale_joint: Position (submission order) of the joint whose distance to the wrist sets the scale in the
            scale-translation alignment; None where the benchmark has no such alignment.
        read_truth: Reads the public ground truth from the dataset's root or from what holds its files.
        scenes: Opens what lies beside the ground truth, from the root and the images' names.
    """

    axes: Axes
    joint_order: tuple[str, ...]
    image_size: tuple[int, int]
    released: Mapping[str, int]
    evaluation: str = "evaluation"
    error_keys: Mapping[str, str]
    scale_joint: int | None = None
    read_truth: Callable[[Path], TruePoints] = read_json_truth
    scenes: Callable[[Path, Sequence[str]], Scenes] = Scenes

    @property
    def num_samples(self) -> int:
        """Number of images of the official evaluation split."""
        return self.released[self.evaluation]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of ``scores.txt`` in their order."""
        errors = [f"{key}_{ending}" for key in self.error_keys.values() for ending in ("mean3d", "auc3d")]
        scores = [f"{key}_{1000 * t:.0f}" for t in F_THRESHOLDS for key in ("f_score", "f_al_score")]
        return (*errors, *scores)

    def points_to_official(self, points_cam: np.ndarray) -> np.ndarray:
        """(..., 3) points in handlit's camera axes (OpenCV) -> the benchmark's axes; also the way back."""
        return points_cam * np.array(OPENGL_TO_OPENCV if self.axes == "opengl" else (1.0, 1.0, 1.0), points_cam.dtype)

    def joints_to_official(self, joints_cam: np.ndarray) -> np.ndarray:
        """(..., 21, 3) joints in handlit's axes and order -> the benchmark's."""
        return self.points_to_official(joints_cam)[..., permutation(JOINTS, self.joint_order), :]

    def joints_from_official(self, joints: np.ndarray) -> np.ndarray:
        """(..., 21, 3) joints in the benchmark's axes and order -> handlit's."""
        return self.points_to_official(joints)[..., permutation(self.joint_order, JOINTS), :]

    def is_in_front(self, joints: np.ndarray) -> bool:
        """Whether the wrists of (N, 21, 3) joints are in front of the camera in the benchmark's axes and order."""
        wrists = self.points_to_official(joints[:, self.joint_order.index("wrist")])
        return bool((wrists[:, 2] > 0).mean() >= IN_FRONT)

    def count_listed(self, root: Path) -> int | None:
        """Number of images that the list file of the evaluation split names; None without one."""
        path = root / LIST_FILE
        return len(read_text(path).split()) if path.is_file() else None
