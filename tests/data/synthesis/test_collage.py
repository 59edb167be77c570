"""Collages are painted as their numbers say."""

import numpy as np
import torch

from handlit.data.synthesis.collage import Collage, blur, paint, sample_background, sample_print
from handlit.data.synthesis.scene import one_of


def plain(seed: int = 0) -> Collage:
    """A black ground without pattern or noise and no shapes."""
    collage = one_of(sample_print(np.random.default_rng(seed)))
    zero = {name: torch.zeros_like(getattr(collage, name)) for name in ("colours", "waves", "marble", "half_sizes")}
    return collage._replace(**zero, noise=torch.zeros_like(collage.noise), grain=torch.zeros_like(collage.grain))


def test_a_shape_covers_its_share_of_the_image() -> None:
    for ellipse, share in ((False, 1.0), (True, np.pi / 4)):
        collage = plain()
        collage.colours[0, 2] = 1.0
        collage.half_sizes[0, 1] = torch.tensor([0.5, 0.25])
        collage.centres[0, 1] = 0
        collage.ellipses[0, 1] = ellipse
        image = paint(collage, (96, 96))[0]
        assert abs(image.mean().item() - share * 0.5 * 0.25) < 0.01
        assert image[:, 48, 48].tolist() == [1.0] * 3
        assert image[:, 0].max() == 0


def test_waves_make_stripes_and_checks() -> None:
    collage = plain()
    collage.colours[0, 0, 1] = 1.0
    collage.waves[0, 0, 0] = torch.tensor([2.0, 0.0, 0.0])
    stripes = paint(collage, (96, 96))[0, 0]
    assert stripes.std(dim=0).max() < 1e-6
    assert abs(stripes.mean().item() - 0.5) < 0.05
    collage.waves[0, 0, 1] = torch.tensor([0.0, 2.0, 0.0])
    checks = paint(collage, (96, 96))[0, 0]
    assert abs(checks.mean().item() - 0.5) < 0.05
    assert checks.std(dim=0).median() > 0.2
    torch.testing.assert_close(checks, checks.t())


def test_later_layers_lie_upon_earlier_ones() -> None:
    collage = plain()
    for layer, value in ((1, 0.3), (2, 0.9)):
        collage.colours[0, layer] = value
        collage.half_sizes[0, layer - 1] = 3.0
        collage.ellipses[0, layer - 1] = False
    torch.testing.assert_close(paint(collage, (16, 24)), torch.full((1, 3, 16, 24), 0.9))


def test_batches_are_painted_one_by_one() -> None:
    collages = [one_of(sample_background(np.random.default_rng(seed))) for seed in range(3)]
    batch = Collage(*(torch.cat(values) for values in zip(*collages, strict=True)))
    images = paint(batch, (48, 64))
    assert images.min() >= 0
    assert images.max() <= 1
    for image, collage in zip(images, collages, strict=True):
        torch.testing.assert_close(image[None], paint(collage, (48, 64)))
    assert (images[0] - images[1]).abs().mean() > 0.02


def test_blur_is_the_mean_of_nine() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 9
    assert blur(image)[0, 0, 1:4, 1:4].tolist() == [[1.0] * 3] * 3
    torch.testing.assert_close(blur(torch.ones(1, 1, 5, 5)), torch.ones(1, 1, 5, 5))
