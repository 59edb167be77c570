from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from handlit.metrics.functional import mean_point_error_mm, point_distance_mm, procrustes_error_mm
from handlit.metrics.measure import PointMeasure
from handlit.metrics.pose import MPJPE, MPVPE, PA_MPJPE, PA_MPVPE, PerImageMean
from tests.processes import ranks


def proper_procrustes_error_mm(predicted: np.ndarray, target: np.ndarray) -> float:
    """One image, Umeyama's closed form in covariance notation (no normalisation of either set)."""
    source, true = predicted - predicted.mean(0), target - target.mean(0)
    left, singular, right = np.linalg.svd(true.T @ source)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    aligned = (np.trace(np.diag(singular) @ sign) / (source**2).sum()) * source @ (left @ sign @ right).T
    return float(1000 * np.linalg.norm(aligned - true, axis=1).mean())


def hands(num_points: int, seed: int = 0, count: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(count, num_points, 3, generator=generator) * 0.05 + torch.tensor([0.0, 0.0, 0.6])
    predicted = target + 0.02 * torch.randn(count, num_points, 3, generator=generator)
    predicted[0] *= torch.tensor([-1.0, 1.0, 1.0])
    return predicted, target


def test_a_known_offset_in_millimetres() -> None:
    target = torch.zeros(2, 21, 3)
    predicted = target + torch.tensor([0.003, 0.0, 0.004])
    torch.testing.assert_close(mean_point_error_mm(predicted, target), torch.tensor([5.0, 5.0], dtype=torch.float64))
    assert point_distance_mm(predicted, target).shape == (2, 21)


def test_functional_against_numpy() -> None:
    predicted, target = hands(21)
    p, t = predicted.double().numpy(), target.double().numpy()
    plain = 1000 * np.linalg.norm(p - t, axis=2).mean(1)
    np.testing.assert_allclose(mean_point_error_mm(predicted, target), plain, rtol=1e-12)
    aligned = [proper_procrustes_error_mm(a, b) for a, b in zip(p, t, strict=True)]
    np.testing.assert_allclose(procrustes_error_mm(predicted, target), aligned, rtol=1e-5)
    mirrored = procrustes_error_mm(predicted, target, reflections=True)
    assert mirrored[0] < 0.8 * aligned[0]
    np.testing.assert_allclose(mirrored[1:], aligned[1:], rtol=1e-5)


@pytest.mark.parametrize(
    ("measure", "num_points", "function"),
    [
        (MPJPE, 21, mean_point_error_mm),
        (PA_MPJPE, 21, procrustes_error_mm),
        (MPVPE, 778, mean_point_error_mm),
        (PA_MPVPE, 778, procrustes_error_mm),
    ],
)
def test_shell_is_the_mean_over_valid_images_for_any_batching(
    measure: PointMeasure, num_points: int, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    predicted, target = hands(num_points)
    valid = torch.tensor([True, True, False, True, True, True, False, True, True, True])
    target[2] = 0
    predicted[6] = float("nan")
    copies = predicted.clone(), target.clone(), valid.clone()
    expected = float(function(predicted[valid], target[valid]).mean())
    metric = PerImageMean(measure)
    for sizes in ([10], [4, 4, 2], [1] * 10):
        for p, t, v in zip(predicted.split(sizes), target.split(sizes), valid.split(sizes), strict=True):
            metric.update(p, t, v)
        assert float(metric.compute()) == pytest.approx(expected, rel=1e-12)
        metric.reset()
        assert int(metric.count) == 0
        assert float(metric.total) == 0
    torch.testing.assert_close((predicted, target, valid), copies, equal_nan=True, rtol=0, atol=0)


def test_no_valid_image_is_nan_and_no_mask_means_all() -> None:
    predicted, target = hands(21)
    metric = PerImageMean(MPJPE)
    metric.update(predicted, target, torch.zeros(10, dtype=torch.bool))
    assert metric.compute().isnan()
    metric.update(predicted, target)
    assert float(metric.compute()) == pytest.approx(float(mean_point_error_mm(predicted, target).mean()), rel=1e-12)


def _part_of_the_images(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    predicted, target = hands(21)
    metric = PerImageMean(PA_MPJPE)
    part = slice(0, 7) if rank == 0 else slice(7, 10)
    metric.update(predicted[part], target[part])
    (folder / str(rank)).write_text(repr(float(metric.compute())))
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    ranks(_part_of_the_images, (tmp_path,), 2)
    expected = float(procrustes_error_mm(*hands(21)).mean())
    for rank in range(2):
        assert float((tmp_path / str(rank)).read_text()) == pytest.approx(expected, rel=1e-12)


def test_shapes_are_checked() -> None:
    predicted, target = hands(21)
    with pytest.raises(ValueError, match=r"mpvpe_mm takes vertices of shape \(B, 778, 3\)"):
        PerImageMean(MPVPE).update(predicted, target)
    with pytest.raises(ValueError, match="bool mask"):
        PerImageMean(MPJPE).update(predicted, target, torch.ones(10))
    with pytest.raises(ValueError, match="one shape"):
        mean_point_error_mm(predicted, target[:1])
