"""What a measure is: the one record that `test`, `compare`, `score`, sweeps, logs and the documentation read.

Whoever adds a measure writes one such record and registers it (`handlit.metrics.registry`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from handlit.geometry.bone_relative import bone_relative
from handlit.metrics.diversity import distances, mhentropy_measures
from handlit.metrics.functional import MILLIMETRES_PER_METRE
from handlit.types import HandBatch, HandPrediction

#: Characters of a short name: with its unit, its target and three columns of numbers a row fits 80 columns.
LONGEST_SHORT_NAME = 25
#: Side of the crop that MHEntropy's pixels refer to.
PUBLISHED_CROP = 256
_UNITS = ("mm", "px", "nats")
#: Columns of the table of hypotheses: (N, 21) for joints, (N,) for whole images.
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Measure:
    """What every table, log and page needs to know about a measure.

    Attributes:
        key: Name in files and logs; what is no share has its unit at the end, e.g. ``"crps_mm"``.
        short: Name in tables for the console, at most `LONGEST_SHORT_NAME` characters.
        explanation: The definition, for ``--explain`` and the documentation.
        title: Name in pages; the short one by default.
        unit: "mm", "cm", "px", "px/mm", "nats", or "" for a share or a ratio; by default what the key ends in.
        target: What is good: ``"low"``, ``"high"``, the nominal value of a share, or None where neither is.
        reference: Where it is defined or first used: DOI, arXiv number or repository.
        logged: Whether fit (``val/KEY``) or test (``test/KEY``) log it, so that sweeps can search by it.
    """

    key: str
    short: str
    explanation: str
    _: KW_ONLY
    title: str = ""
    unit: str = ""
    target: Literal["low", "high"] | float | None = "low"
    reference: str = ""
    logged: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.short) <= LONGEST_SHORT_NAME:
            raise ValueError(
                f"the short name of {self.key} must have 1 to {LONGEST_SHORT_NAME} characters, to fit tables of 80 "
                f"columns: '{self.short}' has {len(self.short)}"
            )
        ending = self.key.rpartition("_")[2]
        object.__setattr__(self, "unit", self.unit or (ending if ending in _UNITS else ""))
        object.__setattr__(self, "title", self.title or self.short)

    @property
    def goal(self) -> str:
        """What is good, as a sign: an arrow, a nominal value, or nothing."""
        if isinstance(self.target, float):
            return f"{self.target:.2f}"
        return {"low": "↓", "high": "↑", None: ""}[self.target]

    @property
    def digits(self) -> int:
        """Digits after the point that tables show."""
        return 2 if self.unit in ("mm", "cm", "px") else 3


@dataclass(frozen=True, kw_only=True)
class PointMeasure(Measure):
    """An error of the point estimate, averaged over images; fit logs it for validation, test for the test split.

    Attributes:
        points: Which points it is of; both have the wrist at the origin.
        function: (B, N, 3) predicted and (B, N, 3) true points, metres, to (B,).
    """

    points: Literal["joints", "vertices"]
    function: Callable[[Tensor, Tensor], Tensor]
    logged: bool = True


@dataclass(frozen=True)
class Drawn:
    """A method's answer for a batch and hypotheses drawn from it: what measures of hypotheses are functions of.

    Attributes:
        prediction: The answer.
        batch: The labels.
        joints_root: (B, S, 21, 3) metres, wrist at the origin.
        joints_2d: (B, S, 21, 2) crop pixels.
        mesh_errors_mm: (B, S) mean distance of each hypothesis's vertices from the true ones. The meshes themselves are
            not kept.
        mean_mesh_root: (B, 778, 3) mean over the hypotheses, metres, wrist at the origin.
        temperature: At which they were drawn.
    """

    prediction: HandPrediction
    batch: HandBatch
    joints_root: Tensor
    joints_2d: Tensor
    mesh_errors_mm: Tensor
    mean_mesh_root: Tensor
    temperature: float = 1.0

    @cached_property
    def joints_mm(self) -> Tensor:
        """(B, S, 21, 3) hypotheses, millimetres, wrist at the origin."""
        return self.joints_root * MILLIMETRES_PER_METRE

    @cached_property
    def true_joints_mm(self) -> Tensor:
        """(B, 21, 3) millimetres, wrist at the origin."""
        return (self.batch.joints_cam - self.batch.joints_cam[:, :1]) * MILLIMETRES_PER_METRE

    @cached_property
    def scale_mm(self) -> Tensor:
        """(B, 21, 3) stated standard deviation per coordinate, millimetres."""
        return self.prediction.joint_scale * MILLIMETRES_PER_METRE

    @cached_property
    def ordered_joints_mm(self) -> Tensor:
        """(B, S, 21, 3) the same, each coordinate by itself in rising order over S."""
        joints = self.joints_mm
        if joints.device.type != "cpu":
            return joints.sort(dim=1).values
        # NumPy sorts short rows ten times as fast as torch on a processor
        return torch.from_numpy(np.sort(joints.detach().numpy(), axis=1))

    @cached_property
    def joint_distances_mm(self) -> Tensor:
        """(B, S, 21) distance of each hypothesis's joints from the true ones."""
        return distances(self.joints_mm, self.true_joints_mm)

    @cached_property
    def joint_errors_mm(self) -> Tensor:
        """(B, S) mean distance of each hypothesis's joints from the true ones."""
        return self.joint_distances_mm.mean(-1)

    @cached_property
    def true_mesh_root(self) -> Tensor:
        """(B, 778, 3) metres, wrist at the origin."""
        return self.batch.vertices_cam - self.batch.root_cam[:, None]

    @cached_property
    def published(self) -> dict[str, Tensor]:
        """MHEntropy's measures as published, (B,) each, in pixels of a 256-pixel crop."""
        pose, _ = bone_relative(self.joints_root)
        true_pose, length = bone_relative(self.batch.joints_cam)
        zoom = PUBLISHED_CROP / self.batch.image.shape[-1]
        points, true_points = self.joints_2d * zoom, self.batch.joints_2d * zoom
        return mhentropy_measures(
            pose, points, true_pose, true_points, length * MILLIMETRES_PER_METRE, self.batch.visible
        )


