import numpy as np
import pytest
import roma
import torch
from scipy.linalg import orthogonal_procrustes

from handlit.geometry.alignment import align_root, align_scale_translation, fit_similarity, procrustes


def official_procrustes(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """One frame, as the dataset documentation words it."""
    target_mean, source_mean = target.mean(0), source.mean(0)
    target_norm = np.linalg.norm(target - target_mean) + 1e-8
    source_norm = np.linalg.norm(source - source_mean) + 1e-8
    source_unit = (source - source_mean) / source_norm
    rotation, scale = orthogonal_procrustes((target - target_mean) / target_norm, source_unit)
    return source_unit @ rotation.T * scale * target_norm + target_mean


@pytest.fixture
def points() -> torch.Tensor:
    return torch.randn(6, 21, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.05


def test_matches_the_documented_definition_also_for_mirrored_and_degenerate_points(points: torch.Tensor) -> None:
    source = points + 0.01 * torch.randn(points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    source[1] *= torch.tensor([-1.0, 1.0, 1.0])
    source[2] = source[2] * 1000 + 3
    source[3] = 0
    source[4, :, 2] = 0.3  # flat
    source[5] = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None]  # on a line
    aligned = procrustes(source, points, reflections=True)
    for item in range(len(points)):
        reference = official_procrustes(points[item].numpy(), source[item].numpy())
        np.testing.assert_allclose(aligned[item].numpy(), reference, atol=1e-12)


def test_all_zero_prediction_lands_on_the_centre(points: torch.Tensor) -> None:
    for reflections in (True, False):
        aligned = procrustes(torch.zeros_like(points), points, reflections=reflections)
        torch.testing.assert_close(aligned, points.mean(1, keepdim=True).expand_as(points))


@pytest.mark.parametrize("reflections", [True, False])
def test_recovers_a_similarity(points: torch.Tensor, reflections: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    rotation = roma.rotvec_to_rotmat(torch.randn(6, 3, dtype=torch.float64, generator=generator))
    scale = torch.rand(6, dtype=torch.float64, generator=generator) + 0.5
    translation = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    target = scale[:, None, None] * points @ rotation.transpose(1, 2) + translation[:, None]
    fit = fit_similarity(points, target, reflections=reflections)
    # The offset of 1e-8 on the norms costs 1e-8 relative to a hand's norm.
    torch.testing.assert_close(fit.rotation, rotation, atol=1e-9, rtol=0)
    torch.testing.assert_close(fit.scale, scale, atol=1e-6, rtol=0)
    torch.testing.assert_close(fit.translation, translation, atol=1e-6, rtol=0)
    torch.testing.assert_close(fit.apply(points), target, atol=1e-6, rtol=0)


def test_proper_rotation_refuses_the_mirror_image(points: torch.Tensor) -> None:
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.linalg.det(fit_similarity(mirrored, points, reflections=True).rotation).lt(0).all()
    assert torch.linalg.det(fit_similarity(mirrored, points).rotation).gt(0).all()
    error = (procrustes(mirrored, points) - points).norm(dim=-1).mean(-1)
    assert (error > 0.005).all()
    # No other proper similarity nearby does better.
    fit = fit_similarity(mirrored, points)
    best = ((fit.apply(mirrored) - points) ** 2).sum((1, 2))
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        turn = roma.rotvec_to_rotmat(0.1 * torch.randn(6, 3, dtype=torch.float64, generator=generator))
        scale = fit.scale * (1 + 0.05 * torch.randn(6, dtype=torch.float64, generator=generator))
        centred = (mirrored - mirrored.mean(1, keepdim=True)) @ (turn @ fit.rotation).transpose(1, 2)
        other = scale[:, None, None] * centred + points.mean(1, keepdim=True)
        assert (((other - points) ** 2).sum((1, 2)) >= best - 1e-9).all()


def test_one_bad_item_leaves_the_others_alone(points: torch.Tensor) -> None:
    source = points + 0.01
    expected = procrustes(source, points)
    source[2, 5, 1] = float("nan")
    aligned = procrustes(source, points)
    assert aligned[2].isnan().any()
    keep = [0, 1, 3, 4, 5]
    torch.testing.assert_close(aligned[keep], expected[keep], rtol=0, atol=0)


def test_type_shape_and_inputs_are_kept(points: torch.Tensor) -> None:
    source, target = points.float().reshape(2, 3, 21, 3), (points * 2).float().reshape(2, 3, 21, 3)
    copies = source.clone(), target.clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        aligned = procrustes(source, target)
    assert aligned.dtype == torch.float32
    assert aligned.shape == source.shape
    torch.testing.assert_close(aligned, target, atol=1e-6, rtol=0)
    assert torch.equal(source, copies[0])
    assert torch.equal(target, copies[1])


def test_scale_translation_matches_the_distance_and_the_root(points: torch.Tensor) -> None:
    target = points.flip(0) + 0.3
    aligned = align_scale_translation(points, target, reference=4)
    torch.testing.assert_close(aligned[:, 0], target[:, 0])
    torch.testing.assert_close((aligned[:, 4] - aligned[:, 0]).norm(dim=1), (target[:, 4] - target[:, 0]).norm(dim=1))
    for item in range(len(points)):
        source, true = points[item].numpy(), target[item].numpy()
        scaled = source / np.linalg.norm(source[4] - source[0]) * np.linalg.norm(true[4] - true[0])
        np.testing.assert_allclose(aligned[item].numpy(), scaled - scaled[0] + true[0], atol=1e-13)
    assert align_scale_translation(torch.zeros_like(points), target, reference=4).isnan().all()


def test_root_alignment(points: torch.Tensor) -> None:
    torch.testing.assert_close(align_root(points, 3)[:, 3], torch.zeros(6, 3, dtype=torch.float64))
    torch.testing.assert_close(align_root(points + 7), align_root(points))


def test_shapes_are_checked(points: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="one shape"):
        procrustes(points[:1], points)
    with pytest.raises(ValueError, match="one shape"):
        align_scale_translation(points[..., :2], points[..., :2], reference=4)
