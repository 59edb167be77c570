"""What each benchmark expects of a submission and reports about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from handlit.geometry.cameras import OPENGL_TO_OPENCV
from handlit.skeleton import JointOrder, TipConvention, reorder

ProtocolName = Literal["ho3d_v2", "ho3d_v3", "freihand"]
Axes = Literal["opencv", "opengl"]

#: Metres; F-score thresholds of both benchmarks.
F_THRESHOLDS = (0.005, 0.015)


@dataclass(frozen=True)
class Protocol:
    """What a benchmark expects of a submission and reports about it.

    Attributes:
        name: Short name, as on the command line.
        title: Name for people.
        axes: Camera axes of submission and ground truth.
        joint_order: Joint order of submission and ground truth.
        tips: Vertices that the dataset's toolkit takes as finger tips.
        num_samples: Number of images of the official evaluation split.
        error_keys: Official key of each kind of error, e.g. ``"joints_procrustes" -> "xyz_al"``, in the order of
            ``scores.txt``; the keys get the endings ``_mean3d`` and ``_auc3d``.
        scale_joint: Position (submission order) of the joint whose distance to the wrist sets the scale in the
            scale-translation alignment; None where the benchmark has no such alignment.
    """

    name: ProtocolName
    title: str
    axes: Axes
    joint_order: JointOrder
    tips: TipConvention
    num_samples: int
    error_keys: Mapping[str, str]
    scale_joint: int | None = None

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
        return self.points_to_official(joints_cam)[..., reorder("handlit", self.joint_order), :]

    def joints_from_official(self, joints: np.ndarray) -> np.ndarray:
        """(..., 21, 3) joints in the benchmark's axes and order -> handlit's."""
        return self.points_to_official(joints)[..., reorder(self.joint_order, "handlit"), :]


_HO3D_KEYS = {
    "joints": "xyz",
    "joints_procrustes": "xyz_procrustes_al",
    "joints_scale_translation": "xyz_scale_trans_al",
    "vertices": "mesh",
    "vertices_procrustes": "mesh_al",
}
_FREIHAND_KEYS = {
    "joints": "xyz",
    "joints_procrustes": "xyz_al",
    "vertices": "mesh",
    "vertices_procrustes": "mesh_al",
}

PROTOCOLS: dict[ProtocolName, Protocol] = {
    "ho3d_v2": Protocol("ho3d_v2", "HO-3D v2", "opengl", "ho3d", "ho3d", 11_524, _HO3D_KEYS, scale_joint=4),
    "ho3d_v3": Protocol("ho3d_v3", "HO-3D v3", "opengl", "ho3d", "ho3d", 20_137, _HO3D_KEYS, scale_joint=4),
    "freihand": Protocol("freihand", "FreiHAND", "opencv", "freihand", "freihand", 3_960, _FREIHAND_KEYS),
}
