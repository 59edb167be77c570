import numpy as np
import pytest
import torch
from torch import Tensor

from handlit.data.synthesis.detector_noise import DetectorNoise, detect, hidden_joints
from handlit.errors import InputError
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.skeleton import BONES

SILENT = {"outliers": 0.0, "swapped": 0.0, "incomplete": 0.0, "silent": 1.0}


@pytest.fixture(scope="module")
def hands() -> tuple[Tensor, Tensor]:
    """Flat hands seen from the front: 2D joints and joints."""
    joints = HandLayer(load_standin()).joints_only(torch.zeros(2000, 45), None, torch.tensor([1.5708, 0.0, 0.0]))
    joints = joints - joints[:, :1] + torch.tensor([0.0, 0, 0.6])
    return 500 * joints[..., :2] / joints[..., 2:] + 200, joints


def noisy(hands: tuple[Tensor, Tensor], **settings: float) -> Tensor:
    noise = DetectorNoise(**{**SILENT, **settings})  # type: ignore[arg-type]
    return detect(*hands, noise, torch.Generator().manual_seed(0))


def box(points: Tensor) -> Tensor:
    return (points.amax(1) - points.amin(1)).amax(1)


def test_without_noise_the_joints_are_the_true_ones(hands: tuple[Tensor, Tensor]) -> None:
    found = noisy(hands, scale=0.0)
    torch.testing.assert_close(found[..., :2], hands[0])
    assert (found[..., 2] == 1).all()


def test_errors_are_as_large_as_stated_and_shared_within_fingers(hands: tuple[Tensor, Tensor]) -> None:
    error = (noisy(hands, scale=0.04)[..., :2] - hands[0]) / box(hands[0])[:, None, None]
    seen = ~hidden_joints(*hands)
    # uniform from 0 to the largest, so a third of its square on average
    assert error[seen].square().mean().sqrt().item() == pytest.approx(0.04 / 3**0.5, rel=0.05)
    together = np.corrcoef(error[..., 0].T.numpy())
    assert together[6, 7] == pytest.approx(0.5, abs=0.08)
    assert together[6, 14] == pytest.approx(0.15, abs=0.08)


def test_joints_go_missing_and_say_so(hands: tuple[Tensor, Tensor]) -> None:
    found = noisy(hands, incomplete=0.5, most_missing=8)
    number = (found[..., 2] == 0).sum(1)
    assert (number > 0).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert number.max() == 8
    assert (found[..., :2][found[..., 2] == 0] == 0).all()


def test_confidence_falls_with_the_error(hands: tuple[Tensor, Tensor]) -> None:
    found = noisy(hands, scale=0.08, silent=0.0)
    error = (found[..., :2] - hands[0]).norm(dim=-1)
    sure, unsure = found[..., 2] > 0.8, found[..., 2] < 0.4
    assert error[sure].mean() < 0.3 * error[unsure].mean()
    assert found[..., 2].min() > 0
    assert found[..., 2].max() <= 1


def test_swapped_fingers_are_neighbours(hands: tuple[Tensor, Tensor]) -> None:
    found = noisy(hands, scale=0.0, swapped=1.0)[..., :2]
    moved = (found - hands[0]).abs().sum(-1) > 1e-3
    assert (moved.sum(1) == 8).all()
    assert not moved[:, :5].any()
    fingers = moved[:, 5:].unflatten(1, (4, 4)).all(-1)
    assert fingers.tolist() == [row for row in fingers.tolist() if row in ([1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1])]


def test_hidden_joints_are_those_behind_a_bone_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    joints = 0.05 * torch.randn(20, 21, 3, generator=generator) + torch.tensor([0.0, 0, 0.6])
    points = 500 * joints[..., :2] / joints[..., 2:]
    expected = np.zeros((20, 21), bool)
    for hand in range(20):
        size_m = (joints[hand, :, :2].amax(0) - joints[hand, :, :2].amin(0)).max().item()
        girth = 0.009 * box(points)[hand].item() / size_m
        for joint in range(21):
            for parent, child in BONES:
                if joint in (parent, child):
                    continue
                a, b, p = (points[hand, i].numpy().astype(float) for i in (parent, child, joint))
                share = float(np.clip((p - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1))
                depth = float((1 - share) * joints[hand, parent, 2] + share * joints[hand, child, 2])
                near = np.linalg.norm(p - a - share * (b - a)) < girth
                expected[hand, joint] |= bool(near and float(joints[hand, joint, 2]) - depth > 0.009)
    assert expected.any()
    np.testing.assert_array_equal(hidden_joints(points, joints).numpy(), expected)


@pytest.mark.parametrize("setting", ["scale", "outliers", "swapped", "incomplete", "silent", "most_missing"])
def test_impossible_noise_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        DetectorNoise(**{setting: -1})
