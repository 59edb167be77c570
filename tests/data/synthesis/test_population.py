import math

import pytest
import torch

from handlit.data.synthesis import population as module
from handlit.data.synthesis.population import Hands, Population, draw_hands
from handlit.errors import InputError
from handlit.hand.joint_angles import FREE_ANGLES, NUM_FREE


@pytest.fixture(scope="module")
def natural() -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUM_POSES", 500)
        return Population().natural_poses()


def drawn(natural: torch.Tensor, count: int = 4000, **settings: object) -> Hands:
    return draw_hands(Population(**settings), natural, count, torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def test_hands_vary_as_the_population_says(natural: torch.Tensor) -> None:
    hands = drawn(natural, shape=0.5, finger_length=0.03, bone_length=0.04, definition_mm=3.0)
    assert hands.betas.std().item() == pytest.approx(0.5, rel=0.02)
    assert hands.ratios.log().std().item() == pytest.approx(math.hypot(0.03, 0.04), rel=0.03)
    # bones of a finger vary together, those of two fingers do not
    together = torch.corrcoef(hands.ratios.log().T)
    assert together[0, 1].item() == pytest.approx(0.36, abs=0.05)
    assert abs(together[0, 4].item()) < 0.06
    # a source's spread is uniform from 0 to 3 mm
    assert hands.definition[:, 1:].square().mean().sqrt().item() == pytest.approx(0.003 / math.sqrt(3), rel=0.05)
    assert (hands.definition[:, 0] == 0).all()


def test_orientations_are_uniform_over_all_rotations(natural: torch.Tensor) -> None:
    rotation = drawn(natural).rotation
    assert rotation.mean(0).abs().max() < 0.04
    # the trace of a uniform rotation is 1 on average in the square
    assert rotation.diagonal(dim1=1, dim2=2).sum(1).square().mean().item() == pytest.approx(1, abs=0.06)


def test_cameras_lie_in_their_ranges(natural: torch.Tensor) -> None:
    hands = drawn(natural, distance_m=(0.4, 0.5), fov_deg=(50.0, 60.0), assumed_camera=0.25)
    assert 0.4 <= hands.depth.min() < 0.41 < 0.49 < hands.depth.max() <= 0.5
    angle = 2 * torch.rad2deg(torch.atan(0.5 / hands.focal))
    assert 49.9 < angle.min() < 51 < 59 < angle.max() < 60.1
    assert (hands.assumed != 1).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_poses_are_of_three_kinds(natural: torch.Tensor) -> None:
    anywhere = drawn(natural, any_pose=1.0, pressed=0.0).free
    assert anywhere.std(0).sub(4 / math.sqrt(12)).abs().max() < 0.05
    assert anywhere.abs().max() <= 2
    plain = drawn(natural, any_pose=0.0, pressed=0.0).free
    pressed = drawn(natural, any_pose=0.0, pressed=1.0).free
    assert pressed.abs().max() <= 2.6
    moved = (pressed - plain).abs() > 1e-6
    assert moved.float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert plain.shape == (4000, NUM_FREE)


def test_some_fingers_are_held_as_in_another_pose(natural: torch.Tensor) -> None:
    """A finger as a whole, and as often as stated."""
    plain, mixed = (drawn(natural, any_pose=0.0, pressed=0.0, other_fingers=share).free for share in (0.0, 0.3))
    finger = torch.from_numpy(FREE_ANGLES[:, 0] // 3)
    changed = (plain - mixed).abs() > 1e-6
    share = torch.stack([changed[:, finger == i].any(1) for i in range(5)], 1)
    assert share.float().mean().item() == pytest.approx(0.3, abs=0.02)
    # the fingers of a hand change independently of each other
    assert share.all(1).float().mean().item() == pytest.approx(0.3**5, abs=0.005)
    unchanged = ~share[:, finger]
    torch.testing.assert_close(plain[unchanged], mixed[unchanged])


def test_the_same_generator_gives_the_same_hands(natural: torch.Tensor) -> None:
    first, second = drawn(natural, 10), drawn(natural, 10)
    for name, value in vars(first).items():
        torch.testing.assert_close(getattr(second, name), value, rtol=0, atol=0)


def test_postures_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUM_POSES", 200)
    fists, flat = (Population(postures=[name]).natural_poses() for name in ("fist", "flat"))
    assert (fists - flat).abs().mean() > 0.5
    with pytest.raises(InputError, match="a posture must be one of flat, spread"):
        Population(postures=["fits"]).natural_poses()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("any_pose", 1.1),
        ("shape", -1.0),
        ("distance_m", (0.0, 1.0)),
        ("distance_m", (2.0, 1.0)),
        ("fov_deg", (50, 180)),
    ],
)
def test_impossible_populations_are_refused(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=setting):
        Population(**{setting: value})  # type: ignore[arg-type]


def test_by_default_one_finger_of_seven_is_of_another_pose(natural: torch.Tensor) -> None:
    """As in the hands that the package's lifting network has learned from."""
    plain = drawn(natural, any_pose=0.0, pressed=0.0, other_fingers=0.0).free
    mixed = drawn(natural, any_pose=0.0, pressed=0.0).free
    finger = torch.from_numpy(FREE_ANGLES[:, 0] // 3)
    changed = (plain - mixed).abs() > 1e-6
    share = torch.stack([changed[:, finger == i].any(1) for i in range(5)], 1)
    assert share.float().mean().item() == pytest.approx(0.15, abs=0.01)
