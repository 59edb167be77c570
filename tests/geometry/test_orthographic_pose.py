"""The closed-form orientation against known rotations."""

import pytest
import roma
import torch

from handlit.geometry.orthographic_pose import fit_orthographic_rotation


def scene(count: int = 50) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points, rotations and the rotated points."""
    torch.manual_seed(0)
    points = torch.randn(count, 21, 3, dtype=torch.float64) * torch.tensor([0.08, 0.05, 0.02], dtype=torch.float64)
    rotation = roma.random_rotmat(count, dtype=torch.float64)
    return points, rotation, points @ rotation.mT


def angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(roma.rotmat_geodesic_distance(a, b))


def test_a_parallel_projection_gives_its_rotation_back() -> None:
    points, rotation, turned = scene()
    everywhere = torch.ones(50, 21, dtype=torch.bool)
    fitted = fit_orthographic_rotation(points, 700 * turned[..., :2] + 50, everywhere)
    # the ridge costs a little
    assert angle(fitted, rotation).max() < 2
    torch.testing.assert_close(torch.linalg.det(fitted), torch.ones(50, dtype=torch.float64))


def test_pairs_that_do_not_count_do_not() -> None:
    points, rotation, turned = scene()
    valid = torch.arange(21).expand(50, 21) < 8
    image = 3 * turned[..., :2]
    image[:, 8:] = float("nan")
    fitted = fit_orthographic_rotation(points, image, valid)
    assert angle(fitted, rotation).median() < 2
    alone = fit_orthographic_rotation(points[:, :8], image[:, :8], torch.ones(50, 8, dtype=torch.bool))
    torch.testing.assert_close(fitted, alone)


def test_a_weight_of_two_is_that_of_two_pairs() -> None:
    points, _, turned = scene()
    image = turned[..., :2] + 0.01 * torch.randn(50, 21, 2, dtype=torch.float64)
    weight = torch.ones(50, 21)
    weight[:, 16:] = 2
    twice = fit_orthographic_rotation(
        torch.cat([points, points[:, 16:]], 1), torch.cat([image, image[:, 16:]], 1), torch.ones(50, 26)
    )
    torch.testing.assert_close(fit_orthographic_rotation(points, image, weight / 2), twice)


def test_a_flat_hand_is_told_from_its_back() -> None:
    points, rotation, _ = scene()
    points[..., 2] = 0
    image = (points @ rotation.mT)[..., :2]
    fitted = fit_orthographic_rotation(points, image, torch.ones(50, 21, dtype=torch.bool))
    # a parallel projection of a plane leaves two tilts; both show the same side
    normal, expected = fitted[:, 2, 2], rotation[:, 2, 2]
    slanted = expected.abs() > 0.2
    assert torch.equal(normal[slanted].sign(), expected[slanted].sign())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_pairs_give_finite_numbers(count: int) -> None:
    points, _, turned = scene()
    valid = torch.arange(21).expand(50, 21) < count
    assert fit_orthographic_rotation(points.float(), turned[..., :2].float(), valid).isfinite().all()
    collapsed = torch.zeros(2, 21, 3)
    assert (
        fit_orthographic_rotation(collapsed, collapsed[..., :2], torch.ones(2, 21, dtype=torch.bool)).isfinite().all()
    )
