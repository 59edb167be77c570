"""Everything that is measured of a method's hypotheses, joint by joint and image by image, as one table.

All means, splits (visible, occluded, by joint) and bootstrap intervals are taken from the table afterwards, so that
each is exact whatever the batches and processes were, and no hypothesis is kept.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from handlit.metrics.diversity import distances
from handlit.metrics.functional import MILLIMETRES_PER_METRE
from handlit.metrics.measure import Drawn, DrawnMeasure
from handlit.metrics.registry import measures
from handlit.types import HandBatch, HandPrediction

#: Hands whose meshes are held at once: few, which stay near the processor, and what keeps an accelerator busy.
_HANDS_ON_CPU, _HANDS_ELSEWHERE = 256, 3200
#: Chunks are multiples of it: random numbers of meshes come in whole blocks of 16, and are the same for any chunk.
_ROUND = 8


def draw(
    prediction: HandPrediction,
    batch: HandBatch,
    num_hypotheses: int = 200,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Drawn:
    """Draw hypotheses for a batch.

    Meshes are drawn in chunks: of them only running sums and errors are kept.

    Args:
        prediction: A method's answer for the batch.
        batch: Labels.
        num_hypotheses: S.
        temperature: See `HandDistribution.hypotheses`.
        chunk: Hypotheses whose meshes are held at once; by default as many as make some hundred hands on a processor,
            which stay in its cache, and some thousand on an accelerator.
    """
    # x, y and z apart in memory, as of what is drawn: distances take less time
    true_vertices = (batch.vertices_cam - batch.root_cam[:, None]).mT.contiguous()
    joints, points_2d, mesh_errors = [], [], []
    mesh_sum = torch.zeros_like(true_vertices)
    if chunk is None:
        hands = _HANDS_ON_CPU if true_vertices.device.type == "cpu" else _HANDS_ELSEWHERE
        chunk = max(hands // (_ROUND * len(batch)), 1) * _ROUND
    for first in range(0, num_hypotheses, chunk):
        size = min(chunk, num_hypotheses - first)
        drawn = prediction.distribution.hypotheses(size, temperature, vertices=True)
        assert drawn.vertices_root is not None
        joints.append(drawn.joints_root)
        points_2d.append(drawn.joints_2d)
        meshes = drawn.vertices_root.transpose(0, 1).mT.contiguous()
        apart = distances(meshes.mT.transpose(0, 1), true_vertices.mT)
        mesh_errors.append(apart.mean(-1) * MILLIMETRES_PER_METRE)
        mesh_sum += meshes.sum(0)
    return Drawn(
        prediction,
        batch,
        torch.cat(joints, dim=1),
        torch.cat(points_2d, dim=1),
        torch.cat(mesh_errors, dim=1),
        mesh_sum.mT / num_hypotheses,
        temperature,
    )


def measure(drawn: Drawn) -> dict[str, Tensor]:
    """All registered measures of a batch's hypotheses.

    Returns:
        By key, (B, 21) for joints and (B,) for whole images, millimetres or pixels as the key says; NaN where a label
        is missing, and for the wrist where the measure is one of uncertainty: the wrist is the origin.
    """
    columns = {}
    for record in measures(DrawnMeasure):
        values = record.function(drawn).float()
        known = torch.stack([drawn.batch.valid[label] for label in record.labels]).all(0)
        values = values.masked_fill(~known.view(-1, *[1] * (values.dim() - 1)), torch.nan)
        if record.uncertain:
            values[:, 0] = torch.nan
        columns[record.key] = values
    return columns


class HypothesisTable(Metric):
    """Collects `measure` of every image; whole and in dataset order for any batching and number of processes."""

    is_differentiable = False
    full_state_update = False

    index: list[Tensor]
    joints: list[Tensor]
    images: list[Tensor]
    visible: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.joint_keys = [record.key for record in measures(DrawnMeasure) if record.of_joints]
        self.image_keys = [record.key for record in measures(DrawnMeasure) if not record.of_joints]
        for state in ("index", "joints", "images", "visible"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, columns: dict[str, Tensor], batch: HandBatch) -> None:
        """Add a batch.

        Args:
            columns: Its measures.
            batch: Its labels and indices.
        """
        unknown = ~batch.valid["visible"][:, None]
        self.index.append(batch.index)
        self.joints.append(torch.stack([columns[key] for key in self.joint_keys], dim=-1))
        self.images.append(torch.stack([columns[key] for key in self.image_keys], dim=-1))
        self.visible.append(batch.visible.to(torch.int8).masked_fill(unknown, -1))

    def compute(self) -> dict[str, Tensor]:
        """Columns of all images in the order of their indices, each image once.

        Returns:
            ``index`` (N,), ``visible`` (N, 21) int8 (1 seen, 0 hidden, -1 not known), and by key the measures of joints
            (N, 21) and of images (N,).
        """
        index, joints, images, visible = (
            _concatenated(state) for state in (self.index, self.joints, self.images, self.visible)
        )
        order = index.argsort(stable=True)
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = index[order][1:] != index[order][:-1]
        rows = order[first]
        columns = {key: joints[rows, :, position] for position, key in enumerate(self.joint_keys)}
        columns |= {key: images[rows, position] for position, key in enumerate(self.image_keys)}
        return {"index": index[rows], "visible": visible[rows], **columns}


def _concatenated(state: list[Tensor] | Tensor) -> Tensor:
    """A list state as one tensor; torchmetrics hands over one tensor after gathering it from the processes."""
    return state if isinstance(state, Tensor) else torch.cat(state)
