"""Random changes: within their ranges, as published where asked for, and seen in the picture."""

from typing import Any

import numpy as np
import pytest

from handlit.data.loading.augmentation import Augmentation, Change, Patch, paste, recolour, sample_change
from handlit.errors import InputError


def draws(augmentation: Augmentation, count: int = 4000) -> list[Change]:
    return [sample_change(augmentation, np.random.default_rng(seed)) for seed in range(count)]


def test_default_is_no_change() -> None:
    change = draws(Augmentation(), 1)[0]
    assert (change.angle, change.scale, change.patches) == (0, 1, ())
    assert not change.shift.any()
    assert not change.shift_px.any()
    assert (change.gain == 1).all()


def test_draws_fill_their_ranges() -> None:
    changes = draws(Augmentation(rotation_deg=30, scale=0.2, translation=0.1, colour=0.3, occlusion=0.25))
    for values, middle, reach in [
        ([np.rad2deg(change.angle) for change in changes], 0, 30),
        ([change.scale for change in changes], 1, 0.2),
        ([change.shift for change in changes], 0, 0.1),
        ([change.gain for change in changes], 1, 0.3),
    ]:
        offsets = (np.array(values) - middle) / reach
        assert np.abs(offsets).max() <= 1
        # of a uniform variable: mean 0, standard deviation 1/sqrt(3)
        np.testing.assert_allclose([offsets.mean(), offsets.std()], [0, 3**-0.5], atol=0.04)
    assert np.mean([bool(change.patches) for change in changes]) == pytest.approx(0.25, abs=0.03)
    assert {len(change.patches) for change in changes} == {0, 1, 2, 3}


def test_mhentropy_draws_what_was_published() -> None:
    changes = draws(Augmentation(published="mhentropy"))
    zoom = np.array([1 / change.scale for change in changes])
    translation_px = np.array([-change.shift / change.scale * 256 for change in changes])
    gain, angle = np.array([change.gain for change in changes]), np.array([change.angle for change in changes])
    assert 0.8 <= zoom.min() < 0.81
    assert 0.99 < zoom.max() <= 1
    assert 0.6 <= gain.min() < 0.61
    assert 1.39 < gain.max() <= 1.4
    assert 0 <= angle.min() < 0.02
    assert 6.26 < angle.max() <= 2 * np.pi
    assert np.abs(translation_px).max() <= 40 + 1e-9
    assert translation_px.std() == pytest.approx(10, rel=0.05)


def test_amvur_shifts_by_five_pixels() -> None:
    changes = draws(Augmentation(published="amvur"))
    assert np.std([change.shift_px for change in changes]) == pytest.approx(5, rel=0.05)
    assert all(change.scale == 1 and change.angle == 0 for change in changes)


@pytest.mark.parametrize("values", [{"scale": -0.1}, {"rotation_deg": 400}, {"occlusion": 1.5}, {"colour": np.nan}])
def test_ranges_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        Augmentation(**values)


def test_published_changes_take_no_others_beside_them() -> None:
    with pytest.raises(InputError, match=r"scale is 0\.1"):
        Augmentation(published="amvur", scale=0.1)


def test_recolour_multiplies_cuts_off_and_rounds_down() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    for numerator in range(0, 513, 3):
        factors = np.array([numerator, 256, 512 - numerator]) / 256
        recoloured = image.copy()
        recolour(recoloured, factors + 0.001)
        expected = np.minimum(np.arange(256) * factors[:, None], 255).astype(int)
        np.testing.assert_array_equal(recoloured.reshape(3, 256), expected)


def patch(ellipse: bool = False, colour: tuple[int, int, int] | None = (10, 20, 30), angle_deg: float = 0.0) -> Patch:
    values = None if colour is None else np.array(colour, dtype=np.uint8)
    return Patch(np.array([0.5, 0.25]), np.array([0.3, 0.2]), angle_deg, ellipse, values, seed=4)


def test_a_rectangle_covers_its_rectangle_and_nothing_else() -> None:
    image = np.full((3, 100, 100), 200, np.uint8)
    covered = paste(image, (patch(),))
    rows, columns = np.nonzero(covered)
    # edges at 0.35 and 0.65 of the width, 0.15 and 0.35 of the height
    np.testing.assert_allclose([columns.min(), columns.max(), rows.min(), rows.max()], [35, 65, 15, 35], atol=1)
    assert covered.sum() == pytest.approx(30 * 20, rel=0.1)
    np.testing.assert_array_equal(image[:, covered], np.array([[10], [20], [30]]).repeat(covered.sum(), axis=1))
    assert (image[:, ~covered] == 200).all()


def test_an_ellipse_turns_with_its_angle() -> None:
    covered = paste(np.zeros((3, 200, 200), np.uint8), (patch(ellipse=True, angle_deg=90),))
    assert covered.sum() == pytest.approx(np.pi / 4 * 60 * 40, rel=0.05)
    rows, columns = np.nonzero(covered)
    assert np.ptp(rows) > np.ptp(columns)


def test_noise_is_the_same_for_the_same_seed_and_has_every_colour() -> None:
    images = [np.zeros((3, 100, 100), np.uint8) for _ in range(2)]
    covered = [paste(image, (patch(colour=None),)) for image in images]
    np.testing.assert_array_equal(images[0], images[1])
    assert len(np.unique(images[0][:, covered[0]])) > 200


def test_overlapping_patches_are_all_covered() -> None:
    other = Patch(np.array([0.6, 0.3]), np.array([0.3, 0.3]), 20, False, np.zeros(3, np.uint8), 0)
    both = paste(np.zeros((3, 64, 64), np.uint8), (patch(), other))
    single = [paste(np.zeros((3, 64, 64), np.uint8), (one,)) for one in (patch(), other)]
    np.testing.assert_array_equal(both, single[0] | single[1])


def test_patches_reach_over_the_edge() -> None:
    corner = Patch(np.zeros(2), np.array([0.4, 0.4]), 0, False, np.zeros(3, np.uint8), 0)
    covered = paste(np.zeros((3, 50, 50), np.uint8), (corner,))
    assert covered[:9, :9].all()
    assert 9**2 <= covered.sum() <= 11**2


def test_gain_is_on_rgb_channels_in_order() -> None:
    image = np.full((3, 4, 4), 100, np.uint8)
    recolour(image, np.array([0.5, 1.0, 2.0]))
    assert image[:, 0, 0].tolist() == [50, 100, 200]
