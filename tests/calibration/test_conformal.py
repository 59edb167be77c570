"""Radii hold what they promise, over draws of validation and new images."""

import pytest
import torch

from handlit.calibration.conformal import conformal_radii, images_needed
from handlit.errors import InputError


def test_the_radius_is_the_order_statistic_of_the_theorem() -> None:
    distances = torch.arange(1.0, 100).flip(0)[:, None]
    # 99 images: ranks 50, 80, 90, 95 of 100
    assert conformal_radii(distances)[:, 0].tolist() == [50, 80, 90, 95]


@pytest.mark.parametrize("count", [19, 30, 77])
def test_radii_hold_at_least_their_share_on_average(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    levels = (0.5, 0.8, 0.9, 0.95)
    repeats = 4000
    old, new = (torch.randn(repeats, n, generator=generator).abs().exp() for n in (count, 50))
    radii = conformal_radii(old.T, levels)
    held = (new[None] <= radii[..., None]).float().mean((1, 2))
    for share, level in zip(held.tolist(), levels, strict=True):
        # the theorem's bounds, and four standard errors of this many draws
        error = 4 * (level * (1 - level) / repeats * (1 / count + 1 / 50)) ** 0.5
        assert level - error < share < level + 1 / (count + 1) + error


def test_too_few_images_are_refused_with_the_number_needed() -> None:
    assert [images_needed(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]
    assert conformal_radii(torch.rand(19, 2)).isfinite().all()
    with pytest.raises(InputError, match=r"18 validation images .* 95%: at least 19"):
        conformal_radii(torch.rand(18, 2))
