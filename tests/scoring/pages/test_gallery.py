import numpy as np
import pytest

from handlit.scoring.official.error_statistics import ErrorStatistics
from handlit.scoring.official.evaluation import Evaluation
from handlit.scoring.pages.gallery import SIDE, choose_frames, crop_to_hand


def evaluation(errors: list[float]) -> Evaluation:
    statistics = ErrorStatistics(1)
    statistics.add(np.array(errors)[:, None])
    return Evaluation({}, {}, {"joints_root": statistics}, {})


def test_the_worst_come_from_different_sequences() -> None:
    names = [f"S{i // 4}/{i:04d}" for i in range(12)]
    errors = [9.0, 8, 7, 1, 6, 2, 2, 2, 5, 3, 3, 3]
    frames = choose_frames(evaluation(errors), names, per_kind=3)
    assert [number for number, title in frames.items() if title == "worst"] == [0, 4, 8]
    median = [number for number, title in frames.items() if title == "median"]
    assert {errors[number] for number in median} <= {3.0, 2.0}
    # one sequence: the worst are simply the worst
    frames = choose_frames(evaluation(errors), ["S/0"] * 12, per_kind=3)
    assert [number for number, title in frames.items() if title == "worst"] == [0, 1, 2]


def test_fewer_frames_than_pictures_are_all_shown_once() -> None:
    frames = choose_frames(evaluation([1.0, 3.0]), ["S/0", "S/1"], per_kind=5)
    assert frames == {1: "worst", 0: "worst"}


@pytest.mark.parametrize("spread", [0.02, 0.08])
def test_the_crop_and_its_camera_agree(spread: float) -> None:
    """A mark painted where a joint is seen lies in the crop where the crop's camera sees the joint."""
    camera = np.array([[600.0, 0, 320], [0, 610, 240], [0, 0, 1]])
    rng = np.random.default_rng(0)
    joints = np.array([0.05, -0.03, 0.6]) + rng.uniform(-spread, spread, (21, 3))
    places = joints @ camera.T
    places = places[:, :2] / places[:, 2:]
    for joint, place in zip(joints, places, strict=True):
        v, u = np.mgrid[:480, :640]
        # a soft spot: its centre of mass keeps fractions of pixels
        spot = 255 * np.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / (2 * 3.0**2))
        crop, crop_camera = crop_to_hand(np.repeat(spot[..., None], 3, axis=2).astype(np.uint8), camera, joints)
        assert crop.shape == (SIDE, SIDE, 3)
        weight = np.where(crop[..., 0] > 20, crop[..., 0].astype(float), 0)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        seen = crop_camera @ joint
        np.testing.assert_allclose(centre, seen[:2] / seen[2], atol=0.25)
