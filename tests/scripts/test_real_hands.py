import numpy as np
import pytest
import torch

from handlit.hand.articulation import named_poses
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from scripts.benchmarks.real_hands import Detections, finger_bend_deg, report, states_right, tip_distance_mm


def posed(name: str) -> np.ndarray:
    pose = torch.from_numpy(named_poses()[name]).float()[None]
    return HandLayer(load_standin()).joints_only(pose).numpy()


def test_postures_have_the_states_of_their_digits() -> None:
    assert states_right(posed("point"), 1).all()
    assert states_right(posed("victory"), 2).all()
    assert states_right(posed("flat"), 5).all()
    assert not states_right(posed("fist"), 5).any()
    assert states_right(posed("point"), 5)[0].tolist() == [True, False, False, False]
    # the finger that the thumb touches is left out
    assert states_right(posed("flat"), 7).shape == (1, 3)


def test_a_bend_is_the_sum_of_two_angles() -> None:
    joints = np.zeros((21, 3))
    joints[5:9] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1 - 0.5**0.5, 1 + 0.5**0.5, 0]]
    joints[9:21] = np.tile([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]], (3, 1))
    np.testing.assert_allclose(finger_bend_deg(joints), [135, 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize(("digit", "tip"), [(6, 20), (7, 16), (8, 12), (9, 8)])
def test_the_tips_that_touch(digit: int, tip: int) -> None:
    joints = np.random.default_rng(0).normal(size=(21, 3))
    assert tip_distance_mm(joints, digit) == pytest.approx(1000 * np.linalg.norm(joints[4] - joints[tip]))


def test_the_report_counts() -> None:
    points = np.concatenate([posed("point"), posed("fist"), posed("pinch")])
    found = Detections(
        np.array([1, 1, 9]), np.array([True, True, False]), np.zeros((3, 21, 2)), np.ones((3, 21)),
        np.zeros((3, 3, 3)), np.array(["a.jpg"]),
    )  # fmt: skip
    drawn = np.repeat(points[:, None], 5, 1)
    text = report(found, points, drawn, np.array([0.01, 0.02, 0.03]))
    assert "| 1 | 2 | 87.5 % |" in text
    assert "3 of 4 photographs with a hand, 66.67 %" in text
    assert "median 2.00 % of the box" in text
