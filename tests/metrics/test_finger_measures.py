from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from handlit.hand.articulation import named_poses
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.metrics.finger_measures import FINGER_MEASURES, finger_bend_deg, meets_touch, tip_distances_mm
from handlit.metrics.measure import Drawn
from handlit.skeleton import FINGER_STATES
from handlit.types import HandBatch
from tests.metrics.test_hypotheses import case

#: Of the stand-in hand's postures, how index to pinky are.
POSTURES: dict[str, tuple[str | None, ...]] = {
    "flat": ("stretched", "stretched", "stretched", "stretched"),
    "fist": ("bent", "bent", "bent", "bent"),
    "point": ("stretched", "bent", "bent", "bent"),
    "victory": ("stretched", "stretched", "bent", "bent"),
}


def posed(*names: str) -> Tensor:
    pose = torch.stack([torch.from_numpy(named_poses()[name]).float() for name in names])
    return HandLayer(load_standin()).joints_only(pose)


def drawn_case(joints: Tensor, fingers: list[tuple[str | None, ...]], drawn: Tensor | None = None) -> Drawn:
    """Point estimates (N, 21, 3) with known states of index to pinky, and hypotheses (N, S, 21, 3)."""
    prediction, batch = case(images=len(joints), count=2)
    codes = [[-1, *(FINGER_STATES.get(word or "", -1) for word in states)] for states in fingers]
    batch.fingers = torch.tensor(codes, dtype=torch.int8)
    batch.valid["fingers"] = batch.fingers.amax(1) >= 0
    drawn = joints[:, None].expand(-1, 5, -1, -1) if drawn is None else drawn
    nothing = torch.zeros(len(joints), drawn.shape[1])
    return Drawn(
        replace(prediction, joints_root=joints), batch, drawn, drawn[..., :2], nothing, torch.zeros(len(joints), 778, 3)
    )


def value(key: str, drawn: Drawn) -> list[float]:
    (measure,) = [measure for measure in FINGER_MEASURES if measure.key == key]
    found: list[float] = measure.function(drawn).tolist()
    return found


def test_a_bend_is_the_sum_of_two_angles() -> None:
    joints = torch.zeros(21, 3)
    joints[5:9] = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1 - 0.5**0.5, 1 + 0.5**0.5, 0]])
    joints[9:21] = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]).repeat(3, 1)
    torch.testing.assert_close(finger_bend_deg(joints), torch.tensor([135.0, 0, 0, 0]), atol=0.1, rtol=0)


def test_states_of_postures_are_right_and_those_of_others_wrong() -> None:
    joints, states = posed(*POSTURES), list(POSTURES.values())
    assert value("finger_states", drawn_case(joints, states)) == [1, 1, 1, 1]
    # a flat hand's states against a pointing one's: one of four
    assert value("finger_states", drawn_case(posed("flat", "flat"), [POSTURES["point"], POSTURES["fist"]])) == [0.25, 0]


def test_fingers_of_which_nothing_is_known_do_not_count() -> None:
    wrong = drawn_case(posed("flat"), [("stretched", None, "touching", "bent")])
    assert value("finger_states", wrong) == [0.5]
    assert np.isnan(value("finger_states", drawn_case(posed("flat"), [(None, None, "touching", None)]))[0])
    assert np.isnan(value("touch_mm", drawn_case(posed("flat"), [("bent", None, None, None)]))[0])


@pytest.mark.parametrize(("finger", "tip"), [(0, 8), (1, 12), (2, 16), (3, 20)])
def test_the_tips_that_touch(finger: int, tip: int) -> None:
    torch.manual_seed(0)
    joints = torch.randn(1, 21, 3)
    states = [None] * 4
    states[finger] = "touching"  # type: ignore[call-overload]
    expected = 1000 * (joints[0, 4] - joints[0, tip]).norm().item()
    assert value("touch_mm", drawn_case(joints, [tuple(states)])) == [pytest.approx(expected)]
    assert tip_distances_mm(joints)[0, finger].item() == pytest.approx(expected)


def test_intervals_of_distances_meet_5_to_20_millimetres_or_not() -> None:
    """Of 101 distances from low to high the central 90 % are from low + 5 to high - 5."""
    distances = torch.arange(101.0)[None, :, None] + torch.tensor([-90.5, -89.5, 14.5, 15.5])
    assert meets_touch(distances)[0].tolist() == [False, True, True, False]
    tips = torch.zeros(1, 101, 21, 3)
    tips[0, :, 8, 0] = torch.linspace(0.01, 0.03, 101)
    drawn = drawn_case(posed("flat"), [("touching", None, None, None)], tips)
    assert value("touch_met", drawn) == [1]
    assert value("touch_width_mm", drawn) == [pytest.approx(18, abs=1e-3)]


def test_spreads_are_of_bent_and_of_stretched_fingers() -> None:
    """The index finger bends in half of the hypotheses, the others do not."""
    straight = posed("flat")[0]
    bent = straight.clone()
    bent[5:9] = posed("fist")[0, 5:9]
    drawn = torch.stack([straight, bent])[None]
    angles = finger_bend_deg(drawn)[0, :, 0]
    found = drawn_case(straight[None], [("bent", "stretched", "stretched", "stretched")], drawn)
    assert value("bend_spread_bent_deg", found) == [pytest.approx(angles.std().item(), rel=1e-4)]
    assert value("bend_spread_stretched_deg", found) == [0]


def test_distances_in_the_image_are_shares_of_the_box_of_known_joints() -> None:
    def moved(batch: HandBatch, drawn: Drawn) -> Drawn:
        return replace(
            drawn, prediction=replace(drawn.prediction, joints_2d=batch.joints_2d + torch.tensor([3.0, 4.0]))
        )

    drawn = drawn_case(posed("flat"), [("stretched",) * 4])
    batch = drawn.batch
    batch.joints_2d = torch.zeros(1, 21, 2)
    batch.joints_2d[0, 1] = torch.tensor([50.0, 20.0])
    batch.confidence, batch.valid["confidence"] = torch.ones(1, 21), torch.tensor([True])
    assert value("error_mode_box", moved(batch, drawn)) == [pytest.approx(5 / 50)]
    # a joint that nothing is known of is in no box, and no error
    batch.joints_2d[0, 2] = torch.tensor([900.0, 900.0])
    batch.confidence[0, 2] = 0
    assert value("error_mode_box", moved(batch, drawn)) == [pytest.approx(5 / 50)]
