"""Everything that is measured of a method's hypotheses, joint by joint and image by image, as one table.

All means, splits (visible, occluded, by joint) and bootstrap intervals are taken from the table afterwards, so that
each is exact whatever the batches and processes were, and no hypothesis is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from handlit.geometry.alignment import bone_relative
from handlit.metrics.calibration import crps, energy_score, gaussian_nll, radial_rank
from handlit.metrics.diversity import best_of, deviation, distances, mhentropy_measures
from handlit.metrics.functional import MILLIMETRES_PER_METRE, mean_point_error_mm
from handlit.types import HandBatch, HandPrediction, Hypotheses

#: Hypotheses whose best one is reported.
COUNTS = (1, 10, 50, 200)
#: Side of the crop that MHEntropy's pixels refer to.
PUBLISHED_CROP = 256

#: Measures of every joint, with the wrist at the origin.
JOINT_COLUMNS = (
    "error_mode_mm",
    "error_mean_mm",
    "error_average_mm",
    "error_mode_px",
    "error_average_px",
    "spread_mm",
    "spread_px",
    "scale_mm",
    "crps_mm",
    "energy_mm",
    "nll_nats",
    "rank",
)
_UNCERTAIN = {"spread_mm", "scale_mm", "crps_mm", "energy_mm", "nll_nats", "rank"}
_PUBLISHED = (
    "mpjpe_best_mm",
    "mpjpe_best_visible_mm",
    "mpjpe_best_occluded_mm",
    "ah_px",
    "pjd_2d_visible_px",
    "pjd_3d_occluded_mm",
)


def image_columns(counts: Sequence[int] = COUNTS) -> tuple[str, ...]:
    """Names of the measures of a whole image."""
    best = [f"{points}_best_of_{count}_mm" for points in ("mpjpe", "mpvpe") for count in counts]
    return (*best, "mpvpe_mode_mm", "mpvpe_mean_mm", *(f"published_{name}" for name in _PUBLISHED))


@dataclass
class HypothesisColumns:
    """Measures of a batch.

    Attributes:
        joints: By name of `JOINT_COLUMNS`, (B, 21); NaN where labels are missing, and for what is uncertain in space of
            the wrist, which is at the origin by definition.
        images: By name of `image_columns`, (B,); NaN where labels are missing.
    """

    joints: dict[str, Tensor]
    images: dict[str, Tensor]


def measure(
    prediction: HandPrediction,
    batch: HandBatch,
    num_hypotheses: int = 200,
    temperature: float = 1.0,
    counts: Sequence[int] = COUNTS,
    chunk: int = 50,
) -> HypothesisColumns:
    """Draw hypotheses for a batch and measure them.

    Meshes are drawn in chunks: of them only running sums and errors are kept.

    Args:
        prediction: A method's answer for the batch.
        batch: Labels.
        num_hypotheses: S.
        temperature: See `HandDistribution.hypotheses`.
        counts: N of the best-of-N errors; those above S stay NaN.
        chunk: Hypotheses whose meshes are held at once.
    """
    true_vertices = batch.vertices_cam - batch.root_cam[:, None]
    joints, points_2d, mesh_errors = [], [], []
    mesh_sum = torch.zeros_like(true_vertices)
    for first in range(0, num_hypotheses, chunk):
        size = min(chunk, num_hypotheses - first)
        drawn: Hypotheses = prediction.distribution.hypotheses(size, temperature, vertices=True)
        assert drawn.vertices_root is not None
        joints.append(drawn.joints_root)
        points_2d.append(drawn.joints_2d)
        mesh_errors.append(distances(drawn.vertices_root, true_vertices).mean(-1) * MILLIMETRES_PER_METRE)
        mesh_sum += drawn.vertices_root.sum(1)
    hypotheses = torch.cat(joints, dim=1)
    columns = _measure_joints(prediction, batch, hypotheses, torch.cat(points_2d, dim=1))

    images = {name: torch.full_like(batch.root_cam[:, 0], torch.nan) for name in image_columns(counts)}
    true_joints = batch.joints_cam - batch.joints_cam[:, :1]
    joint_errors = distances(hypotheses, true_joints).mean(-1) * MILLIMETRES_PER_METRE
    for name, errors in (("mpjpe", joint_errors), ("mpvpe", torch.cat(mesh_errors, dim=1))):
        for count, best in best_of(errors, counts).items():
            images[f"{name}_best_of_{count}_mm"] = best
    images["mpvpe_mode_mm"] = mean_point_error_mm(prediction.vertices_root, true_vertices)
    images["mpvpe_mean_mm"] = mean_point_error_mm(mesh_sum / num_hypotheses, true_vertices)
    images |= _published(batch, hypotheses, torch.cat(points_2d, dim=1))

    no_joints, no_mesh = ~batch.valid["joints_cam"], ~(batch.valid["vertices_cam"] & batch.valid["root_cam"])
    images = {
        name: values.masked_fill(no_mesh if name.startswith("mpvpe") else no_joints, torch.nan)
        for name, values in images.items()
    }
    return HypothesisColumns({name: _known(name, values, batch) for name, values in columns.items()}, images)


def _measure_joints(
    prediction: HandPrediction, batch: HandBatch, hypotheses: Tensor, points_2d: Tensor
) -> dict[str, Tensor]:
    """Columns of `JOINT_COLUMNS` from hypotheses (B, S, 21, 3), metres, and (B, S, 21, 2), pixels."""
    to_mm = MILLIMETRES_PER_METRE
    drawn, true = hypotheses * to_mm, (batch.joints_cam - batch.joints_cam[:, :1]) * to_mm
    mode, scale = prediction.joints_root * to_mm, prediction.joint_scale * to_mm
    mean = drawn.mean(1)
    return {
        "error_mode_mm": (mode - true).norm(dim=-1),
        "error_mean_mm": (mean - true).norm(dim=-1),
        "error_average_mm": distances(drawn, true).mean(1),
        "error_mode_px": (prediction.joints_2d - batch.joints_2d).norm(dim=-1),
        "error_average_px": distances(points_2d, batch.joints_2d).mean(1),
        "spread_mm": deviation(drawn),
        "spread_px": deviation(points_2d),
        "scale_mm": scale.square().sum(-1).sqrt(),
        "crps_mm": crps(drawn, true).mean(-1),
        "energy_mm": energy_score(drawn, true),
        "nll_nats": gaussian_nll(mean, scale, true),
        "rank": radial_rank(drawn, true),
    }


def _known(name: str, values: Tensor, batch: HandBatch) -> Tensor:
    """Measures of joints whose truth is known; nothing is uncertain about a wrist at the origin."""
    label = "joints_2d" if name.endswith("_px") else "joints_cam"
    values = values.masked_fill(~batch.valid[label][:, None], torch.nan)
    if name in _UNCERTAIN:
        values[:, 0] = torch.nan
    return values


def _published(batch: HandBatch, hypotheses: Tensor, points_2d: Tensor) -> dict[str, Tensor]:
    """MHEntropy's measures as published, in pixels of a 256-pixel crop; NaN where visibility is not known."""
    pose, _ = bone_relative(hypotheses)
    true_pose, length = bone_relative(batch.joints_cam)
    zoom = PUBLISHED_CROP / batch.image.shape[-1]
    measures = mhentropy_measures(
        pose, points_2d * zoom, true_pose, batch.joints_2d * zoom, length * MILLIMETRES_PER_METRE, batch.visible
    )
    unknown = ~batch.valid["visible"]
    for name in set(_PUBLISHED) - {"mpjpe_best_mm"}:
        measures[name] = measures[name].masked_fill(unknown, torch.nan)
    return {f"published_{name}": measures[name] for name in _PUBLISHED}


