from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from handlit.errors import InputError
from handlit.reconstruct import ReconstructedHand, Reconstructor
from handlit.reconstruct.hand import MethodFrame
from handlit.reconstruct.reconstructor import LiftedHands
from handlit.types import Hypotheses
from tests.reconstruct.fakes import FakeDetector, FakeLift, detected_hand, picture


@pytest.fixture(params=[False, True], ids=["right", "left"])
def hand(request: pytest.FixtureRequest) -> ReconstructedHand:
    reconstructor = Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector(detected_hand()))
    return reconstructor(picture(mirror=request.param))[0]


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_a_mesh_stands_upright_and_its_faces_point_outwards(
    hand: ReconstructedHand, tmp_path: Path, suffix: str
) -> None:
    hand.save(tmp_path / f"hand.{suffix}")
    mesh: Any = trimesh.load(tmp_path / f"hand.{suffix}", force="mesh", process=False)
    assert mesh.vertices * [1, -1, -1] == pytest.approx(hand.vertices, abs=1e-5)
    assert mesh.faces.tolist() == hand.faces.tolist()
    # of a mesh that is open at the wrist alone the signed volume is above 0
    assert mesh.volume > 1e-5


def test_numbers_are_read_again(hand: ReconstructedHand, tmp_path: Path) -> None:
    hand.save(str(tmp_path / "hand.npz"))
    numbers = np.load(tmp_path / "hand.npz")
    assert numbers["hand"] == hand.side
    assert numbers["joints_root"].tolist() == hand.joints_root.tolist()
    assert numbers["pose"].tolist() == hand.pose.tolist()
    assert numbers["spread_mm"] == pytest.approx(hand.spread_mm)
    assert "weak perspective" in str(numbers["conventions"])


def test_another_suffix_is_refused_and_nothing_written(hand: ReconstructedHand, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.glb, \.ply, \.obj, \.npz, not as '\.stl'"):
        hand.save(tmp_path / "hand.stl")
    assert list(tmp_path.iterdir()) == []


def test_pixels_of_a_crop_go_back_to_the_image() -> None:
    frame = MethodFrame(np.array([[-0.5, 0, 100], [0, 0.5, -20]]), np.eye(3))
    assert frame.mirrored
    assert frame.to_image(np.array([[100.0, -20], [90, 0]])) == pytest.approx(np.array([[0, 0], [20, 40]]))


def test_hypotheses_are_weighed_by_the_detected_joints(hand: ReconstructedHand) -> None:
    to_method = hand._frame.transform
    # the first is where the joints are, the others are a third of the box beside them
    aside = np.array([0.0, 1, 1, -1])[:, None, None] * [np.ptp(hand.joints_2d) / 3, 0]
    points = (hand.joints_2d + aside) @ to_method[:, :2].T + to_method[:, 2]

    def draw(count: int, temperature: float) -> Hypotheses:
        nothing = torch.zeros(1, count, 778, 3)
        return Hypotheses(nothing[:, :, :21], torch.from_numpy(points)[None], nothing)

    drawn = replace(hand, _draw=draw).hypotheses(4, reweighted=True)
    assert drawn.weights == pytest.approx([1, 0, 0, 0], abs=1e-3)
    assert drawn.effective_size == pytest.approx(1, abs=1e-2)
    plain = hand.hypotheses(4)
    assert plain.weights.tolist() == [0.25] * 4
    assert plain.effective_size == 4
    # the same hands either way
    assert hand.hypotheses(4, reweighted=True).joints_root.tolist() == plain.joints_root.tolist()
