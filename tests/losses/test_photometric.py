import math

import numpy as np
import pytest
import torch

from handlit.losses.photometric import hand_pixels, photometric_distance
from handlit.types import collate
from tests.methods.hands import SIZE, hand_samples


def test_distance_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    rendered = torch.rand(3, 5, 6, 3, generator=generator)
    image = torch.randint(0, 256, (3, 3, 5, 6), dtype=torch.uint8, generator=generator)
    mask = torch.rand(3, 5, 6, generator=generator) < 0.4
    distance, valid = photometric_distance(rendered, image, mask)
    for i in range(3):
        lengths = [
            math.sqrt(1e-6 + sum((rendered[i, y, x, c].item() - image[i, c, y, x].item() / 255) ** 2 for c in range(3)))
            for y, x in mask[i].nonzero().tolist()
        ]
        np.testing.assert_allclose(distance[i].item(), np.mean(lengths), rtol=1e-5)
    assert valid.all()


def test_value_of_the_published_loss() -> None:
    # images that differ by 0.5 in every channel: sqrt(1e-6 + 0.75)
    rendered, image = torch.full((1, 2, 2, 3), 0.5), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    distance, _ = photometric_distance(rendered, image, torch.ones(1, 2, 2, dtype=torch.bool))
    np.testing.assert_allclose(distance.item(), 0.8660260, rtol=1e-6)


def test_pixels_outside_the_mask_do_not_exist() -> None:
    generator = torch.Generator().manual_seed(0)
    rendered = torch.rand(2, 4, 4, 3, generator=generator)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 1, 1:3] = True
    rendered[~mask] = torch.tensor([float("nan"), float("inf"), -1e38])
    rendered.requires_grad_()
    image = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    distance, valid = photometric_distance(rendered, image, mask)
    distance.sum().backward()
    assert valid.tolist() == [True, False]
    assert distance[1] == 0
    assert rendered.grad.isfinite().all()
    assert not rendered.grad[~mask].any()
    assert rendered.grad[mask].all()


@pytest.mark.parametrize("same", [True, False])
def test_equal_pictures_have_a_finite_gradient(same: bool) -> None:
    rendered = torch.full((1, 2, 2, 3), 1.0 if same else 0.999, requires_grad=True)
    image = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    photometric_distance(rendered, image, torch.ones(1, 2, 2, dtype=torch.bool))[0].sum().backward()
    assert rendered.grad.isfinite().all()
    assert rendered.grad.any() == (not same)


def test_masks_count_where_they_are_known() -> None:
    samples = hand_samples(4)
    hand, thing = torch.zeros(SIZE, SIZE, dtype=torch.bool), torch.zeros(SIZE, SIZE, dtype=torch.bool)
    hand[10:20, 10:20] = True
    thing[15:30, 15:30] = True
    for i, sample in enumerate(samples):
        sample.hand_mask = hand if i & 1 else None
        sample.object_mask = thing if i & 2 else None
    shown = hand_pixels(collate(samples))
    everything = torch.ones_like(hand)
    for i, expected in enumerate((everything, hand, everything & ~thing, hand & ~thing)):
        assert torch.equal(shown[i], expected)
