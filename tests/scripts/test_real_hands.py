import numpy as np
import pytest
import torch
from torch import Tensor

from handlit.hand.articulation import named_poses
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from scripts.benchmarks.real_hands import Detections, report, states_right, tip_distance_mm


def posed(name: str) -> Tensor:
    pose = torch.from_numpy(named_poses()[name]).float()[None]
    return HandLayer(load_standin()).joints_only(pose)


def test_postures_have_the_states_of_their_digits() -> None:
    assert states_right(posed("point"), 1).all()
    assert states_right(posed("victory"), 2).all()
    assert states_right(posed("flat"), 5).all()
    assert not states_right(posed("fist"), 5).any()
    assert states_right(posed("point"), 5)[0].tolist() == [True, False, False, False]
    # the finger that the thumb touches is left out
    assert states_right(posed("flat"), 7).shape == (1, 3)


@pytest.mark.parametrize(("digit", "tip"), [(6, 20), (7, 16), (8, 12), (9, 8)])
def test_the_tips_that_touch(digit: int, tip: int) -> None:
    joints = torch.randn(21, 3, generator=torch.Generator().manual_seed(0))
    assert tip_distance_mm(joints, digit).item() == pytest.approx(1000 * (joints[4] - joints[tip]).norm().item())


def test_the_report_counts() -> None:
    points = torch.cat([posed("point"), posed("fist"), posed("pinch")])
    found = Detections(
        np.array([1, 1, 9]), np.array([True, True, False]), np.zeros((3, 21, 2)), np.ones((3, 21)),
        np.zeros((3, 3, 3)), np.array(["a.jpg"]),
    )  # fmt: skip
    drawn = points[:, None].expand(-1, 5, -1, -1)
    text = report(found, points, drawn, np.array([0.01, 0.02, 0.03]))
    assert "| 1 | 2 | 87.5 % |" in text
    assert "3 of 4 photographs with a hand, 66.67 %" in text
    assert "median 2.00 % of the box" in text
