"""Two measures that are no part of handlit: name this module before a command by ``--import``."""

from torch import Tensor

from handlit.metrics.diversity import distances
from handlit.metrics.functional import point_distance_mm
from handlit.metrics.measure import Drawn, DrawnMeasure, PointMeasure
from handlit.metrics.registry import register


def worst_joint_mm(predicted: Tensor, target: Tensor) -> Tensor:
    """Largest distance of a joint: (B, 21, 3) and (B, 21, 3) metres to (B,) millimetres."""
    return point_distance_mm(predicted, target).amax(-1)


def worst_joint_of_hypotheses_mm(drawn: Drawn) -> Tensor:
    """The same for every hypothesis, averaged over them: (B,) millimetres."""
    return distances(drawn.joints_mm, drawn.true_joints_mm).amax(-1).mean(1)


WORST_JOINT = register(
    PointMeasure(
        "worst_joint_mm",
        "worst joint",
        "largest distance of a joint, wrist on wrist",
        title="Worst joint of the point estimate",
        points="joints",
        function=worst_joint_mm,
    )
)
WORST_JOINT_OF_HYPOTHESES = register(
    DrawnMeasure(
        "worst_joint_average_mm",
        "worst joint, average",
        "largest distance of a joint, averaged over hypotheses",
        title="Worst joint averaged over hypotheses",
        of_joints=False,
        logged=True,
        function=worst_joint_of_hypotheses_mm,
    )
)
