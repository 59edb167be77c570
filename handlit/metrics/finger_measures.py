"""Measures of hands of which is known which fingers are stretched and which tip touches the thumb's.

These are truths about photographs of real hands that need no scanner: who shows a digit or a sign has them. Angles and
distances do not depend on the camera, nor on which way a hand faces.
"""

import torch
from torch import Tensor

from handlit.metrics.functional import MILLIMETRES_PER_METRE
from handlit.metrics.measure import Drawn, DrawnMeasure
from handlit.skeleton import FINGER_STATES, FINGERS, JOINTS

#: A finger is stretched if the angles at its two outer joints sum to less.
STRETCHED_BELOW_DEG = 60.0
#: How far apart a hand model's tips are, which lie on the skin or below it, when fingers touch.
TOUCHING_MM = (5.0, 20.0)

_TIPS = [JOINTS.index(f"{finger}_4") for finger in FINGERS]


def finger_bend_deg(joints: Tensor) -> Tensor:
    """Sum of the angles at the two outer joints (..., 4), degrees, of index to pinky of joints (..., 21, 3)."""
    bones = joints[..., 5:, :].unflatten(-2, (4, 4)).diff(dim=-2)
    bones = bones / bones.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    return (bones[..., :-1, :] * bones[..., 1:, :]).sum(-1).clamp(-1, 1).acos().rad2deg().sum(-1)


def tip_distances_mm(joints: Tensor) -> Tensor:
    """Distances (..., 4), mm, of the tips of index to pinky from the thumb's, of joints (..., 21, 3), metres."""
    thumb, *others = _TIPS
    return MILLIMETRES_PER_METRE * (joints[..., others, :] - joints[..., [thumb], :]).norm(dim=-1)


def meets_touch(distances_mm: Tensor) -> Tensor:
    """Whether the central 90 % of hypotheses' distances (..., S, 4) meet those of fingers that touch: (..., 4) bool."""
    low, high = central(distances_mm)
    return (low <= TOUCHING_MM[1]) & (high >= TOUCHING_MM[0])


def central(values: Tensor) -> tuple[Tensor, Tensor]:
    """Ends (..., 4) of the central 90 % of hypotheses' values (..., S, 4)."""
    low, high = values.quantile(torch.tensor([0.05, 0.95], device=values.device, dtype=values.dtype), dim=-2)
    return low, high


def _are(drawn: Drawn, state: str) -> Tensor:
    """(B, 4) bool, which of index to pinky are in a state."""
    return drawn.batch.fingers[:, 1:] == FINGER_STATES[state]


def _mean(values: Tensor, which: Tensor) -> Tensor:
    """Mean (B,) of numbers (B, N) over those that are meant; NaN where none is."""
    return torch.where(which, values, torch.zeros_like(values)).sum(1) / which.sum(1)


def _states(drawn: Drawn) -> Tensor:
    stretched, bent = _are(drawn, "stretched"), _are(drawn, "bent")
    found = finger_bend_deg(drawn.prediction.joints_root) < STRETCHED_BELOW_DEG
    return _mean((found == stretched).float(), stretched | bent)


def _touch(drawn: Drawn) -> Tensor:
    return _mean(tip_distances_mm(drawn.prediction.joints_root), _are(drawn, "touching"))


def _touch_met(drawn: Drawn) -> Tensor:
    return _mean(meets_touch(tip_distances_mm(drawn.joints_root)).float(), _are(drawn, "touching"))


def _touch_width(drawn: Drawn) -> Tensor:
    low, high = central(tip_distances_mm(drawn.joints_root))
    return _mean(high - low, _are(drawn, "touching"))


def _spread(state: str) -> DrawnMeasure:
    def spread(drawn: Drawn) -> Tensor:
        bends = finger_bend_deg(drawn.joints_root)
        apart = bends.std(1) if bends.shape[1] > 1 else torch.full_like(bends[:, 0], torch.nan)
        return _mean(apart, _are(drawn, state))

    return DrawnMeasure(
        f"bend_spread_{state}_deg",
        f"spread of {state}, deg",
        f"standard deviation over the hypotheses of how far a finger that is {state} is bent, degrees: the sum of the "
        "angles at its two outer joints",
        title=f"spread of the bend of {state} fingers, degrees",
        target=None,
        of_joints=False,
        labels=("fingers",),
        function=spread,
    )


def _off_in_box(drawn: Drawn) -> Tensor:
    points, known = drawn.batch.joints_2d, drawn.batch.weight_2d > 0
    far = torch.full_like(points, torch.inf)
    low, high = (torch.where(known[..., None], points, sign * far) for sign in (1, -1))
    side = (high.amax(1) - low.amin(1)).amax(1)
    return _mean((drawn.prediction.joints_2d - points).norm(dim=-1), known) / side


FINGER_MEASURES: tuple[DrawnMeasure, ...] = (
    DrawnMeasure(
        "finger_states",
        "finger states right",
        "share of the fingers but the thumb that are known to be stretched or bent that the point estimate has right: "
        f"stretched if the angles at the two outer joints sum to less than {STRETCHED_BELOW_DEG:.0f}°",
        target="high",
        of_joints=False,
        labels=("fingers",),
        function=_states,
    ),
    DrawnMeasure(
        "touch_mm",
        "tips that touch",
        "distance of the point estimate's tips of thumb and of the finger that touches it; "
        f"{TOUCHING_MM[0]:.0f} to {TOUCHING_MM[1]:.0f} mm where skin touches",
        title="distance of tips that touch",
        of_joints=False,
        labels=("fingers",),
        function=_touch,
    ),
    DrawnMeasure(
        "touch_met",
        "touch in the interval",
        "share of tips that touch of which the central 90 % of the hypotheses' distances meet "
        f"{TOUCHING_MM[0]:.0f} to {TOUCHING_MM[1]:.0f} mm. Rewards a vague method: read it with the width",
        target="high",
        of_joints=False,
        labels=("fingers",),
        function=_touch_met,
    ),
    DrawnMeasure(
        "touch_width_mm",
        "width of that interval",
        "width of the central 90 % of the hypotheses' distances of tips that touch",
        title="width of the interval of tips that touch",
        of_joints=False,
        labels=("fingers",),
        function=_touch_width,
    ),
    _spread("bent"),
    _spread("stretched"),
    DrawnMeasure(
        "error_mode_box",
        "2D error of the box",
        "mean distance of the point estimate's joints from the given ones in the image, over the longer side of the "
        "box around these. Against a detector's joints it says how far two networks agree",
        title="2D error of the point estimate, of the hand's box",
        of_joints=False,
        labels=("joints_2d",),
        function=_off_in_box,
    ),
)
