"""Measures of several hypotheses against recorded numbers of the published ones and against closed forms."""

import math

import pytest
import torch

from handlit.metrics.diversity import (
    best_of,
    deviation,
    distances,
    joint_mean,
    mhentropy_measures,
    published_mean,
)
from handlit.skeleton import reorder


def wave(count: int, a: float, b: float) -> torch.Tensor:
    return torch.sin(a * torch.arange(count, dtype=torch.float64) + b)


def recorded_case() -> dict[str, torch.Tensor]:
    """The inputs of the recorded numbers, brought from the published joint order to handlit's."""
    order = reorder("rhd", "handlit")
    pose = (wave(756, 0.37, 0.1) + 0.3 * wave(756, 1.71, 0.5)).view(4, 3, 21, 3)
    points = (128 + 60 * wave(504, 0.29, 0.2) + 20 * wave(504, 2.3, 1.0)).view(4, 3, 21, 2)
    true_2d = 0.5 * wave(126, 0.29, 0.2).view(3, 21, 2)
    visible = torch.ones(3, 21, dtype=torch.bool)
    visible[0, 3:9] = False
    visible[1, ::2] = False
    return {
        "pose": pose.transpose(0, 1)[:, :, order],
        "points_2d": points.transpose(0, 1)[:, :, order],
        "true_pose": wave(189, 0.37, 0.1).view(3, 21, 3)[:, order],
        "true_2d": ((true_2d + 1) / 2 * 256)[:, order],
        "length": torch.tensor([30.0, 33.0, 36.0], dtype=torch.float64),
        "visible": visible[:, order],
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mpjpe_best_mm", 12.062),
        ("mpjpe_best_visible_mm", 12.069),
        ("mpjpe_best_occluded_mm", 11.537),
        ("mpjpe_average_visible_mm", 43.982),
        ("pjd_3d_visible_mm", 36.563),
        ("pjd_3d_occluded_mm", 34.765),
        ("pjd_3d_all_mm", 36.504),
        ("worst_visible_px", 114.793434),
        ("ah_px", 77.070152),
        ("best_occluded_px", 19.900040),
        ("best_px", 19.506411),
        ("pjd_2d_visible_px", 64.569450),
        ("pjd_2d_occluded_px", 64.663223),
        ("pjd_2d_all_px", 64.382172),
    ],
)
def test_recorded_numbers_of_the_published_measures(name: str, expected: float) -> None:
    value = published_mean([mhentropy_measures(**recorded_case())[name]])
    assert value == pytest.approx(expected, abs=5.1e-4 if name.endswith("mm") else 1e-4)


def test_an_image_without_joints_of_a_kind_has_no_value() -> None:
    measures = mhentropy_measures(**recorded_case())
    assert [math.isnan(value) for value in measures["pjd_3d_occluded_mm"]] == [False, False, True]
    assert measures["pjd_3d_visible_mm"].isfinite().all()


def test_the_published_mean_depends_on_the_batches() -> None:
    """Last batch as heavy as the others, values of 0 and images without a value left out."""
    nan = float("nan")
    batches = [torch.tensor([1.0, 3.0, nan]), torch.tensor([0.0]), torch.tensor([nan]), torch.tensor([5.0])]
    assert published_mean(batches) == pytest.approx((2 + 5) / 2)
    assert math.isnan(published_mean([torch.tensor([nan])]))


def test_best_of_counts() -> None:
    torch.manual_seed(0)
    hypotheses, target = torch.randn(3, 50, 21, 3), torch.randn(3, 21, 3)
    errors = distances(hypotheses, target).mean(-1)
    best = best_of(errors, [1, 10, 50, 200])
    assert list(best) == [1, 10, 50]
    torch.testing.assert_close(best[1], errors[:, 0])
    torch.testing.assert_close(best[10], errors[:, :10].min(1).values)
    torch.testing.assert_close(best[50], errors.min(1).values)


def test_a_single_hypothesis_is_the_plain_error_and_has_no_spread() -> None:
    hypotheses, target = torch.randn(2, 1, 21, 3), torch.randn(2, 21, 3)
    torch.testing.assert_close(distances(hypotheses, target)[:, 0], (hypotheses[:, 0] - target).norm(dim=-1))
    for kind in ("rms", "geometric"):
        assert deviation(hypotheses, kind).abs().sum() == 0


def test_isotropic_spread_is_its_root_mean_square_in_both_kinds() -> None:
    torch.manual_seed(1)
    hypotheses = 3 * torch.randn(1, 20000, 2, 3)
    for kind in ("rms", "geometric"):
        torch.testing.assert_close(
            deviation(hypotheses, kind),
            torch.full((1, 2), 3 * 3**0.5),
            atol=0.05,
            rtol=0,
        )


def test_only_the_root_mean_square_is_the_same_in_any_axes() -> None:
    torch.manual_seed(2)
    flat = torch.randn(1, 100, 1, 3) * torch.tensor([2.0, 1.0, 0.0])
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    torch.testing.assert_close(deviation(flat @ turn), deviation(flat))
    assert deviation(flat, "geometric").item() == 0
    assert deviation(flat @ turn, "geometric").item() > 0.1


def test_masked_means_of_both_shapes() -> None:
    values = torch.arange(12.0).view(2, 2, 3)
    mask = torch.tensor([[True, False, True], [False, False, True]])
    assert joint_mean(values, mask).tolist() == [[1.0, 4.0], [8.0, 11.0]]
    assert joint_mean(values[:, 0], mask).tolist() == [1.0, 8.0]