class HypothesisTable(Metric):
    """Collects `measure` of every image; whole and in dataset order for any batching and number of processes.

    Args:
        counts: N of the best-of-N errors.
    """

    is_differentiable = False
    full_state_update = False

    index: list[Tensor]
    joints: list[Tensor]
    images: list[Tensor]
    visible: list[Tensor]

    def __init__(self, counts: Sequence[int] = COUNTS) -> None:
        super().__init__()
        self.image_names = image_columns(counts)
        for state in ("index", "joints", "images", "visible"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, columns: HypothesisColumns, batch: HandBatch) -> None:
        """Add a batch.

        Args:
            columns: Its measures.
            batch: Its labels and indices.
        """
        unknown = ~batch.valid["visible"][:, None]
        self.index.append(batch.index)
        self.joints.append(torch.stack([columns.joints[name].float() for name in JOINT_COLUMNS], dim=-1))
        self.images.append(torch.stack([columns.images[name].float() for name in self.image_names], dim=-1))
        self.visible.append(batch.visible.to(torch.int8).masked_fill(unknown, -1))

    def compute(self) -> dict[str, Tensor]:
        """Columns of all images in the order of their indices, each image once.

        Returns:
            ``index`` (N,), ``visible`` (N, 21) int8 (1 seen, 0 hidden, -1 not known), every name of `JOINT_COLUMNS`
            (N, 21) and every name of `image_columns` (N,).
        """
        index, joints, images, visible = (
            _whole(state) for state in (self.index, self.joints, self.images, self.visible)
        )
        order = index.argsort(stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = index[order][1:] != index[order][:-1]
        rows = order[first]
        columns = {name: joints[rows, :, place] for place, name in enumerate(JOINT_COLUMNS)}
        columns |= {name: images[rows, place] for place, name in enumerate(self.image_names)}
        return {"index": index[rows], "visible": visible[rows], **columns}


def _whole(state: list[Tensor] | Tensor) -> Tensor:
    """A list state as one tensor; torchmetrics hands over one tensor after gathering it from the processes."""
    return state if isinstance(state, Tensor) else torch.cat(state)