@dataclass(frozen=True, kw_only=True)
class DrawnMeasure(Measure):
    """A measure of hypotheses that is a column of the table; tables show the mean over images.

    Attributes:
        function: From the hypotheses of a batch to (B, 21), a number for every joint, or (B,), one for every image.
        of_joints: Whether it is one for every joint. Those are shown for all, visible and occluded joints, the mean
            over an image's joints before the mean over images.
        labels: Names of the labels that an image must have; without them the number is NaN.
        uncertain: The wrist, which is the origin, has no such number.
        shown: Whether tables show its mean; some columns are there for other measures.
    """

    function: Callable[[Drawn], Tensor]
    of_joints: bool = True
    labels: tuple[str, ...] = ("joints_cam",)
    uncertain: bool = False
    shown: bool = True


@dataclass(frozen=True, kw_only=True)
class CombinedMeasure(Measure):
    """A function of several means, with a bootstrap interval.

    Attributes:
        columns: Names of the `DrawnMeasure` that it needs, all of joints or all of images.
        parts: From these columns to M arrays of the same shapes, NaN where they are.
        combine: From the parts' means (..., M) to (...,).
    """

    columns: tuple[str, ...]
    parts: Callable[[Columns], Sequence[np.ndarray]]
    combine: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class PooledMeasure(Measure):
    """A number of all images together that is no function of means, and so has no bootstrap interval.

    Attributes:
        columns: Names of the `DrawnMeasure` that it needs.
        function: From these columns, NaN where they have no value or a joint is not of the split, to the number; NaN
            where there is none.
        of_joints: Whether visible and occluded joints are shown apart.
    """

    columns: tuple[str, ...]
    function: Callable[[Columns], float]
    of_joints: bool = True
